//! Why a frame is no packet for the forwarder. Each variant is a drop reason with its own counter.

use crate::named::named;

named! {
    /// What is wrong with a frame: the first fault in the order of the headers.
    pub enum Error {
        /// The frame ends inside the Ethernet header: a faulty link or driver.
        EthernetTruncated = "ethernet_truncated",
        /// The frame ends inside a VLAN tag: a faulty link or driver.
        VlanTruncated = "vlan_truncated",
        /// The frame has more than two VLAN tags.
        VlanTooDeep = "vlan_too_deep",
        /// The frame is neither IPv4 nor IPv6: ARP or 802.3, for example.
        NotIp = "not_ip",
        /// The frame ends inside the IPv4 header.
        Ipv4Truncated = "ipv4_truncated",
        /// The Ethertype is IPv4, but the version is not 4.
        Ipv4Version = "ipv4_version",
        /// The IPv4 header length is below 20 bytes.
        Ipv4HeaderLength = "ipv4_header_length",
        /// The IPv4 total length is below the header length or exceeds the frame.
        Ipv4TotalLength = "ipv4_total_length",
        /// The IPv4 header checksum is wrong, which routers verify (RFC 1812 section 5.2.2).
        Ipv4Checksum = "ipv4_checksum",
        /// The frame ends inside the IPv6 header.
        Ipv6Truncated = "ipv6_truncated",
        /// The Ethertype is IPv6, but the version is not 6.
        Ipv6Version = "ipv6_version",
        /// The IPv6 payload length exceeds the frame, or the packet is a jumbogram (RFC 2675).
        Ipv6PayloadLength = "ipv6_payload_length",
        /// The IPv6 packet ends inside an extension header.
        Ipv6ExtensionTruncated = "ipv6_extension_truncated",
        /// The IPv6 packet has more than 8 extension headers.
        Ipv6ExtensionLimit = "ipv6_extension_limit",
        /// IPv6 hop-by-hop options do not directly follow the IPv6 header (RFC 8200 section 4).
        Ipv6ExtensionOrder = "ipv6_extension_order",
        /// The packet ends inside its TCP or UDP header.
        TransportTruncated = "transport_truncated",
        /// The TCP data offset is below 5 words or exceeds the packet.
        TcpDataOffset = "tcp_data_offset",
        /// The UDP length is below 8 bytes or exceeds the packet.
        UdpLength = "udp_length",
        /// A fragment splits or overwrites the TCP or UDP header (RFC 1858, RFC 3128, RFC 7112).
        FragmentTiny = "fragment_tiny",
    }
}

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
