//! Sockets that receive outer packets, over IPv4 and IPv6: a raw socket for an IP protocol, a UDP
//! socket for a port.
//!
//! The kernel reassembles fragments and verifies UDP checksums before it hands a packet over. Over
//! IPv6 the sockets also accept a UDP checksum of zero, which RFC 6935 allows for tunnels and the
//! forwarder sends. A raw socket hands over the IPv4 header but not the IPv6 header (RFC 3542,
//! section 3), and a UDP socket hands over neither. Without a header the traffic class comes in a
//! control message.
//!
//! If the kernel's own tunnel driver for an IP protocol is loaded, the driver and the socket each
//! get a copy of a packet. A UDP port has only one owner.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::sys::socket::sockopt::{IpRecvTos, Ipv6RecvTClass};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, bind, socket_with, sockopt};

use crate::decapsulation::{Carrier, IPV4_HEADER};
use crate::ecn::Ecn;

/// Bytes of a receive buffer: any IP packet fits.
pub(crate) const BUFFER: usize = 1 << 16;

/// Bytes of socket buffer to request: a burst waits there until the agent runs.
const SOCKET_BUFFER: usize = 4 << 20;

/// One socket.
pub(crate) struct Receiver {
    socket: OwnedFd,
    /// Packets come with their IPv4 header.
    with_header: bool,
    control: Vec<u8>,
}

/// An outer packet as it was received into the caller's buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Its outer source.
    pub(crate) source: IpAddr,
    /// Its outer congestion mark.
    pub(crate) ecn: Ecn,
    /// The bytes after the carrier's header, as a range of the buffer.
    pub(crate) payload: Range<usize>,
}

impl Receiver {
    /// Opens a socket for `carrier` at `local`. An unspecified address means any address of its
    /// family.
    pub(crate) fn open(local: IpAddr, carrier: Carrier) -> io::Result<Self> {
        let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match carrier {
            Carrier::Ip(number) => {
                let protocol = std::num::NonZeroU32::new(number.into()).map(Protocol::from_raw);
                socket_with(family, SocketType::RAW, flags, protocol)?
            }
            Carrier::Udp(_) => socket_with(family, SocketType::DGRAM, flags, None)?,
        };
        // First the privileged option, because net.core.rmem_max caps the other. Both may fail: the
        // default size works too.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER));
        let port = match (carrier, local) {
            (Carrier::Ip(_), IpAddr::V4(_)) => 0,
            (Carrier::Ip(_), IpAddr::V6(_)) => {
                setsockopt(&socket, Ipv6RecvTClass, &true)?;
                0
            }
            (Carrier::Udp(port), IpAddr::V4(_)) => {
                setsockopt(&socket, IpRecvTos, &true)?;
                port
            }
            (Carrier::Udp(port), IpAddr::V6(_)) => {
                // IPv4 has its own socket.
                sockopt::set_ipv6_v6only(&socket, true)?;
                setsockopt(&socket, Ipv6RecvTClass, &true)?;
                setsockopt(&socket, UdpZeroChecksum, &true)?;
                port
            }
        };
        bind(&socket, &SocketAddr::new(local, port))?;
        let with_header = local.is_ipv4() && matches!(carrier, Carrier::Ip(_));
        Ok(Receiver { socket, with_header, control: cmsg_space!(i32) })
    }

    /// Receives the next packet; `None` if none is waiting. Skips a packet without a valid outer
    /// header: the kernel has checked that header already.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        loop {
            let mut slices = [IoSliceMut::new(buffer)];
            let message = match recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(message) => message,
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let length = message.bytes;
            let source = message.address.as_ref().and_then(address);
            let mut traffic_class = 0;
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::Ipv4Tos(value) => traffic_class = value,
                    ControlMessageOwned::Ipv6TClass(value) => {
                        traffic_class = u8::try_from(value).unwrap_or(0);
                    }
                    _ => {}
                }
            }
            let datagram = if self.with_header {
                ipv4(&buffer[..length])
            } else {
                source.map(|source| Datagram {
                    source,
                    ecn: Ecn::of(traffic_class),
                    payload: 0..length,
                })
            };
            if datagram.is_some() {
                return Ok(datagram);
            }
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// `UDP_NO_CHECK6_RX`: accept UDP over IPv6 with checksum zero, which Linux drops by default.
#[derive(Clone, Copy)]
struct UdpZeroChecksum;

nix::setsockopt_impl!(
    UdpZeroChecksum,
    libc::SOL_UDP,
    libc::UDP_NO_CHECK6_RX,
    bool,
    nix::sys::socket::sockopt::SetBool
);

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Reads a packet that begins with its IPv4 header.
fn ipv4(packet: &[u8]) -> Option<Datagram> {
    let header = packet.first_chunk::<IPV4_HEADER>()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header_length < IPV4_HEADER || header_length > packet.len() {
        return None;
    }
    Some(Datagram {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        ecn: Ecn::of(header[1]),
        payload: header_length..packet.len(),
    })
}

/// The unspecified addresses: any address of each family.
pub(crate) const ANY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_header_is_skipped() {
        // 192.0.2.1 to 10.0.0.5, GRE, CE, with four bytes of options.
        let packet = [
            0x46, 0x03, 0, 28, 0, 0, 0x40, 0, 64, 47, 0, 0, 192, 0, 2, 1, 10, 0, 0, 5, 1, 1, 1, 0,
            0, 0, 8, 0,
        ];
        let datagram = ipv4(&packet).unwrap();
        assert_eq!(datagram.source, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(datagram.ecn, Ecn::Ce);
        assert_eq!(datagram.payload, 24..28);
        assert_eq!(ipv4(&packet[..23]), None);
        assert_eq!(ipv4(&packet[..19]), None);
    }
}
