//! Packets as the forwarder sends them to backends, by a raw socket of the node.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

pub(crate) const GRE: u8 = 47;
pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// A raw socket that sends packets with their headers, of one family.
pub(crate) struct Outer(Socket);

impl Outer {
    /// `IPPROTO_RAW`: the kernel takes the header from the packet.
    pub(crate) fn new(is_ipv6: bool) -> Outer {
        let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        Outer(Socket::new(domain, Type::RAW, Some(Protocol::from(255))).unwrap())
    }

    /// Sends a packet from the node, of so many bytes in all.
    pub(crate) fn send(&self, to: &str, carried: u8, hop_limit: u8, length: u16) {
        let to: IpAddr = to.parse().unwrap();
        let packet = packet(to, carried, hop_limit, length);
        self.0.send_to(&packet, &SocketAddr::new(to, 0).into()).unwrap();
    }
}

fn packet(to: IpAddr, carried: u8, hop_limit: u8, length: u16) -> Vec<u8> {
    let mut packet = match to {
        IpAddr::V4(to) => {
            // Not to be fragmented. The kernel fills in length, identification and checksum.
            let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, hop_limit, carried, 0, 0];
            header.extend([192, 0, 2, 1]);
            header.extend(to.octets());
            header
        }
        IpAddr::V6(to) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((length - 40).to_be_bytes());
            header.extend([carried, hop_limit]);
            header.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
            header.extend(to.octets());
            header
        }
    };
    let begin = packet.len();
    packet.resize(length.into(), 0);
    match carried {
        // No flags, and IPv4 inside.
        GRE => packet[begin + 2] = 8,
        UDP => {
            let datagram = length - u16::try_from(begin).unwrap();
            // From port 50000 to GUE's. Without a checksum, which IPv6 allows to tunnels alone: see below.
            packet[begin..begin + 2].copy_from_slice(&50000_u16.to_be_bytes());
            packet[begin + 2..begin + 4].copy_from_slice(&6080_u16.to_be_bytes());
            packet[begin + 4..begin + 6].copy_from_slice(&datagram.to_be_bytes());
            if to.is_ipv6() {
                let sum = checksum(&packet, begin);
                packet[begin + 6..begin + 8].copy_from_slice(&sum.to_be_bytes());
            }
        }
        _ => (),
    }
    packet
}

/// UDP's checksum over IPv6 (RFC 8200, section 8.1).
fn checksum(packet: &[u8], begin: usize) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into());
    let addresses: u32 = packet[8..40].chunks(2).map(word).sum();
    let datagram: u32 = packet[begin..].chunks(2).map(word).sum();
    let length = u32::try_from(packet.len() - begin).unwrap();
    let mut sum = addresses + datagram + length + u32::from(UDP);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}
