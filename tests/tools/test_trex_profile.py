"""TRex's profile: the streams it makes, against a stand-in for TRex's library.

The stand-in plays a stream by TRex's documentation of flow variables. A variable that increments goes round
between its bounds. A tuple takes the next address for each packet, and the next port after the last address; it
restarts after `limit_flows`. All begin with the first value.
"""

import importlib.util
import sys
import types

import pytest
import scapy.layers.inet as inet
import scapy.layers.inet6 as inet6
import scapy.layers.l2 as l2
from scapy.packet import Raw
from scapy.utils import atol, ltoa
from support.binaries import ROOT

FILE = ROOT / "pktgen-scripts" / "trex" / "profile.py"
STAND_INS = ("STLStream", "STLPktBuilder", "STLTXCont", "STLFlowLatencyStats", "STLVmFlowVar", "STLVmWrFlowVar",
               "STLVmTupleGen", "STLVmFixIpv4")
# The arguments of TRex's own classes.
ARGUMENTS = {
    "STLStream": {"packet", "mode", "isg", "flow_stats"},
    "STLPktBuilder": {"pkt", "vm"},
    "STLTXCont": {"pps"},
    "STLFlowLatencyStats": {"pg_id"},
    "STLVmFlowVar": {"name", "init_value", "min_value", "max_value", "size", "step", "op"},
    "STLVmWrFlowVar": {"fv_name", "pkt_offset"},
    "STLVmTupleGen": {"ip_min", "ip_max", "port_min", "port_max", "limit_flows", "name"},
    "STLVmFixIpv4": {"offset"},
}


def stand_in(kind):
    def make(self, **given):
        assert set(given) <= ARGUMENTS[kind], given
        self.__dict__.update(given)

    return type(kind, (), {"__init__": make})


@pytest.fixture
def streams(monkeypatch):
    """Makes the profile's streams for given tunables."""
    api = types.ModuleType("trex_stl_lib.api")
    for name in STAND_INS:
        setattr(api, name, stand_in(name))
    for source, names in ((inet, ("IP", "TCP", "UDP")), (inet6, ("IPv6",)), (l2, ("Ether",))):
        for name in names:
            setattr(api, name, getattr(source, name))
    api.Raw = Raw
    monkeypatch.setitem(sys.modules, "trex_stl_lib", types.ModuleType("trex_stl_lib"))
    monkeypatch.setitem(sys.modules, "trex_stl_lib.api", api)
    spec = importlib.util.spec_from_file_location("trex_profile", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *tunables: module.register().get_streams(tunables=tunables, direction=0, port_id=0)


def values(variable, number):
    """The values that a variable writes into the packet of this number, by name."""
    if type(variable).__name__ == "STLVmTupleGen":
        number %= variable.limit_flows
        clients = atol(variable.ip_max) - atol(variable.ip_min) + 1
        port = variable.port_min + number // clients % (variable.port_max - variable.port_min + 1)
        return {f"{variable.name}.ip": atol(variable.ip_min) + number % clients, f"{variable.name}.port": port}
    assert variable.op == "inc" and 0 <= variable.min_value <= variable.max_value < 256**variable.size
    return {variable.name: variable.min_value + number % (variable.max_value - variable.min_value + 1)}


def played(stream, count, first=0):
    """Frames of a stream, parsed."""
    base = bytes(stream.packet.pkt)
    for number in range(first, first + count):
        frame, known = l2.Ether(base), {}
        for step in stream.packet.vm or ():
            kind = type(step).__name__
            if kind == "STLVmFixIpv4":
                del frame[step.offset].chksum
            elif kind != "STLVmWrFlowVar":
                known |= values(step, number)
            elif isinstance(step.pkt_offset, int):
                raw = bytearray(bytes(frame))
                raw[step.pkt_offset : step.pkt_offset + 2] = known[step.fv_name].to_bytes(2, "big")
                frame = l2.Ether(bytes(raw))
            else:
                layer, field = step.pkt_offset.split(".")
                value = known[step.fv_name]
                setattr(frame[layer], field, ltoa(value) if field in ("src", "dst") else value)
        yield l2.Ether(bytes(frame))


def wire(frame):
    return max(len(frame), 60) + 4


def header_is_right(frame):
    checksum = frame[inet.IP].chksum
    again = frame.copy()
    del again[inet.IP].chksum
    return inet.IP(bytes(again[inet.IP])).chksum == checksum


@pytest.mark.parametrize("profile, flags", (("flows", "A"), ("syn", "S")))
def test_tcp_of_many_flows(streams, profile, flags):
    (stream,) = streams("--profile", profile, "--flows", "1000000", "--mac", "02:00:00:00:00:42")
    frames = list(played(stream, 2000)) + list(played(stream, 10, first=999_990))
    assert {(f.dst, f[inet.IP].dst, f[inet.TCP].dport, str(f[inet.TCP].flags), wire(f)) for f in frames} == {
        ("02:00:00:00:00:42", "203.0.113.10", 80, flags, 64)
    }
    assert len({(f[inet.IP].src, f[inet.TCP].sport) for f in frames}) == 2010, "each a flow of its own"
    assert all(header_is_right(f) for f in frames)
    (again,) = played(stream, 1, first=1_000_000)
    assert bytes(again) == bytes(frames[0]), "a million flows, and no more"


@pytest.mark.parametrize("size", (64, 128, 1518))
def test_sizes_are_on_the_wire(streams, size):
    (stream,) = streams("--size", str(size))
    assert wire(next(played(stream, 1))) == size


def test_one_flow(streams):
    (stream,) = streams("--profile", "constant")
    first, second = played(stream, 2)
    assert bytes(first) == bytes(second) and wire(first) == 64


def test_imix(streams):
    made = streams("--profile", "imix")
    assert {wire(next(played(stream, 1))): stream.mode.pps for stream in made} == {64: 7, 594: 4, 1518: 1}
    assert len({stream.isg for stream in made}) == 3


def test_ipv6(streams):
    (stream,) = streams("--profile", "ipv6")
    frames = list(played(stream, 500))
    assert {(f[inet6.IPv6].dst, f[inet.TCP].dport, wire(f)) for f in frames} == {("2001:db8:f::10", 80, 78)}
    assert len({(f[inet6.IPv6].src, f[inet.TCP].sport) for f in frames}) == 500
    assert {f[inet6.IPv6].src for f in frames} == {f"2001:db8:c::{n:x}" for n in range(1, 251)}


def test_fragments_make_datagrams(streams):
    made = streams("--profile", "fragments")
    fragments = [list(played(stream, 5)) for stream in made]
    for datagram in zip(*fragments, strict=True):
        assert len({fragment[inet.IP].id for fragment in datagram}) == 1
        assert all(header_is_right(fragment) for fragment in datagram)
        (whole,) = inet.defragment([fragment[inet.IP] for fragment in datagram])
        udp = inet.UDP(bytes(whole.payload))
        assert (udp.dport, udp.len, len(whole.payload)) == (53, 1200, 1200)
    assert len({first[inet.IP].id for first in fragments[0]}) == 5


def test_probes(streams):
    *_, stream = streams("--latency")
    assert (stream.mode.pps, stream.flow_stats.pg_id) == (1000, 7)
    frame = next(played(stream, 1))
    assert frame[inet.UDP].dport == 53 and len(frame[inet.UDP].payload) >= 16, "room for TRex's stamp"


def test_an_unknown_profile(streams):
    with pytest.raises(SystemExit):
        streams("--profile", "nothing")
