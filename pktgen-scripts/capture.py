#!/usr/bin/python3
"""Writes a traffic profile as a capture, for DPDK's pcap device and for Pktgen's pcap mode.

    capture.py PROFILE FILE [--packets N] [--mac MAC]

    flows      64-byte TCP ACKs over IPv4, each packet of another flow
    syn        64-byte TCP SYNs, likewise
    constant   64-byte TCP ACKs of one flow
    imix       TCP ACKs of 64, 594 and 1518 bytes, 7 to 4 to 1, each of another flow
    ipv6       78-byte TCP ACKs over IPv6, likewise; with IPv6 and TCP no frame is shorter
    fragments  UDP datagrams of 1,200 bytes in three fragments each, in order, each datagram of another flow

The destination is 203.0.113.10 or 2001:db8:f::10, TCP port 80 or UDP port 53. Sizes are on the wire, with
Ethernet's checksum. A capture has no checksum: 64 bytes are 60 there.
"""

import argparse

from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

ETHERNET, CHECKSUM = 14, 4
IMIX = (64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 64, 594)
VIP = {4: "203.0.113.10", 6: "2001:db8:f::10"}
PIECES = 3


def client(number, version=4):
    """Address and port of a flow's client: different for each of 15 million flows."""
    port = 1024 + number % 60000
    if version == 6:
        return f"2001:db8:c:{number // 60000:x}::{1 + number % 250:x}", port
    return f"198.18.{number // 60000}.{1 + number % 250}", port


def tcp(number, size=64, version=4, flags="A"):
    """The IP packet of a frame that has `size` bytes on the wire."""
    source, port = client(number, version)
    packet = (IPv6 if version == 6 else IP)(src=source, dst=VIP[version]) / TCP(sport=port, dport=80, flags=flags)
    room = size - CHECKSUM - ETHERNET - len(packet)
    # Padding to Ethernet's least length is not payload.
    return packet / Raw(bytes(room)) if room > 6 else packet


def datagram(number):
    """The fragments of a UDP datagram."""
    source, port = client(number)
    whole = IP(src=source, dst=VIP[4], id=1 + number % 65535) / UDP(sport=port, dport=53) / Raw(bytes(1192))
    return fragment(whole, fragsize=400)


PROFILES = {
    "flows": lambda count: [tcp(number) for number in range(count)],
    "syn": lambda count: [tcp(number, flags="S") for number in range(count)],
    "constant": lambda count: [tcp(0)] * count,
    "imix": lambda count: [tcp(number, IMIX[number % len(IMIX)]) for number in range(count)],
    "ipv6": lambda count: [tcp(number, 78, 6) for number in range(count)],
    "fragments": lambda count: [piece for number in range(count // PIECES) for piece in datagram(number)],
}


def frames(profile, count, mac="02:00:00:00:00:01"):
    """Frames to the port with this address, without their checksums."""
    ether = {version: bytes(Ether(src="02:00:00:00:00:fe", dst=mac, type=kind)) for version, kind in ((4, 0x800), (6, 0x86DD))}
    return [(ether[packet.version] + bytes(packet)).ljust(60, b"\0") for packet in PROFILES[profile](count)]


def write(profile, path, count, mac="02:00:00:00:00:01"):
    wrpcap(str(path), frames(profile, count, mac), linktype=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("file")
    parser.add_argument("--packets", type=int, default=1024)
    parser.add_argument("--mac", default="02:00:00:00:00:01", help="of the appliance's port")
    options = parser.parse_args()
    write(options.profile, options.file, options.packets, options.mac)


if __name__ == "__main__":
    main()
