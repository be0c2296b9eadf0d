#!/usr/bin/python3
"""Writes a traffic profile as a capture, for DPDK's pcap device.

    profile.py flows|syn FILE [--packets N]

Every packet is of a flow of its own: TCP over IPv4 to 203.0.113.10:80, 60 bytes and so 64 on a wire.
flows: ACKs, so that a flow is established by its first packet. syn: SYNs.
"""

import argparse

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

FLAGS = {"flows": "A", "syn": "S"}


def packet(number, flags):
    source = f"198.18.{number // 60000}.{1 + number % 251}"
    ip = IP(src=source, dst="203.0.113.10") / TCP(sport=1024 + number % 60000, dport=80, flags=flags)
    frame = bytes(Ether(src="02:00:00:00:00:fe", dst="02:00:00:00:00:01") / ip)
    return frame.ljust(60, b"\0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", choices=FLAGS)
    parser.add_argument("file")
    parser.add_argument("--packets", type=int, default=1024)
    options = parser.parse_args()
    frames = [packet(number, FLAGS[options.profile]) for number in range(options.packets)]
    wrpcap(options.file, frames, linktype=1)


if __name__ == "__main__":
    main()
