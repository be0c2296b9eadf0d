//! Echo requests, RFC 792 and RFC 4443 section 4.
//!
//! The kernel opens a socket for echoes to the groups of `net.ipv4.ping_group_range`, by default to nobody. A process
//! with CAP_NET_RAW needs no such permission and gets a raw socket, which hears all ICMP of the peer.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use guideway_api::CheckCode;
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::outcome::Steps;
use super::socket::{associate, bind, ip_header, own, receive, unreachable, whole_or_nothing};
use super::trace::{Stage, Trace, Verdict};

const ECHO_HEADER: u16 = 8;
/// What tells the answer to this request from those to others.
const NONCE_BYTES: usize = 16;
/// As `ping` sends.
const PAYLOAD_BYTES: u16 = 56;
/// A request is the first and last of its kind.
const SEQUENCE: [u8; 2] = [0, 1];

/// Asks for an echo, in an IP packet of the given size that is not cut on its way.
pub(super) async fn ask<S: Steps>(
    to: IpAddr,
    source: Option<SocketAddr>,
    size: Option<u16>,
    trace: &mut Trace<'_, S>,
) -> Result<Verdict, Verdict> {
    let mut random = [0; NONCE_BYTES + 2];
    getrandom(&mut random, GetRandomFlags::empty())
        .map_err(|error| own("no random numbers", &error.into()))?;
    let (nonce, identifier) = random.split_at(NONCE_BYTES);
    let identifier = match source {
        Some(source) => source.port().to_be_bytes(),
        None => [identifier[0], identifier[1]],
    };
    let (socket, raw) = echo_socket(to, source)?;
    whole_or_nothing(&socket, to)?;
    associate(&socket, SocketAddr::new(to, 0))?;
    trace.enter(Stage::Send);
    let payload = match size {
        Some(size) => size.saturating_sub(ip_header(to) + ECHO_HEADER),
        None => PAYLOAD_BYTES,
    };
    let payload = usize::from(payload).max(NONCE_BYTES);
    let request = message(to, identifier, nonce, payload);
    socket.send(&request).map_err(|error| own("send", &error))?;
    trace.done(|| {
        let way = if raw { "a raw socket" } else { "a socket for echoes" };
        format!("{payload} bytes to {to} by {way}")
    });
    trace.enter(Stage::Echo);
    let expected = Reply { v4: to.is_ipv4(), raw, identifier, request: &request };
    // To the runtime it is a socket like those of UDP: it has a peer, and it sends and receives.
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| own("no socket", &error))?;
    let mut packet = vec![0; payload + 128];
    loop {
        let bytes = receive(&socket, &mut packet).await.map_err(|error| late(&error))?;
        if expected.is(&packet[..bytes]) {
            trace.done(|| "the echo came".to_owned());
            return Ok(Verdict::success(CheckCode::L4Ok));
        }
    }
}

/// An ICMP error about the request.
fn late(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::ConnectionRefused => Verdict::failure(
            CheckCode::L4Con,
            "the host says that the protocol or port is unreachable",
        ),
        _ => unreachable(error),
    }
}

/// A socket for echoes, or a raw one; and whether it is raw.
fn echo_socket(to: IpAddr, source: Option<SocketAddr>) -> Result<(Socket, bool), Verdict> {
    let protocol = if to.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let domain = socket2::Domain::for_address(SocketAddr::new(to, 0));
    let kind = Type::DGRAM.nonblocking().cloexec();
    match Socket::new(domain, kind, Some(protocol)) {
        Ok(socket) => {
            if source.is_some() {
                socket.set_reuse_address(true).map_err(|error| own("no socket", &error))?;
            }
            bind(&socket, source)?;
            Ok((socket, false))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let kind = Type::RAW.nonblocking().cloexec();
            let socket = Socket::new(domain, kind, Some(protocol)).map_err(forbidden)?;
            // The port of a raw socket's address is the protocol.
            bind(&socket, source.map(|source| SocketAddr::new(source.ip(), 0)))?;
            Ok((socket, true))
        }
        Err(error) => Err(own("no socket", &error)),
    }
}

fn forbidden(error: io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::PermissionDenied => Verdict::failure(
            CheckCode::SockErr,
            "no socket: an echo request takes CAP_NET_RAW, or a group in net.ipv4.ping_group_range",
        ),
        _ => own("no socket", &error),
    }
}

/// An echo request. The kernel sets the checksum of version 6, and the identifier where the socket is for echoes.
fn message(to: IpAddr, identifier: [u8; 2], nonce: &[u8], payload: usize) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0, identifier[0], identifier[1], SEQUENCE[0], SEQUENCE[1]];
    message.extend(nonce.iter().copied().cycle().take(payload));
    if to.is_ipv4() {
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in message.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// What the answer to a request looks like.
struct Reply<'a> {
    v4: bool,
    raw: bool,
    identifier: [u8; 2],
    request: &'a [u8],
}

impl Reply<'_> {
    fn is(&self, packet: &[u8]) -> bool {
        // A raw socket of version 4 shows the IP header too.
        let header = match packet.first() {
            Some(first) if self.v4 && self.raw => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        let Some(message) = packet.get(header..) else { return false };
        let Some((head, payload)) = message.split_first_chunk::<{ ECHO_HEADER as usize }>() else {
            return false;
        };
        let kind = if self.v4 { 0 } else { 129 };
        head[0] == kind
            && head[1] == 0
            && (!self.raw || head[4..6] == self.identifier)
            && head[6..8] == SEQUENCE
            && payload == &self.request[usize::from(ECHO_HEADER)..]
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
    }

    #[test]
    fn a_request_sums_up_to_nothing() {
        let message = message(IpAddr::V4(Ipv4Addr::LOCALHOST), [1, 2], b"0123456789abcdef", 33);
        assert_eq!(checksum(&message), 0);
        assert_eq!(message.len(), 8 + 33);
    }

    proptest! {
        /// Whatever a peer sends is an answer only if it is the request's echo.
        #[test]
        fn only_the_echo_is_an_answer(
            packet in vec(any::<u8>(), 0..64),
            v4 in any::<bool>(),
            raw in any::<bool>(),
        ) {
            let to: IpAddr = if v4 { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
            let request = message(to, [7, 7], b"0123456789abcdef", 16);
            let expected = Reply { v4, raw, identifier: [7, 7], request: &request };
            prop_assert!(!expected.is(&packet));
            // Its own request, as a raw socket hears it on the loopback.
            prop_assert!(!expected.is(&request));
            let mut reply = request.clone();
            reply[0] = if v4 { 0 } else { 129 };
            let mut shown = if v4 && raw { vec![0x45; 20] } else { Vec::new() };
            shown.extend(&reply);
            prop_assert!(expected.is(&shown));
            for at in [0, 1, 4, 5, 6, 7, 8, 23] {
                let mut other = shown.clone();
                let place = other.len() - reply.len() + at;
                other[place] ^= 1;
                let counts = raw || !(4..6).contains(&at);
                prop_assert_eq!(expected.is(&other), !counts);
            }
        }
    }
}
