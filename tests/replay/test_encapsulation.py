"""Every encapsulation, byte for byte, against frames that scapy builds.

A hash of the flow, different in each process, gives some fields of the outer headers: the UDP source port,
the IPv6 flow label, an IPv4 source address from a prefix, the GRE key. The tests read these fields from
the frames that left, and compare them with their range and with the other packets of the flow. Then scapy
builds the whole frame with them, checksums included.
"""

import ipaddress
import itertools
import struct
import subprocess
from dataclasses import dataclass

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw
from support import encapsulations, replay
from support.config import one_port
from support.model import Fleet
from support.packets import EXTRAS, TAGS, _link, client_packet, flow, hop, l3_offset

VERSIONS = (4, 6)
INNER = {"inner_source_mac": "02:00:00:00:0a:0a", "inner_destination_mac": "02:00:00:00:0b:0b"}

# Name: the required settings, the UDP port if any, and the overhead in bytes over IPv4 and over IPv6, as in
# docs/operations.md. `expected_frame` builds each.
KINDS = {
    "gre": ({}, None, 24, 44),
    "ipip": ({}, None, 20, 40),
    "gue": ({}, 6080, 28, 48),
    "gue0": ({}, 6080, 32, 52),
    "gre-udp": ({}, 4754, 32, 52),
    "vxlan": ({"vni": 0xABCDE, **INNER}, 4789, 50, 70),
    "geneve": ({"vni": 0xFEDCB}, 6081, 36, 56),
    "mpls-udp": ({"label": 4096}, 6635, 32, 52),
    "mpls-gre": ({"label": 1048575}, None, 28, 48),
    "l2": ({}, None, 0, 0),
}
TUNNELS = [name for name in KINDS if name != "l2"]
OVER_UDP = [name for name in KINDS if KINDS[name][1]]
SETTINGS = ("gre_key", "udp_port", "udp_checksum", "vni", "inner_source_mac", "inner_destination_mac", "label")


@dataclass(frozen=True)
class Encapsulation:
    """The encapsulation to one backend."""

    name: str
    settings: dict

    def __getattr__(self, key):
        return self.settings.get(key)


def encapsulation_of(config, address):
    pool = config["pool"][0]
    backend = next(b for b in pool["backends"] if b["address"] == address)
    both = {**pool, **backend}
    # Where several are listed, the test's key `expected` has the right one.
    name = both.get("expected") or both.get("encapsulation", "gre")
    return Encapsulation(name, {key: both[key] for key in SETTINGS if key in both})


def expected_frame(config, backend, sent, out):
    """The frame that must leave for a client packet, with the fields of the flow's hash from `out`."""
    port, mac = config.next_hop(backend)
    own = encapsulation_of(config, backend)
    if own.name == "l2":
        macs = bytes.fromhex((mac + port["mac"]).replace(":", ""))
        # A trailer is removed, except for padding to the shortest frame.
        end = l3_offset(sent.frame) + len(sent.inner)
        return hop(macs + sent.frame[12 : max(end, 60)])
    offset = l3_offset(out)
    version = 6 if ":" in sent.flow.source else 4
    ethertype, number = (0x86DD, 41) if version == 6 else (0x0800, 4)
    behind = offset + (40 if ":" in backend else 20)

    packet = Raw(sent.inner)
    key = {}
    if own.gre_key is not None:
        key = {"key_present": 1, "key": own.gre_key}
    if own.gre_key == "flow":
        key["key"] = struct.unpack_from("!I", out, behind + 4 + (8 if own.name == "gre-udp" else 0))[0]
    if own.name in ("gre", "gre-udp"):
        packet = GRE(proto=ethertype, **key) / packet
    elif own.name == "gue0":
        packet = Raw(struct.pack("!BBH", 0, number, 0)) / packet
    elif own.name == "vxlan":
        source = own.inner_source_mac or port["mac"]
        destination = own.inner_destination_mac or "02:47:57:00:00:01"
        packet = VXLAN(flags=0x08, vni=own.vni) / Ether(src=source, dst=destination, type=ethertype) / packet
    elif own.name == "geneve":
        packet = GENEVE(proto=ethertype, vni=own.vni) / packet
    elif own.name in ("mpls-udp", "mpls-gre"):
        packet = MPLS(label=own.label, cos=0, s=1, ttl=64) / packet
        if own.name == "mpls-gre":
            packet = GRE(proto=0x8847) / packet
    number = number if own.name == "ipip" else 47
    if own.name in OVER_UDP:
        number = 17
        (sport,) = struct.unpack_from("!H", out, behind)
        assert sport >= 49152, "a dynamic port"
        computes = own.udp_checksum == "compute" and ":" in backend
        dport = own.udp_port or KINDS[own.name][1]
        # Without the argument scapy computes it.
        packet = UDP(sport=sport, dport=dport, **({} if computes else {"chksum": 0})) / packet
    if ":" in backend:
        (word,) = struct.unpack_from("!I", out, offset)
        assert word & 0xFFFFF, "0 would be no label"
        outer = IPv6(
            src=config.tunnel_source(6), dst=backend, hlim=64, tc=sent.traffic_class, nh=number, fl=word & 0xFFFFF
        )
    else:
        source = ipaddress.ip_address(out[offset + 12 : offset + 16])
        sources = ipaddress.ip_network(config["node"]["tunnel_source"][0])
        assert source in sources
        if own.name in OVER_UDP:
            assert source == sources[0]
        outer = IP(src=str(source), dst=backend, ttl=64, flags="DF", id=0, tos=sent.traffic_class, proto=number)
    return bytes(_link(mac, port["mac"], sent.tags, outer / packet))


def entropy(config, backend, out):
    """The fields of a frame that depend on the flow's hash."""
    own, offset = encapsulation_of(config, backend), l3_offset(out)
    if own.name == "l2":
        return ()
    v6 = ":" in backend
    behind = offset + (40 if v6 else 20)
    fields = [out[offset + 1 : offset + 4] if v6 else out[offset + 12 : offset + 16]]
    if own.name in OVER_UDP:
        fields.append(out[behind : behind + 2])
        behind += 8
    if own.gre_key == "flow" and own.name in ("gre", "gre-udp"):
        fields.append(out[behind + 4 : behind + 8])
    return tuple(fields)


def check(config, sent, outcome):
    """Compares every frame with scapy's, in order. Returns the entropy fields by backend and flow."""
    fleet, found = Fleet(config), {}
    frames = outcome.frames()
    assert len(frames) == len(sent)
    assert outcome.verdicts == {"forwarded": len(sent)}
    for index, (packet, out) in enumerate(zip(sent, frames, strict=True)):
        backend = fleet.backend(packet.flow)
        assert out.hex() == expected_frame(config, backend, packet, out).hex(), f"frame {index} to {backend}"
        of_flow = found.setdefault(backend, {}).setdefault(packet.flow, entropy(config, backend, out))
        assert of_flow == entropy(config, backend, out), "one flow, one path"
    return found


def pool_of(name, outer=None, near=False, **settings):
    """A configuration with one encapsulation. `outer`: the family of its backends, by default both."""

    def change(config):
        pool = config["pool"][0]
        pool.update({"encapsulation": name, **KINDS[name][0], **settings})
        pool["backends"] = [
            backend
            for backend in pool["backends"]
            if (outer is None or (":" in backend["address"]) == (outer == 6))
            and (not near or backend["name"].startswith("near"))
        ]

    return one_port().changed(change)


def client_packets(versions=VERSIONS, flows=3, **fields):
    """Packets of both transports. The third packet of each flow is longer, and of odd length."""
    sports = itertools.count(20000)
    return [
        client_packet(one, payload=payload, flags="A", **fields)
        for version in versions
        for protocol in ("tcp", "udp")
        for one in [flow(version, protocol, 1, next(sports)) for _ in range(flows)]
        for payload in (b"", b"even", b"odd" * 101)
    ]


def test_each_encapsulation_is_tested():
    encapsulations.assert_rows(KINDS, encapsulations.of_forwarder(), f"KINDS of {__file__}")


@pytest.mark.parametrize("outer", VERSIONS)
@pytest.mark.parametrize("inner", VERSIONS)
@pytest.mark.parametrize("name", KINDS)
def test_each_encapsulation(run_replay, name, inner, outer):
    """With and without VLAN tags."""
    config = pool_of(name, outer, near=name == "l2")
    sent = [packet for tags in TAGS.values() for packet in client_packets([inner], tags=tags, traffic_class=0xB9)]
    outcome = run_replay(config, [packet.frame for packet in sent])
    check(config, sent, outcome)
    overhead = KINDS[name][2 if outer == 4 else 3]
    assert {len(out) - len(packet.frame) for packet, out in zip(sent, outcome.frames(), strict=True)} == {overhead}


@pytest.mark.parametrize("name", KINDS)
def test_options_extension_headers_and_padding(run_replay, name):
    """IPv4 options and IPv6 extension headers are kept. Ethernet padding is removed, except where only the
    MAC addresses change."""
    config = pool_of(name, near=name == "l2", **({"udp_checksum": "compute"} if name in OVER_UDP else {}))
    sent = [
        packet
        for version in VERSIONS
        for extra in EXTRAS[version].values()
        for packet in client_packets([version], flows=2, extra=extra, pad=130)
    ]
    check(config, sent, run_replay(config, [packet.frame for packet in sent]))


@pytest.mark.parametrize("name", TUNNELS)
def test_a_packet_may_fill_the_mtu(run_replay, name):
    for outer in VERSIONS:
        config = pool_of(name, outer)
        overhead = KINDS[name][2 if outer == 4 else 3]
        sent = [client_packet(flow(4, "udp", 1, sport), payload=b"m" * (1500 - overhead - 28)) for sport in range(3)]
        outcome = run_replay(config, [packet.frame for packet in sent])
        check(config, sent, outcome)
        assert {len(frame) for frame in outcome.frames()} == {1514}


def many_flows(version=4, count=400):
    return [client_packet(flow(version, "udp", 1, 1000 + sport), payload=b"m") for sport in range(count) for _ in (0, 1)]


@pytest.mark.parametrize("name", OVER_UDP)
def test_flows_differ_in_the_source_port(run_replay, name):
    config, sent = pool_of(name, 4), many_flows()
    found = check(config, sent, run_replay(config, [packet.frame for packet in sent]))
    ports = {fields[1] for of_backend in found.values() for fields in of_backend.values()}
    assert len(ports) > 380, "of 400 flows into 16384 ports"
    numbers = [int.from_bytes(port, "big") for port in ports]
    assert min(numbers) < 49152 + 1000 and max(numbers) > 65535 - 1000


@pytest.mark.parametrize("name", TUNNELS)
def test_flows_differ_in_the_flow_label(run_replay, name):
    config, sent = pool_of(name, 6), many_flows(6)
    found = check(config, sent, run_replay(config, [packet.frame for packet in sent]))
    labels = {fields[0] for of_backend in found.values() for fields in of_backend.values()}
    assert len(labels) > 390


@pytest.mark.parametrize("name", TUNNELS)
def test_the_flow_chooses_the_source_address_from_a_prefix(run_replay, name):
    """`tunnel_source`: every flow has an address of the prefix; over UDP all have the first address."""
    config = pool_of(name, 4).changed(lambda c: c["node"].update(tunnel_source=["192.0.2.64/26", "2001:db8::1"]))
    sent = many_flows(4) + many_flows(6)
    found = check(config, sent, run_replay(config, [packet.frame for packet in sent]))
    sources = {fields[0] for of_backend in found.values() for fields in of_backend.values()}
    assert len(sources) == (1 if name in OVER_UDP else 64)


@pytest.mark.parametrize("outer", VERSIONS)
@pytest.mark.parametrize("name", ("gre", "gre-udp"))
def test_gre_keys(run_replay, name, outer):
    """`gre_key`: fixed, also 0, or the flow's hash (RFC 2890)."""
    for key in (7, 0, 0xFFFFFFFF):
        config, sent = pool_of(name, outer, gre_key=key), client_packets()
        check(config, sent, run_replay(config, [packet.frame for packet in sent]))
    config, sent = pool_of(name, outer, gre_key="flow"), many_flows()
    found = check(config, sent, run_replay(config, [packet.frame for packet in sent]))
    keys = {fields[-1] for of_backend in found.values() for fields in of_backend.values()}
    assert len(keys) == 400


@pytest.mark.parametrize("name", OVER_UDP)
def test_another_udp_port(run_replay, name):
    config, sent = pool_of(name, udp_port=19523), client_packets()
    check(config, sent, run_replay(config, [packet.frame for packet in sent]))


@pytest.mark.parametrize("name", OVER_UDP)
def test_computed_udp_checksums(run_replay, name):
    """`udp_checksum = "compute"`: right over IPv6 for packets of any length, and still 0 over IPv4.
    Inner UDP may have no checksum."""
    config = pool_of(name, udp_checksum="compute")
    sent = client_packets(flows=8, traffic_class=3)
    for packet in many_flows(4, 20):
        bare = bytearray(packet.frame)
        bare[14 + 20 + 6 : 14 + 20 + 8] = b"\0\0"
        sent.append(type(packet)(bytes(bare), flow=packet.flow, inner=bytes(bare[14:])))
    check(config, sent, run_replay(config, [packet.frame for packet in sent]))


def test_default_vxlan_inner_addresses(run_replay):
    """The source is the port's MAC address; the destination is the same for all backends."""
    config = pool_of("vxlan")
    for key in INNER:
        del config["pool"][0][key]
    sent = client_packets()
    check(config, sent, run_replay(config, [packet.frame for packet in sent]))


def mixed():
    """One service with backends of many encapsulations and both families, which override the pool's settings."""

    def change(config):
        pool = config["pool"][0]
        pool.update(encapsulation="gue", udp_port=7000, label=100, vni=7, udp_checksum="compute")
        near, near6, far, far6 = pool["backends"]
        near.update(encapsulation="l2")
        near6.update(encapsulation=["gre", "l2", "ipip"], expected="l2")
        far.update(encapsulation=["l2", "vxlan", "gue0"], expected="gue0", udp_port=6080)
        far6.update(encapsulation=["gre", "mpls-gre"], expected="gre", gre_key="flow")
        more = [
            {"encapsulation": "vxlan", "vni": 8, **INNER},
            {"encapsulation": "geneve", "vni": 9},
            {},
            {"encapsulation": "mpls-udp", "udp_checksum": "zero"},
            {"encapsulation": "mpls-gre", "label": 101},
            {"encapsulation": ["gre", "ipip"], "expected": "ipip"},
            {"encapsulation": ["gre", "ipip"], "expected": "gre", "gre_key": "flow"},
        ]
        for index, settings in enumerate(more):
            for version, address in ((4, f"10.9.1.{index}"), (6, f"2001:db8:b::1:{index}")):
                if version == 6 and settings.get("gre_key"):
                    settings = {**settings, "expected": "ipip"}
                pool["backends"].append({"name": f"m{version}-{index}", "address": address, **settings})

    return one_port().changed(change)


def without_expectations(config):
    def change(config):
        for backend in config["pool"][0]["backends"]:
            backend.pop("expected", None)

    return config.changed(change)


def test_one_service_mixes_encapsulations_and_families(run_replay):
    config = mixed()
    sent = [
        client_packet(flow(version, protocol, 1, 3000 + sport), payload=b"mix", tags=tags)
        for version in VERSIONS
        for protocol in ("tcp", "udp")
        for tags in (TAGS["untagged"], TAGS["one tag"])
        for sport in range(100)
    ]
    found = check(config, sent, run_replay(without_expectations(config), [packet.frame for packet in sent]))
    assert set(found) == {backend["address"] for backend in config["pool"][0]["backends"]}, "each backend got packets"


@pytest.mark.parametrize("name", TUNNELS)
def test_tshark_reads_it(run_replay, tmp_path, name):
    """Wireshark's dissectors as a second opinion: checksums, and the inner packet where it should be."""
    config = pool_of(name, **({"udp_checksum": "compute"} if name in OVER_UDP else {}))
    sent = client_packets(traffic_class=0x28)
    run_replay(config, [packet.frame for packet in sent])
    line = ["tshark", "-n", "-r", str(tmp_path / "edge0.out.pcap"), "-T", "fields", "--disable-protocol", "dns"]
    line += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    sums = ("ip.checksum.status", "udp.checksum.status", "tcp.checksum.status")
    for field in ("frame.protocols", "ip.src", "ipv6.src", "_ws.malformed", *sums):
        line += ["-e", field]
    done = subprocess.run(line, capture_output=True, text=True, timeout=replay.TIMEOUT)
    assert done.returncode == 0, done.stderr
    rows = [row.split("\t") for row in done.stdout.splitlines()]
    assert len(rows) == len(sent)
    for packet, (protocols, v4, v6, malformed, *sums) in zip(sent, rows, strict=True):
        assert not malformed
        for seen in sums:
            # 1 is good, 3 is absent: an outer UDP checksum of 0.
            assert set(seen.split(",")) <= {"1", "3", ""}, (protocols, sums)
        # tshark does not know GUE.
        if name not in ("gue", "gue0"):
            assert packet.flow.source in (v6 if ":" in packet.flow.source else v4).split(","), (protocols, v4, v6)
            assert packet.flow.protocol in protocols.split(":")[-2:], protocols
