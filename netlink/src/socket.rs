//! A netlink socket: messages in both directions, and what each is.
//!
//! A datagram holds several messages. Each has a header of 16 bytes, whose sequence number is that of the request which
//! it answers. What follows the header is parsed by `netlink-packet-route`; what that library does not understand is
//! skipped and counted, because a newer kernel may say more than it knows.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as Raw, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::{Error, Refused};

/// The receive buffer of a socket, in bytes. The kernel drops what exceeds it (`ENOBUFS`).
pub(super) const RECEIVE_BUFFER: usize = 16 << 20;
/// Larger than any datagram that the kernel sends: dumps use at most 32 KiB, and one message at most 64 KiB.
const DATAGRAM: usize = 128 << 10;
/// How long an answer may take. The kernel answers while it takes the request.
const PATIENCE: Duration = Duration::from_secs(5);

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_HEADER: usize = 16;
/// The attribute of an error that says in words what is wrong.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP`, which the library does not know.
const NEXT_HOP_OBJECTS: [u16; 2] = [104, 105];
/// `RTM_NEWROUTE` and `RTM_DELROUTE`.
const ROUTES: [u16; 2] = [24, 25];
/// The length of their header (`struct rtmsg`), which begins with family and length of the prefix.
const ROUTE_HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_TABLE: u16 = 15;
/// `RTM_DELROUTE`.
const ROUTE_GONE: u16 = 25;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What a message is.
#[derive(Debug)]
pub(super) enum Content {
    /// A message about links, addresses, routes, rules or neighbours.
    Message(RouteNetlinkMessage),
    /// A nexthop object has changed.
    NextHopObject,
    /// A route that is new, another, or gone. In place of `Message` on a socket that watches.
    Route(RouteTold),
    /// The end of the answer to a request: success, or why the kernel refuses it. So ends a dump, too.
    End(Result<(), Refused>),
}

/// What the kernel tells of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteTold {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its table.
    pub table: u32,
    /// Whether it is gone.
    pub is_gone: bool,
    /// The number of the socket whose request it was ([`Requests::port`](crate::Requests::port)); 0 if there was none.
    pub by: u32,
}

/// A message.
#[derive(Debug)]
pub(super) struct Received {
    /// The sequence number of the request.
    pub(super) sequence: u32,
    /// Whether the tables changed during the dump that this message is part of.
    pub(super) is_interrupted: bool,
    pub(super) content: Content,
}

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Socket {
    raw: Raw,
    /// Its number, by which the kernel says whose request changed something.
    port: u32,
    buffer: Vec<u8>,
    /// Whether it has joined groups.
    watches: bool,
    /// Messages that could not be parsed.
    skipped: u64,
}

impl Socket {
    /// Opens a socket with a receive buffer of so many bytes.
    pub(super) fn open(receive_buffer: usize) -> Result<Socket, Error> {
        let mut raw = Raw::new(NETLINK_ROUTE).map_err(Error::on("open a socket"))?;
        let port = raw.bind_auto().map_err(Error::on("bind a socket"))?.port_number();
        // Without these two, errors have no words, and answers to long requests repeat them.
        raw.set_ext_ack(true).map_err(Error::on("ask for the words of errors"))?;
        raw.set_cap_ack(true).map_err(Error::on("ask for short errors"))?;
        // Beyond the limit for ordinary users if this process may; the ordinary way never fails.
        if setsockopt(&raw, sockopt::RcvBufForce, &receive_buffer).is_err() {
            setsockopt(&raw, sockopt::RcvBuf, &receive_buffer)
                .map_err(|errno| Error::on("enlarge the receive buffer")(errno.into()))?;
        }
        set_socket_timeout(&raw, Timeout::Recv, Some(PATIENCE))
            .map_err(|errno| Error::on("limit the wait for an answer")(errno.into()))?;
        Ok(Socket { raw, port, buffer: vec![0; DATAGRAM], watches: false, skipped: 0 })
    }

    /// Its number.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Has the kernel check requests for dumps strictly, without which it ignores what they ask for.
    pub(super) fn check_strictly(&self) -> Result<(), Error> {
        self.raw.set_netlink_get_strict_chk(true).map_err(Error::on("ask for filtered tables"))
    }

    /// Joins the groups, whose messages the kernel then sends unasked, and never waits when it receives.
    pub(super) fn join(&mut self, groups: &[u32]) -> Result<(), Error> {
        self.watches = true;
        for &group in groups {
            self.raw.add_membership(group).map_err(Error::on("join a group"))?;
        }
        self.raw.set_non_blocking(true).map_err(Error::on("make a socket non-blocking"))
    }

    /// Sends requests in one datagram. The kernel carries them out in this order.
    pub(super) fn send(&self, datagram: &[u8]) -> Result<(), Error> {
        let kernel = SocketAddr::new(0, 0);
        self.raw.send_to(datagram, &kernel, 0).map_err(Error::on("send a request"))?;
        Ok(())
    }

    /// Receives one datagram, and calls `each` with its messages. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Overrun`] if the kernel dropped messages because the receive buffer was full.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Received)) -> Result<bool, Error> {
        let Some(length) = self.fill()? else { return Ok(false) };
        if length > self.buffer.len() {
            self.skipped += 1;
            return Ok(true);
        }
        let mut rest = &self.buffer[..length];
        while rest.len() >= NLMSG_HEADER {
            let Some((message, after)) = split(rest) else {
                self.skipped += 1;
                break;
            };
            match parse(message, self.watches) {
                Some(received) => each(received),
                None => self.skipped += 1,
            }
            rest = after;
        }
        Ok(true)
    }

    /// Receives one datagram and drops it. Returns whether there was one.
    pub(super) fn discard(&mut self) -> Result<bool, Error> {
        Ok(self.fill()?.is_some())
    }

    /// Receives one datagram into the buffer, and returns its length, which may be more than the buffer holds.
    fn fill(&mut self) -> Result<Option<usize>, Error> {
        loop {
            // Tells the length of a longer datagram.
            let truncated = rustix::net::RecvFlags::TRUNC.bits().cast_signed();
            match self.raw.recv(&mut &mut self.buffer[..], truncated) {
                Ok(length) => return Ok(Some(length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_overrun(&error) => return Err(Error::Overrun),
                Err(error) => return Err(Error::on("receive")(error)),
            }
        }
    }

    /// The number of messages that could not be parsed.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

/// Appends a request to a datagram.
pub(super) fn append(
    datagram: &mut Vec<u8>,
    message: RouteNetlinkMessage,
    flags: u16,
    sequence: u32,
) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let start = datagram.len();
    datagram.resize(start + aligned(message.buffer_len()), 0);
    message.serialize(&mut datagram[start..]);
}

/// Requests begin at multiples of four.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn is_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// The first message, and what follows it; `None` if the length in its header is no valid one.
fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(*datagram.first_chunk()?) as usize;
    let message = datagram.get(..length).filter(|message| message.len() >= NLMSG_HEADER)?;
    Some((message, datagram.get(aligned(length)..).unwrap_or_default()))
}

/// What a message is; `None` for what nobody waits for or understands.
fn parse(message: &[u8], watches: bool) -> Option<Received> {
    let header = NetlinkHeader::parse(&NetlinkBuffer::new(&message)).ok()?;
    let payload = &message[NLMSG_HEADER..];
    let content = match header.message_type {
        NLMSG_NOOP => return None,
        NLMSG_ERROR => Content::End(end(payload, header.flags)?),
        NLMSG_DONE => Content::End(done(payload, header.flags)),
        kind if NEXT_HOP_OBJECTS.contains(&kind) => Content::NextHopObject,
        // Routes come by the thousand when a neighbour of a routing daemon changes, and only a little of each matters.
        kind if watches && ROUTES.contains(&kind) => {
            Content::Route(route(payload, kind == ROUTE_GONE, header.port_number)?)
        }
        _ => Content::Message(RouteNetlinkMessage::deserialize(&header, payload).ok()?),
    };
    let is_interrupted = header.flags & NLM_F_DUMP_INTR != 0;
    Some(Received { sequence: header.sequence_number, is_interrupted, content })
}

/// The outcome that an error message tells: a negative error number or 0, the header of the request, and attributes.
fn end(payload: &[u8], flags: u16) -> Option<Result<(), Refused>> {
    let (code, after) = payload.split_first_chunk()?;
    let errno = -i32::from_ne_bytes(*code);
    if errno == 0 {
        return Some(Ok(()));
    }
    let has_words = flags & NLM_F_ACK_TLVS != 0 && flags & NLM_F_CAPPED != 0;
    let words = if has_words { after.get(NLMSG_HEADER..).and_then(words) } else { None };
    Some(Err(Refused { errno, words }))
}

/// The outcome of a dump: a negative error number or 0, which old kernels leave out, and attributes.
fn done(payload: &[u8], flags: u16) -> Result<(), Refused> {
    let Some((code, after)) = payload.split_first_chunk() else { return Ok(()) };
    match i32::from_ne_bytes(*code).checked_neg() {
        Some(errno) if errno > 0 => {
            let words = (flags & NLM_F_ACK_TLVS != 0).then(|| words(after)).flatten();
            Err(Refused { errno, words })
        }
        _ => Ok(()),
    }
}

/// The text among the attributes of an error.
fn words(attributes: &[u8]) -> Option<String> {
    let text = attribute(attributes, NLMSGERR_ATTR_MSG)?;
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned())
}

/// What matters of a route. One without an attribute for its prefix is the default route.
fn route(payload: &[u8], is_gone: bool, by: u32) -> Option<RouteTold> {
    let &[family, length, _, _, table, ..] = payload.first_chunk::<ROUTE_HEADER>()?;
    let attributes = &payload[ROUTE_HEADER..];
    let address = attribute(attributes, RTA_DST);
    let address = match family {
        AF_INET => IpAddr::from(address.map_or(Some([0; 4]), |bytes| bytes.try_into().ok())?),
        AF_INET6 => IpAddr::from(address.map_or(Some([0; 16]), |bytes| bytes.try_into().ok())?),
        _ => return None,
    };
    // The header has no room for tables over 255.
    let table = match attribute(attributes, RTA_TABLE) {
        Some(bytes) => u32::from_ne_bytes(bytes.try_into().ok()?),
        None => table.into(),
    };
    Some(RouteTold { prefix: IpNet::new(address, length).ok()?, table, is_gone, by })
}

/// The value of the first attribute of a kind.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(NLMSG_HEADER + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn an_error_has_its_number_and_its_words() {
        let text = b"Nexthop has invalid gateway\0";
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; NLMSG_HEADER]);
        payload.extend(u16::try_from(4 + text.len()).unwrap().to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(text);
        let bytes = datagram(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, &payload);
        let Some(Received { sequence: 7, content: Content::End(Err(refused)), .. }) =
            parse(&bytes, false)
        else {
            panic!("no error");
        };
        assert_eq!(
            (refused.errno, refused.words.as_deref()),
            (22, Some("Nexthop has invalid gateway"))
        );
    }

    #[test]
    fn a_watched_route_has_its_prefix() {
        let route = |family, length, address: &[u8]| {
            let mut payload = vec![family, length];
            payload.resize(ROUTE_HEADER, 0);
            // Some other attribute, of an odd length.
            payload.extend([5, 0, 9, 0, 7, 0, 0, 0]);
            if !address.is_empty() {
                payload.extend([u8::try_from(4 + address.len()).unwrap(), 0, 1, 0]);
                payload.extend(address);
            }
            match parse(&datagram(24, 0, &payload), true).map(|received| received.content) {
                Some(Content::Route(route)) => Some(route.prefix.to_string()),
                _ => None,
            }
        };
        assert_eq!(route(AF_INET, 16, &[10, 1, 0, 0]).as_deref(), Some("10.1.0.0/16"));
        assert_eq!(route(AF_INET, 0, &[]).as_deref(), Some("0.0.0.0/0"));
        assert_eq!(route(AF_INET6, 0, &[]).as_deref(), Some("::/0"));
        assert_eq!(
            route(AF_INET6, 64, &[32; 16]).as_deref(),
            Some("2020:2020:2020:2020:2020:2020:2020:2020/64")
        );
        assert_eq!(route(AF_INET, 33, &[10, 1, 0, 0]), None);
        assert_eq!(route(AF_INET, 16, &[10, 1, 0]), None);
        assert_eq!(route(28, 16, &[10, 1, 0, 0]), None, "MPLS");
    }

    #[test]
    fn a_watched_route_has_its_table() {
        let route = |header: u8, attribute: Option<u32>| {
            let mut payload = vec![AF_INET, 0, 0, 0, header];
            payload.resize(ROUTE_HEADER, 0);
            if let Some(table) = attribute {
                payload.extend([8, 0, 15, 0]);
                payload.extend(table.to_ne_bytes());
            }
            super::route(&payload, true, 7).map(|route| (route.table, route.is_gone, route.by))
        };
        assert_eq!(route(254, None), Some((254, true, 7)));
        assert_eq!(route(252, Some(1000)), Some((1000, true, 7)));
    }

    #[test]
    fn a_dump_ends_with_its_outcome() {
        let text = b"FIB table does not exist\0";
        let mut payload = (-2_i32).to_ne_bytes().to_vec();
        assert_eq!(done(&payload, 0), Err(Refused { errno: 2, words: None }));
        payload.extend(u16::try_from(4 + text.len()).unwrap().to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(text);
        let words = Some("FIB table does not exist".to_owned());
        assert_eq!(done(&payload, NLM_F_ACK_TLVS), Err(Refused { errno: 2, words }));
        assert_eq!((done(&[0; 4], 0), done(&[], 0)), (Ok(()), Ok(())));
        assert_eq!(done(&i32::MIN.to_ne_bytes(), 0), Ok(()), "no error number");
    }

    #[test]
    fn lengths_that_lie_end_a_datagram() {
        let good = datagram(NLMSG_DONE, 0, &[0; 4]);
        let two = [&good[..], &good[..]].concat();
        let (first, rest) = split(&two).unwrap();
        assert_eq!((first, rest), (&good[..], &good[..]));
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(split(&bad).is_none(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            kind in proptest::sample::select(&[2_u16, 3, 16, 20, 24, 28, 32, 104][..]),
            payload in proptest::collection::vec(any::<u8>(), 0..96),
            is_watching: bool,
        ) {
            parse(&datagram(kind, 0x300, &payload), is_watching);
        }
    }
}
