//! The kernel's messages about its interfaces: the link messages of rtnetlink(7).
//!
//! A [`Socket`] receives messages about every interface in this process's network namespace. Three
//! facts are read: the interface's index, its flags and its name. A library would parse dozens of
//! other attributes too, and refuse a message with an unknown one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use guideway_api::InterfaceState;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recvfrom, sendto,
    socket_with,
};

/// The multicast group of link messages.
const RTMGRP_LINK: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const IFLA_IFNAME: u16 = 3;
/// Bytes of `struct nlmsghdr`, and of `struct ifinfomsg`.
const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
/// Bytes of `struct rtattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// The kernel's largest datagram of link messages.
const DATAGRAM: usize = 32 * 1024;

/// Flags of an interface, see netdevice(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(pub(super) u32);

impl Flags {
    const UP: u32 = 1;
    const RUNNING: u32 = 1 << 6;
    const LOWER_UP: u32 = 1 << 16;

    /// Whether frames can pass, and if not, why.
    pub(super) fn state(self) -> InterfaceState {
        if self.0 & Self::UP == 0 {
            InterfaceState::SetDown
        } else if self.0 & Self::LOWER_UP == 0 {
            InterfaceState::NoCarrier
        } else if self.0 & Self::RUNNING == 0 {
            InterfaceState::NotOperational
        } else {
            InterfaceState::Up
        }
    }
}

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The interface exists.
    Link { index: u32, flags: Flags, name: String },
    /// The interface has left the namespace.
    Removed { index: u32 },
    /// The interface of a query, by the query's sequence number, does not exist.
    Absent { sequence: u32 },
}

/// Receives messages about the interfaces.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

/// The result of reading the socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Messages(Vec<Message>),
    /// Messages were lost because there were too many: query all interfaces again.
    Lost,
    Nothing,
}

impl Socket {
    pub(super) fn open() -> io::Result<Socket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_LINK))?;
        Ok(Socket { socket, buffer: vec![0; DATAGRAM] })
    }

    /// Queries the interface with this index. The reply is a message like any other.
    pub(super) fn query(&self, index: u32, sequence: u32) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, &request(index, sequence), SendFlags::empty(), &kernel)?;
        Ok(())
    }

    /// The messages of one datagram, without waiting for it.
    pub(super) fn receive(&mut self) -> io::Result<Received> {
        match recvfrom(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((_, length, sender)) => {
                let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
                // A process may write to the socket too.
                let from_kernel = sender.is_some_and(|sender| sender.pid() == 0);
                let bytes = self.buffer.get(..length).unwrap_or_default();
                Ok(Received::Messages(if from_kernel { messages(bytes) } else { Vec::new() }))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Nothing),
            Err(Errno::NOBUFS) => Ok(Received::Lost),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// RTM_GETLINK for one interface.
fn request(index: u32, sequence: u32) -> [u8; HEADER + LINK_HEADER] {
    let mut bytes = [0; HEADER + LINK_HEADER];
    bytes[0..4].copy_from_slice(&32_u32.to_ne_bytes());
    bytes[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    bytes
}

/// The messages of a datagram. Malformed messages, and messages about other things, are skipped.
fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut list = Vec::new();
    while let Some(length) = u32_at(bytes, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(body) = bytes.get(HEADER..length) else { break };
        let (kind, sequence) = (u16_at(bytes, 4), u32_at(bytes, 8));
        list.extend(kind.zip(sequence).and_then(|(kind, sequence)| message(kind, sequence, body)));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    list
}

fn message(kind: u16, sequence: u32, body: &[u8]) -> Option<Message> {
    if kind == NLMSG_ERROR {
        let no_device = (-Errno::NODEV.raw_os_error()).to_ne_bytes();
        return body.starts_with(&no_device).then_some(Message::Absent { sequence });
    }
    // Other families report an interface's port of a bridge.
    if body.first() != Some(&0) {
        return None;
    }
    let index = u32_at(body, 4)?;
    match kind {
        RTM_NEWLINK => {
            let flags = Flags(u32_at(body, 8)?);
            Some(Message::Link { index, flags, name: name(body.get(LINK_HEADER..)?)? })
        }
        RTM_DELLINK => Some(Message::Removed { index }),
        _ => None,
    }
}

/// The interface's name among the attributes of a link message.
fn name(mut attributes: &[u8]) -> Option<String> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE_HEADER..length)?;
        if u16_at(attributes, 2)? == IFLA_IFNAME {
            let text = value.split(|&byte| byte == 0).next()?;
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as the kernel builds it: an attribute that is not read, then the name.
    fn link(kind: u16, family: u8, index: u32, flags: u32, name: &str) -> Vec<u8> {
        let mut body = vec![family, 0, 1, 0];
        for word in [index, flags, u32::MAX] {
            body.extend(word.to_ne_bytes());
        }
        for (kind, value) in [(13_u16, &b"\xe8\x03\0\0\x07"[..]), (3, name.as_bytes())] {
            let length = u16::try_from(ATTRIBUTE_HEADER + value.len() + 1).unwrap();
            body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].concat());
            body.extend(value);
            body.resize((body.len() + 1).next_multiple_of(4), 0);
        }
        framed(kind, 7, &body)
    }

    fn framed(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn messages_of_a_datagram_are_read_in_order() {
        let bytes = [
            link(RTM_NEWLINK, 0, 5, 0x1_0043, "veth0"),
            link(RTM_NEWLINK, 7, 5, 0, "bridge's"),
            link(RTM_DELLINK, 7, 5, 0, "bridge's"),
            framed(NLMSG_ERROR, 9, &(-19_i32).to_ne_bytes()),
            framed(NLMSG_ERROR, 9, &(-1_i32).to_ne_bytes()),
            link(RTM_DELLINK, 0, 5, 0, "veth0"),
        ]
        .concat();
        let link = Message::Link { index: 5, flags: Flags(0x1_0043), name: "veth0".into() };
        let expected = [link, Message::Absent { sequence: 9 }, Message::Removed { index: 5 }];
        assert_eq!(messages(&bytes), expected);
    }

    #[test]
    fn flags_show_why_no_frames_pass() {
        assert_eq!(Flags(0x1_0043).state(), InterfaceState::Up);
        assert_eq!(Flags(0x1_0042).state(), InterfaceState::SetDown);
        assert_eq!(Flags(0x0003).state(), InterfaceState::NoCarrier);
        assert_eq!(Flags(0x1_0003).state(), InterfaceState::NotOperational);
    }

    #[test]
    fn the_kernel_replies_to_queries() {
        let mut socket = Socket::open().unwrap();
        socket.query(1, 1).unwrap();
        socket.query(0x7fff_fff0, 2).unwrap();
        let mut received = Vec::new();
        while let Received::Messages(more) = socket.receive().unwrap() {
            received.extend(more);
        }
        let is_lo = |message: &Message| matches!(message, Message::Link { index: 1, name, .. } if name == "lo");
        assert!(received.iter().any(is_lo), "{received:?}");
        assert!(received.contains(&Message::Absent { sequence: 2 }), "{received:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            messages(&bytes);
        }

        #[test]
        fn a_truncated_message_is_ignored(at in 0_usize..60) {
            let whole = link(RTM_NEWLINK, 0, 5, 1, "veth0");
            let truncated = &whole[..at.min(whole.len() - 1)];
            prop_assert_eq!(messages(truncated), Vec::new());
        }
    }
}
