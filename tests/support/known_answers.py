#!/usr/bin/python3
"""Headers built by scapy, for the known answers of the forwarder's encapsulations.

    tests/support/known_answers.py           prints the three tables
    tests/support/known_answers.py --write   puts them into core/src/balancer/encapsulation/tests/known.rs

`tests/tools/test_encapsulations.py` compares the file with these tables. A new encapsulation is a row in
`HEADERS`, and in `PORTS` if it is over UDP.
"""

import re
import struct
import sys
from pathlib import Path

from scapy.contrib.geneve import GENEVE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import NoPayload, Raw

KNOWN = Path(__file__).resolve().parents[2] / "core/src/balancer/encapsulation/tests/known.rs"
# rustfmt's
LINE = 100
# The flow's hash and the settings, as in known.rs and the mod.rs beside it.
ENTROPY = 0xABCDE123456789AB
LABEL, KEY, SOURCE_PORT = ENTROPY >> 44, ENTROPY >> 32, 49152 + (ENTROPY >> 50)
VNI = 0x123456
MACS = {"dst": "02:00:00:00:00:aa", "src": "02:00:00:00:00:bb"}
STACK = MPLS(label=1000, cos=0, s=1, ttl=64)

INNER = {
    4: bytes.fromhex("450000280001000040061490c6336401cb00710a9c40005000000001000000005002faf0b2200000"),
    6: bytes.fromhex(
        "600123450008114020010db8000c0000000000000000000120010db80000000000000000000000109c400035000807da"
    ),
}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
PROTOCOL = {4: 4, 6: 41}
SOURCE = {4: "192.0.2.1", 6: "2001:db8::1"}
BACKEND = {4: "10.0.0.5", 6: "2001:db8:b::5"}

# The port of each encapsulation over UDP. Those over IP have the protocol number of GRE, or the inner packet's.
PORTS = {"gue": 6080, "gue0": 6080, "gre-udp": 4754, "vxlan": 4789, "geneve": 6081, "mpls-udp": 6635}
# The header for an inner packet of a family, without IP and UDP.
HEADERS = {
    "gre-7": lambda family: GRE(proto=ETHERTYPE[family], key_present=1, key=7),
    "gre-flow": lambda family: GRE(proto=ETHERTYPE[family], key_present=1, key=KEY),
    "ipip": lambda family: NoPayload(),
    "gue": lambda family: NoPayload(),
    "gue0": lambda family: Raw(struct.pack("!BBH", 0, PROTOCOL[family], 0)),
    "gre-udp": lambda family: GRE(proto=ETHERTYPE[family]),
    "vxlan": lambda family: VXLAN(flags=0x08, vni=VNI) / Ether(**MACS, type=ETHERTYPE[family]),
    "geneve": lambda family: GENEVE(vni=VNI, proto=ETHERTYPE[family]),
    "mpls-udp": lambda family: STACK,
    "mpls-gre": lambda family: GRE(proto=0x8847) / STACK,
}
# The host bits for the tunnel source 192.0.2.64/26.
HOSTS = range(3)


def packet(name, inner, outer, compute=False, source=None, header=None):
    """The whole outer packet, as bytes."""
    rest = bytes(header or HEADERS[name](inner)) + INNER[inner]
    number = PROTOCOL[inner] if name == "ipip" else 47
    if name in PORTS:
        number = 17
        # Without the argument scapy computes it.
        checksum = {} if compute else {"chksum": 0}
        rest = UDP(sport=SOURCE_PORT, dport=PORTS[name], **checksum) / Raw(rest)
    source = source or SOURCE[outer]
    if outer == 4:
        ip = IP(src=source, dst=BACKEND[4], ttl=64, flags="DF", id=0, proto=number)
    else:
        ip = IPv6(src=source, dst=BACKEND[6], hlim=64, fl=LABEL, nh=number)
    return bytes(ip / rest)


def headers(*arguments, **options):
    """The headers before the inner packet, in hexadecimal."""
    whole = packet(*arguments, **options)
    return whole[: -len(INNER[arguments[1]])].hex()


def row(*fields):
    """A tuple in Rust, formatted as rustfmt does."""
    line = f"    ({', '.join(fields)}),"
    if len(line) <= LINE:
        return line + "\n"
    return "    (\n" + "".join(f"        {field},\n" for field in fields) + "    ),\n"


def tables():
    """The rows of each table of known.rs, by its name."""
    families = [(inner, outer) for inner in (4, 6) for outer in (4, 6)]
    with_checksum = {
        (name, inner): packet(name, inner, 6, compute=True)[46:48].hex() for name in PORTS for inner in (4, 6)
    }
    plain = GRE(proto=ETHERTYPE[4])
    sources = [headers("gre", 4, 4, header=plain, source=f"192.0.2.{64 + host}") for host in HOSTS]
    return {
        "HEADERS": "".join(
            row(f'"{name}"', f"V{inner}", f"V{outer}", f'"{headers(name, inner, outer)}"')
            for name in HEADERS
            for inner, outer in families
        ),
        "CHECKSUMS": "".join(
            row(f'"{name}"', f"V{inner}", f"0x{checksum}") for (name, inner), checksum in with_checksum.items()
        ),
        "SOURCES": "".join(f'    "{known}",\n' for known in sources),
    }


def rows_pattern(name):
    """A pattern that finds the rows of a table in known.rs."""
    return re.compile(rf"(?<=const {name}: )([^=]*= &\[\n)(.*?)(?=^\];)", re.DOTALL | re.MULTILINE)


def main():
    write = sys.argv[1:] == ["--write"]
    text = KNOWN.read_text()
    for name, rows in tables().items():
        text = rows_pattern(name).sub(lambda found, rows=rows: found[1] + rows, text)
        if not write:
            print(f"{name}:\n{rows}")
    if write:
        KNOWN.write_text(text)


if __name__ == "__main__":
    main()
