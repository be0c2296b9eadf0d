//! Why a frame is no packet for the forwarder. Each variant is a drop reason with a counter of its own.

/// What is wrong with a frame, by the first thing found in the order of the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Error {
    /// Fewer than 14 bytes.
    #[error("frame ends inside the Ethernet header: look for a faulty link or driver")]
    EthernetTruncated,
    /// A tag's ethertype without the rest of the tag.
    #[error("frame ends inside a VLAN tag: look for a faulty link or driver")]
    VlanTruncated,
    /// More than two tags.
    #[error("frame has more than two VLAN tags: strip the outer ones on the switch")]
    VlanTooDeep,
    /// Another ethertype, ARP included, or an 802.3 length.
    #[error("frame is neither IPv4 nor IPv6")]
    NotIp,
    /// The frame ends before the IPv4 header does.
    #[error("frame ends inside the IPv4 header")]
    Ipv4Truncated,
    /// Ethertype IPv4, version other than 4.
    #[error("ethertype is IPv4, but the version is not 4")]
    Ipv4Version,
    /// IHL below 5.
    #[error("IPv4 header length is below 20 bytes")]
    Ipv4HeaderLength,
    /// Total length less than the header, or more than the frame has.
    #[error("IPv4 total length does not fit the frame: look for truncation on the way")]
    Ipv4TotalLength,
    /// RFC 1812 section 5.2.2 demands that it is verified.
    #[error("IPv4 header checksum is wrong: look for a faulty link or router")]
    Ipv4Checksum,
    /// The frame ends before the 40 bytes of the IPv6 header do.
    #[error("frame ends inside the IPv6 header")]
    Ipv6Truncated,
    /// Ethertype IPv6, version other than 6.
    #[error("ethertype is IPv6, but the version is not 6")]
    Ipv6Version,
    /// More than the frame has. Jumbograms (RFC 2675) are not supported.
    #[error("IPv6 payload length exceeds the frame: look for truncation on the way")]
    Ipv6PayloadLength,
    /// The packet ends before an extension header does, or the header before its own fixed part.
    #[error("IPv6 packet ends inside an extension header")]
    Ipv6ExtensionTruncated,
    /// More than [`super::ipv6::MAX_EXTENSIONS`].
    #[error("IPv6 packet has more extension headers than the forwarder follows")]
    Ipv6ExtensionLimit,
    /// RFC 8200 section 4 lets hop-by-hop options stand only directly behind the IPv6 header.
    #[error("IPv6 hop-by-hop options do not stand first")]
    Ipv6ExtensionOrder,
    /// The packet ends inside the TCP or UDP header.
    #[error("packet ends inside its TCP or UDP header")]
    TransportTruncated,
    /// Below 5 words, or beyond the end of the packet.
    #[error("TCP data offset does not fit the packet")]
    TcpDataOffset,
    /// Below 8, or more than the packet has.
    #[error("UDP length does not fit the packet")]
    UdpLength,
    /// A first fragment without all of the headers (RFC 1858, RFC 7112), or a fragment that would
    /// overwrite TCP's flags (RFC 3128).
    #[error("fragment splits the TCP or UDP header, as attacks on filters do")]
    FragmentTiny,
}

impl Error {
    /// Every variant, in the order of [`Error::index`].
    pub const ALL: [Error; 19] = [
        Error::EthernetTruncated,
        Error::VlanTruncated,
        Error::VlanTooDeep,
        Error::NotIp,
        Error::Ipv4Truncated,
        Error::Ipv4Version,
        Error::Ipv4HeaderLength,
        Error::Ipv4TotalLength,
        Error::Ipv4Checksum,
        Error::Ipv6Truncated,
        Error::Ipv6Version,
        Error::Ipv6PayloadLength,
        Error::Ipv6ExtensionTruncated,
        Error::Ipv6ExtensionLimit,
        Error::Ipv6ExtensionOrder,
        Error::TransportTruncated,
        Error::TcpDataOffset,
        Error::UdpLength,
        Error::FragmentTiny,
    ];

    /// The place in [`Error::ALL`], for arrays of counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The counter's name.
    pub const fn name(self) -> &'static str {
        match self {
            Error::EthernetTruncated => "ethernet_truncated",
            Error::VlanTruncated => "vlan_truncated",
            Error::VlanTooDeep => "vlan_too_deep",
            Error::NotIp => "not_ip",
            Error::Ipv4Truncated => "ipv4_truncated",
            Error::Ipv4Version => "ipv4_version",
            Error::Ipv4HeaderLength => "ipv4_header_length",
            Error::Ipv4TotalLength => "ipv4_total_length",
            Error::Ipv4Checksum => "ipv4_checksum",
            Error::Ipv6Truncated => "ipv6_truncated",
            Error::Ipv6Version => "ipv6_version",
            Error::Ipv6PayloadLength => "ipv6_payload_length",
            Error::Ipv6ExtensionTruncated => "ipv6_extension_truncated",
            Error::Ipv6ExtensionLimit => "ipv6_extension_limit",
            Error::Ipv6ExtensionOrder => "ipv6_extension_order",
            Error::TransportTruncated => "transport_truncated",
            Error::TcpDataOffset => "tcp_data_offset",
            Error::UdpLength => "udp_length",
            Error::FragmentTiny => "fragment_tiny",
        }
    }
}

// A variant without a place in ALL would count into its neighbour's counter.
const _: () = {
    let mut index = 0;
    while index < Error::ALL.len() {
        assert!(Error::ALL[index].index() == index);
        index += 1;
    }
    assert!(Error::FragmentTiny.index() + 1 == Error::ALL.len());
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_snake_case() {
        let names: HashSet<_> = Error::ALL.iter().map(|error| error.name()).collect();
        assert_eq!(names.len(), Error::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }

    #[test]
    fn name_follows_the_variant() {
        for error in Error::ALL {
            assert_eq!(error.name().replace('_', ""), format!("{error:?}").to_lowercase());
        }
    }
}
