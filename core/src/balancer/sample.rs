//! Frames for the tests of the balancer, built field by field.
//!
//! A test starts from [`Sample::tcp`] or [`Sample::udp`] and changes the fields that matter.

use std::net::{IpAddr, SocketAddr};

use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

use crate::wire::{Family, Packet, ethernet, ipv4, ipv6, protocol, tcp, udp};

/// The MAC address that samples are sent to.
pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The fields of a frame.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) mac: [u8; 6],
    /// Ethertype and control of each tag.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) protocol: u8,
    pub(super) flags: u8,
    pub(super) traffic_class: u8,
    /// IPv4's flags and fragment offset.
    pub(super) fragment: u16,
    /// IPv4 options, a multiple of four bytes.
    pub(super) options: Vec<u8>,
    /// IPv6 extension headers. The first is of type `extension`, the last one names `protocol`.
    pub(super) extensions: Vec<u8>,
    pub(super) extension: u8,
    pub(super) payload: Vec<u8>,
    /// Bytes behind the IP packet.
    pub(super) padding: usize,
}

impl Sample {
    pub(super) fn tcp(source: &str, destination: &str, flags: u8) -> Sample {
        Sample {
            mac: MAC,
            tags: Vec::new(),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: protocol::TCP,
            flags,
            traffic_class: 0,
            fragment: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            extension: 0,
            payload: Vec::new(),
            padding: 0,
        }
    }

    pub(super) fn udp(source: &str, destination: &str) -> Sample {
        Sample { protocol: protocol::UDP, ..Sample::tcp(source, destination, 0) }
    }

    pub(super) fn with_flags(&self, flags: u8) -> Sample {
        Sample { flags, ..self.clone() }
    }

    /// The frame: Ethernet header, tags, IP packet and padding.
    pub(super) fn frame(&self) -> Vec<u8> {
        let ip = self.ip();
        let mut frame = [&self.mac[..], &[2, 0, 0, 0, 0, 0xfe]].concat();
        for &(ethertype, control) in &self.tags {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        let ethertype = if ip[0] >> 4 == 4 { ethernet::IPV4 } else { ethernet::IPV6 };
        frame.extend(ethertype.to_be_bytes());
        frame.extend(ip);
        frame.extend(vec![0xa5; self.padding]);
        frame
    }

    /// The IP packet alone.
    pub(super) fn ip(&self) -> Vec<u8> {
        let transport = self.transport();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = ipv4::LENGTH + self.options.len();
                let mut ip = vec![0x40 | u8::try_from(header / 4).unwrap(), self.traffic_class];
                ip.extend(u16::try_from(header + transport.len()).unwrap().to_be_bytes());
                ip.extend([0, 1]);
                ip.extend(self.fragment.to_be_bytes());
                ip.extend([64, self.protocol, 0, 0]);
                ip.extend(source.octets());
                ip.extend(destination.octets());
                ip.extend(&self.options);
                fix_checksum(&mut ip);
                ip.extend(transport);
                ip
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = self.extensions.len() + transport.len();
                let header = ipv6::Header {
                    version_class_flow: ipv6::Header::first_word(self.traffic_class, 0x12345),
                    payload_length: U16::new(u16::try_from(length).unwrap()),
                    next_header: match self.extensions[..] {
                        [] => self.protocol,
                        _ => self.extension,
                    },
                    hop_limit: 64,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                [header.as_bytes(), &self.extensions, &transport].concat()
            }
            _ => panic!("a sample has one family"),
        }
    }

    fn transport(&self) -> Vec<u8> {
        let source = U16::new(self.source.port());
        let destination = U16::new(self.destination.port());
        let mut transport = match self.protocol {
            protocol::TCP => tcp::Header {
                source,
                destination,
                sequence: U32::new(1),
                acknowledgement: U32::ZERO,
                offset_reserved: 0x50,
                flags: self.flags,
                window: U16::new(64240),
                checksum: U16::ZERO,
                urgent: U16::ZERO,
            }
            .as_bytes()
            .to_vec(),
            protocol::UDP => udp::Header {
                source,
                destination,
                length: U16::new(u16::try_from(udp::LENGTH + self.payload.len()).unwrap()),
                checksum: U16::ZERO,
            }
            .as_bytes()
            .to_vec(),
            _ => Vec::new(),
        };
        transport.extend(&self.payload);
        transport
    }
}

/// Gives the packet of a frame so many hops.
pub(super) fn with_hops(frame: &mut [u8], hops: u8) {
    let Ok(packet) = Packet::parse(frame) else { return };
    let l3 = usize::from(packet.l3);
    match packet.family {
        Family::V6 => frame[l3 + 7] = hops,
        Family::V4 => {
            frame[l3 + 8] = hops;
            fix_checksum(&mut frame[l3..]);
        }
    }
}

/// Corrects the checksum of the IPv4 header at the start of `ip`, if there is a whole header.
pub(super) fn fix_checksum(ip: &mut [u8]) {
    let length = usize::from(ip.first().map_or(0, |first| first & 0xf)) * 4;
    let Some(header) = ip.get_mut(..length).filter(|h| h.len() >= ipv4::LENGTH) else { return };
    header[10..12].fill(0);
    let sum: u32 = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
}
