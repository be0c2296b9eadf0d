//! The reader of plain packets, as nearly all are: Ethernet with up to two tags, IPv4 without options or IPv6 without
//! extension headers, TCP or UDP, whole.
//!
//! Their headers are at fixed offsets from the end of the tags, so one bounds check serves for all. A frame with tags is
//! read as the frame without them: from [`tags`] bytes on, its Ethertype and all behind lie where those of an untagged
//! frame do. The result is the same as that of
//! [`Packet::parse`]. `None` means *not plain*, not *invalid*: fall back to [`Packet::parse`], which reads every kind
//! of packet and names all errors. Plain packets shorter than any that a device delivers give `None` too.

use std::hint::cold_path;

use super::{Family, Fragment, Packet, ethernet, ipv4, ipv6, protocol, tcp, udp, vlan};

/// Bytes of a frame that a plain IPv4 packet is read from: up to the end of a TCP header.
pub const HEAD_V4: usize = ethernet::LENGTH + ipv4::LENGTH + tcp::LENGTH;
/// Bytes of a frame that a plain IPv6 packet is read from: up to TCP's flags.
pub const HEAD_V6: usize = HEAD_V4 + TAIL_V6;
/// Bytes of a plain IPv6 packet behind the first [`HEAD_V4`]: the beginning of its transport header.
pub const TAIL_V6: usize = tcp::FLAGS + 1;
const _: () = assert!(HEAD_V4 == L4_V6);

const IP: usize = ethernet::LENGTH;
const L4_V4: usize = IP + ipv4::LENGTH;
const L4_V6: usize = IP + ipv6::LENGTH;
/// Length of an IPv6 header.
const LENGTH_V6: u16 = offset(ipv6::LENGTH);
/// Offset of the length in the UDP header.
const UDP_LENGTH: usize = 4;

/// What is kept of a plain packet's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainHeaders {
    /// Traffic class and length, as the first word of an IPv4 header has them.
    pub first: Ipv4FirstWord,
    /// Flags of [`tcp`]; 0 for UDP.
    pub tcp_flags: u8,
    /// Bytes of tags: 0, 4 or 8.
    pub tags: u8,
    /// IPv4 or IPv6.
    pub family: Family,
}

/// The first word of an IPv4 header without options (RFC 791 section 3.1): version and header length, DSCP and ECN,
/// total length. For an IPv6 packet, the word that an IPv4 header with the same fields would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4FirstWord(pub u32);

impl Ipv4FirstWord {
    /// The word without traffic class and length.
    pub const BASE: Ipv4FirstWord = Ipv4FirstWord(0x4500_0000);

    #[inline(always)]
    fn new(traffic_class: u8, length: u16) -> Ipv4FirstWord {
        Ipv4FirstWord(Ipv4FirstWord::BASE.0 | u32::from(traffic_class) << 16 | u32::from(length))
    }

    /// The word of a packet of at most 65535 bytes.
    pub fn of(packet: &Packet) -> Ipv4FirstWord {
        let length = u16::try_from(packet.ip_length()).unwrap_or(u16::MAX);
        Ipv4FirstWord::new(packet.traffic_class, length)
    }

    /// Bytes of the IP packet, including its header.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is the length")]
    #[inline(always)]
    pub const fn length(self) -> u16 {
        self.0 as u16
    }

    /// DSCP (6 bits) and ECN (2 bits).
    #[inline(always)]
    pub const fn traffic_class(self) -> u8 {
        (self.0 >> 16 & 0xff) as u8
    }

    /// The word of a packet that is longer by so many bytes. Its length must not exceed 65535.
    #[inline(always)]
    #[must_use]
    pub const fn longer(self, by: u16) -> Ipv4FirstWord {
        Ipv4FirstWord(self.0.wrapping_add(by as u32))
    }
}

/// `N` bytes at an offset, without a bounds check if the compiler knows that they are inside.
#[inline(always)]
pub fn word<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&head[at..at + N]);
    word
}

/// A pattern for frames that may hold a plain packet: their first 16 bytes, of which the mask selects some.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeaderMatch {
    bytes: [u8; MATCH_LENGTH],
    mask: [u8; MATCH_LENGTH],
}

/// Bytes up to the first two of the IP header.
const MATCH_LENGTH: usize = 16;

impl HeaderMatch {
    /// An IPv4 header without options.
    pub const V4: HeaderMatch = HeaderMatch::new(ethernet::IPV4, 0x45, 0xff);
    /// An IPv6 header.
    pub const V6: HeaderMatch = HeaderMatch::new(ethernet::IPV6, 0x60, 0xf0);
    /// Any frame.
    pub const ANY: HeaderMatch = HeaderMatch { bytes: [0; MATCH_LENGTH], mask: [0; MATCH_LENGTH] };

    const fn new(ethertype: u16, first: u8, mask: u8) -> HeaderMatch {
        let mut header_match = HeaderMatch { bytes: [0; MATCH_LENGTH], mask: [0; MATCH_LENGTH] };
        [header_match.bytes[IP - 2], header_match.bytes[IP - 1]] = ethertype.to_be_bytes();
        [header_match.mask[IP - 2], header_match.mask[IP - 1]] = [0xff; 2];
        (header_match.bytes[IP], header_match.mask[IP]) = (first, mask);
        header_match
    }

    /// The pattern for frames with this destination address.
    #[must_use]
    pub fn with_mac(mut self, mac: [u8; 6]) -> HeaderMatch {
        self.bytes[..6].copy_from_slice(&mac);
        self.mask[..6].fill(0xff);
        self
    }

    /// Whether a frame begins so.
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.1"))]
    #[inline(always)]
    pub fn matches(&self, head: &[u8; HEAD_V4]) -> bool {
        use safe_arch::{m128i, test_all_zeroes_m128i};
        let differ = m128i::from(word::<MATCH_LENGTH>(head, 0)) ^ m128i::from(self.bytes);
        test_all_zeroes_m128i(differ, m128i::from(self.mask)) != 0
    }

    /// Whether a frame begins so.
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.1")))]
    #[inline(always)]
    pub fn matches(&self, head: &[u8; HEAD_V4]) -> bool {
        let differ = u128::from_ne_bytes(word(head, 0)) ^ u128::from_ne_bytes(self.bytes);
        differ & u128::from_ne_bytes(self.mask) == 0
    }
}

/// Reads an IPv4 packet from the head of a frame of `length` bytes that matches [`HeaderMatch::V4`]; `None` if it is
/// not plain.
#[inline(always)]
pub fn read_v4(head: &[u8; HEAD_V4], length: usize) -> Option<PlainHeaders> {
    let first = Ipv4FirstWord(u32::from_be_bytes(word(head, IP)));
    let fragment = u16::from_be_bytes(word(head, IP + 6));
    let whole = fragment & (ipv4::OFFSET_MASK | ipv4::MORE_FRAGMENTS) == 0;
    let end = IP + usize::from(first.length());
    if !whole || end > length || !is_checksum_valid(head) {
        return None;
    }
    let tcp_flags = transport(head, L4_V4, head[IP + 9], end)?;
    Some(PlainHeaders { first, tcp_flags, tags: 0, family: Family::V4 })
}

/// The tail of a frame for [`read_v6`]; `None` if the frame is too short.
#[inline(always)]
pub fn tail_v6(frame: &[u8]) -> Option<&[u8; TAIL_V6]> {
    frame.get(HEAD_V4..)?.first_chunk()
}

/// Reads an IPv6 packet from head and tail of a frame of `length` bytes that matches [`HeaderMatch::V6`]; `None` if it
/// is not plain.
#[inline(always)]
pub fn read_v6(head: &[u8; HEAD_V4], tail: &[u8; TAIL_V6], length: usize) -> Option<PlainHeaders> {
    let payload_length = u16::from_be_bytes(word(head, IP + 4));
    let end = L4_V6 + usize::from(payload_length);
    // The first word cannot hold lengths of 64 KiB and more.
    if end > length || end > IP + usize::from(u16::MAX) {
        return None;
    }
    let tcp_flags = transport(tail, 0, head[IP + 6], end - L4_V6)?;
    // The traffic class begins behind the four bits of the version.
    let [traffic_class, _] = (u16::from_be_bytes(word(head, IP)) << 4).to_be_bytes();
    let first = Ipv4FirstWord::new(traffic_class, payload_length + LENGTH_V6);
    Some(PlainHeaders { first, tcp_flags, tags: 0, family: Family::V6 })
}

/// Bytes of the tags of a frame: 4 or 8; `None` if it has no tag, or more than two.
#[inline(always)]
pub fn tags(head: &[u8; HEAD_V4]) -> Option<usize> {
    let is_tag = |at| vlan::is_tag(u16::from_be_bytes(word(head, at)));
    const FIRST: usize = IP - 2;
    if !is_tag(FIRST) {
        return None;
    }
    if !is_tag(FIRST + vlan::LENGTH) {
        return Some(vlan::LENGTH);
    }
    cold_path();
    (!is_tag(FIRST + 2 * vlan::LENGTH)).then_some(2 * vlan::LENGTH)
}

/// Reads a frame of any kind; `None` if it holds no plain packet.
pub fn read(frame: &[u8]) -> Option<PlainHeaders> {
    let tags = tags(frame.first_chunk()?).unwrap_or_default();
    let frame = &frame[tags..];
    let head = frame.first_chunk()?;
    let headers = if HeaderMatch::V4.matches(head) {
        read_v4(head, frame.len())
    } else if HeaderMatch::V6.matches(head) {
        read_v6(head, tail_v6(frame)?, frame.len())
    } else {
        None
    };
    Some(headers?.behind(tags))
}

impl PlainHeaders {
    /// Offset of the IP header.
    #[inline(always)]
    pub fn l3(self) -> usize {
        IP + usize::from(self.tags)
    }

    /// The same headers behind so many bytes of tags.
    #[expect(clippy::cast_possible_truncation, reason = "at most 8")]
    #[inline(always)]
    #[must_use]
    pub fn behind(self, tags: usize) -> PlainHeaders {
        PlainHeaders { tags: tags as u8, ..self }
    }

    /// The protocol number of the packet that was read from this same frame, the length of its transport header and what
    /// follows, and the beginning of that header.
    #[inline(always)]
    pub fn transport(self, frame: &[u8]) -> Option<(u8, usize, &[u8; TAIL_V6])> {
        let ip = frame.get(self.l3()..)?;
        let length = usize::from(self.first.length());
        match self.family {
            Family::V4 => {
                let ip: &[u8; ipv4::LENGTH + TAIL_V6] = ip.first_chunk()?;
                Some((ip[9], length.wrapping_sub(ipv4::LENGTH), ip.last_chunk()?))
            }
            Family::V6 => {
                let ip: &[u8; ipv6::LENGTH + TAIL_V6] = ip.first_chunk()?;
                Some((ip[6], length.wrapping_sub(ipv6::LENGTH), ip.last_chunk()?))
            }
        }
    }

    /// The full record of the packet that was read from this same frame.
    pub fn packet(self, frame: &[u8]) -> Option<Packet> {
        let l3 = self.l3();
        let head: &[u8; ipv4::LENGTH] = frame.get(l3..)?.first_chunk()?;
        let (l4, protocol) = match self.family {
            Family::V4 => (l3 + ipv4::LENGTH, head[9]),
            Family::V6 => (l3 + ipv6::LENGTH, head[6]),
        };
        let [a, b, c, d] = word(frame.get(l4..l4 + 4)?, 0);
        Some(Packet {
            family: self.family,
            l3: offset(l3),
            l4: offset(l4),
            end: u32::from(offset(l3)) + u32::from(self.first.length()),
            protocol,
            traffic_class: self.first.traffic_class(),
            fragment: Fragment::Whole,
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
            tcp_flags: self.tcp_flags,
        })
    }
}

/// The flags of TCP, or 0 for UDP; `None` if their header does not fit the packet.
#[inline(always)]
fn transport(head: &[u8], l4: usize, protocol: u8, end: usize) -> Option<u8> {
    if protocol == protocol::TCP {
        let header_length = tcp::header_length(head[l4 + tcp::OFFSET]);
        let fits = header_length >= tcp::LENGTH && l4 + header_length <= end;
        fits.then_some(head[l4 + tcp::FLAGS])
    } else if protocol == protocol::UDP {
        cold_path();
        let stated = usize::from(u16::from_be_bytes(word(head, l4 + UDP_LENGTH)));
        (stated >= udp::LENGTH && l4 + stated <= end).then_some(0)
    } else {
        None
    }
}

/// Whether the checksum of the 20 bytes of the IPv4 header is right (RFC 1071). Adds words of 64 bits with the carries
/// at the bottom: one's complement is arithmetic modulo 0xffff, and the header is not 0.
#[inline(always)]
fn is_checksum_valid(head: &[u8; HEAD_V4]) -> bool {
    let [a, b] = [IP, IP + 8].map(|at| u64::from_ne_bytes(word(head, at)));
    let c = u64::from(u32::from_ne_bytes(word(head, IP + 16)));
    let (sum, carry) = a.overflowing_add(b);
    let (sum, again) = sum.carrying_add(c, carry);
    (sum + u64::from(again)).is_multiple_of(0xffff)
}

#[expect(clippy::cast_possible_truncation, reason = "at most 62")]
const fn offset(value: usize) -> u16 {
    value as u16
}
