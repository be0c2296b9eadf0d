"""Packets of a service without a backend, in a pool with `on_empty = "reset"`: RSTs and "port unreachable".
Scapy builds every expected frame.
"""

import itertools

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6ParamProblem, IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw
from support.config import one_port
from support.packets import EXTRAS, TAGS, VIP
from support.replies import CLIENT, about, ip, link

from replay.test_icmp import check, dropped, option

__all__ = ["check"]

FAMILIES = (4, 6)
# Flags, bytes of data, sequence number and acknowledgement; and those three of the RST (RFC 9293 section 3.10.7.1).
SEGMENTS = {
    "SYN": (("S", 0, 1000, 0), ("RA", 0, 1001)),
    "SYN with data": (("S", 100, 1000, 0), ("RA", 0, 1101)),
    "SYN with ECN": (("SEC", 0, 1000, 0), ("RA", 0, 1001)),
    "SYN at the end of the numbers": (("S", 0, 0xFFFFFFFF, 0), ("RA", 0, 0)),
    "FIN": (("FA", 0, 1000, 5), ("R", 5, 0)),
    "FIN without ACK": (("F", 3, 1000, 0), ("RA", 0, 1004)),
    "data": (("PA", 1200, 1000, 0xFFFFFFFF), ("R", 0xFFFFFFFF, 0)),
    "bare ACK": (("A", 0, 1000, 77), ("R", 77, 0)),
    "no flag": (("", 9, 1000, 77), ("RA", 0, 1009)),
    "SYN and ACK": (("SA", 0, 1000, 77), ("R", 77, 0)),
}


def refusing(change=None):
    """No backend takes flows."""

    def empty(config):
        config.pool().update(on_empty="reset", backends=[])
        if change:
            change(config)

    return one_port().changed(empty)


def segment(version, name="SYN", tags=(), extra=(), options=(), pad=0, source=None, **fields):
    """A segment and its RST."""
    (flags, size, sequence, acknowledged), (back, back_sequence, back_acknowledged) = SEGMENTS[name]
    source = source or CLIENT[version]
    if version == 4:
        fields = {**fields, "options": list(extra)}
        extra = ()
    packet = ip(version, source, VIP[version], **fields)
    for header in extra:
        packet = packet / header
    numbers = {"seq": sequence, "ack": acknowledged, "flags": flags, "window": 64240}
    packet = packet / TCP(sport=40000, dport=80, options=list(options), **numbers) / Raw(b"z" * size)
    own = {"ttl": 64, "id": 0, "flags": "DF"} if version == 4 else {"hlim": 64}
    numbers = {"seq": back_sequence, "ack": back_acknowledged, "flags": back, "window": 0}
    reply = ip(version, VIP[version], source, **own) / TCP(sport=80, dport=40000, **numbers)
    frame = link(packet, tags)
    return frame + b"\xa5" * (pad - len(frame)), "reset_replied", [link(reply, tags, back=True)]


def datagram(version, size=10, tags=()):
    """A datagram and the error."""
    packet = ip(version, CLIENT[version], VIP[version]) / UDP(sport=9, dport=53) / Raw(b"z" * size)
    error = about(version, packet, ICMP(type=3, code=3), ICMPv6DestUnreach(code=4))
    return link(packet, tags), "unreachable_replied", [link(error, tags, back=True)]


@pytest.mark.parametrize("version", FAMILIES)
def test_each_segment_gets_its_reset(check, version):
    timestamp = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    cases = []
    for name, tags in itertools.product(SEGMENTS, TAGS.values()):
        cases += [segment(version, name, tags), segment(version, name, tags, options=timestamp, pad=200)]
    cases += [segment(version, "data", extra=extra) for extra in EXTRAS[version].values()]
    cases.append(segment(4, tos=255, ttl=3) if version == 4 else segment(6, tc=255, hlim=3))
    check(refusing(), cases)


@pytest.mark.parametrize("version", FAMILIES)
def test_a_datagram_gets_an_error(check, version):
    sizes = (0, 1, 519, 520, 521, 1183, 1184, 1185, 1300)
    check(refusing(), [datagram(version, size, tags) for size in sizes for tags in TAGS.values()])


@pytest.mark.parametrize("version", FAMILIES)
def test_what_gets_no_answer(check, version):
    cases = []
    for flags in ("R", "RA", "RS"):
        packet = ip(version, CLIENT[version], VIP[version]) / TCP(sport=40000, dport=80, flags=flags)
        cases.append((link(packet), "no_backend", []))
    for name in SEGMENTS:
        frame = bytearray(segment(version, name)[0])
        frame[-1] ^= 1
        cases.append((bytes(frame), "tcp_checksum", []))
    wrong = UDP(sport=9, dport=53, chksum=0x1234) / Raw(b"z")
    cases.append((link(ip(version, CLIENT[version], VIP[version]) / wrong), "udp_checksum", []))
    sources = ("224.0.0.5", "127.0.0.1", "0.0.0.0", VIP[4]) if version == 4 else ("ff02::1", "::1", "::", VIP[6])
    cases += [dropped(segment(version, source=source), "source_invalid") for source in sources]
    if version == 6:
        # The subnet-router anycast address of the port's network.
        cases.append(dropped(segment(6, source="2001:db8::"), "reply_forbidden"))
    check(refusing(), cases)


def test_an_unknown_option_comes_first(check):
    def optional(kind):
        frame, _, _ = segment(6, extra=[IPv6ExtHdrHopByHop(options=[option(kind)])])
        return frame, about(6, IPv6(frame[14:]), None, ICMPv6ParamProblem(code=2, ptr=42))

    discarded, _ = optional(0x40)
    reported, error = optional(0x80)
    cases = [
        segment(6, extra=[IPv6ExtHdrHopByHop(options=[option(0x1E)])]),
        (discarded, "ipv6_option_unknown", []),
        (reported, "parameter_problem_replied", [link(error, back=True)]),
    ]
    check(refusing(), cases)


@pytest.mark.parametrize("version", FAMILIES)
def test_fragments(check, version):
    """The first fragment of a datagram gets the error, and those of a segment get nothing."""

    def parts(transport, number):
        whole = ip(version, CLIENT[version], VIP[version]) / transport / Raw(b"z" * 1200)
        if version == 4:
            whole.id = number
            return fragment(IP(bytes(whole)), fragsize=480)
        payload = bytes(whole)[40:]
        header = IPv6(src=CLIENT[6], dst=VIP[6])
        found = []
        for offset in range(0, len(payload), 480):
            extension = IPv6ExtHdrFragment(nh=whole.nh, id=number, offset=offset // 8, m=int(offset + 480 < len(payload)))
            found.append(header / extension / Raw(payload[offset : offset + 480]))
        return found

    first, *later = parts(UDP(sport=9, dport=53), 1)
    error = about(version, first, ICMP(type=3, code=3), ICMPv6DestUnreach(code=4))
    cases = [(link(first), "unreachable_replied", [link(error, back=True)])]
    cases += [(link(part), "fragment_first_dropped", []) for part in later]
    first, *later = parts(TCP(sport=40000, dport=80, flags="S"), 2)
    cases += [(link(first), "no_backend", [])]
    cases += [(link(part), "fragment_first_dropped", []) for part in later]
    check(refusing(), cases)


def test_refusals_have_a_limit_of_their_own(check):
    """A millisecond apart, so that nothing comes back meanwhile."""

    def limit(config):
        config["icmp"] = {"rate": 1, "burst": 3}

    allowed, limited = segment(4), dropped(segment(4), "reply_limited")
    ping = ip(4, CLIENT[4], VIP[4]) / ICMP(type=8, id=7, seq=1) / Raw(b"ping")
    echo = ip(4, VIP[4], CLIENT[4], ttl=64) / ICMP(type=0, id=7, seq=1) / Raw(b"ping")
    echoed = (link(ping), "echo_replied", [link(echo, back=True)])
    check(refusing(limit), [allowed, datagram(4), allowed, limited, dropped(datagram(4), "reply_limited"), echoed])


@pytest.mark.parametrize("on_empty", (None, "drop"))
def test_by_default_nothing_is_sent(check, on_empty):
    def silent(config):
        config.pool().pop("on_empty")
        if on_empty:
            config.pool()["on_empty"] = on_empty

    cases = [dropped(case, "no_backend") for case in (segment(4), segment(6), datagram(4), datagram(6))]
    check(refusing(silent), cases)
