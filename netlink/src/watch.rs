//! What the kernel tells unasked.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;

use super::Error;
use super::socket::{Content, RECEIVE_BUFFER, RouteTold, Socket};

/// Links, neighbours, addresses, routes and rules of both families, and nexthop objects (`RTNLGRP_*`).
const GROUPS: [u32; 9] = [1, 3, 5, 7, 8, 9, 11, 19, 32];
/// Links, addresses, routes and rules of both families.
const ROUTING: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];

/// What the kernel tells.
#[derive(Debug)]
pub enum Told {
    /// Something other than a route is new, is another, or is gone.
    Message(RouteNetlinkMessage),
    /// A nexthop object is new, is another, or is gone.
    NextHopObject,
    /// A route is new, is another, or is gone.
    Route(RouteTold),
}

/// A socket on which the kernel tells of every change.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
}

impl Watch {
    /// Opens a socket in the network namespace of the calling thread. From now on, nothing is missed.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn open() -> Result<Watch, Error> {
        Watch::with_buffer(RECEIVE_BUFFER)
    }

    /// Like [`Watch::open`], with a receive buffer of so many bytes.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn with_buffer(bytes: usize) -> Result<Watch, Error> {
        Watch::join(bytes, &GROUPS)
    }

    /// Like [`Watch::open`], for links, addresses, routes and rules alone.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn routing() -> Result<Watch, Error> {
        Watch::routing_with_buffer(RECEIVE_BUFFER)
    }

    /// Like [`Watch::routing`], with a receive buffer of so many bytes.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn routing_with_buffer(bytes: usize) -> Result<Watch, Error> {
        Watch::join(bytes, &ROUTING)
    }

    fn join(bytes: usize, groups: &[u32]) -> Result<Watch, Error> {
        let mut socket = Socket::open(bytes)?;
        socket.join(groups)?;
        Ok(Watch { socket })
    }

    /// Calls `each` with what the kernel has told, up to so many datagrams. Never waits. Returns whether there may be
    /// more.
    ///
    /// # Errors
    /// [`Error::Overrun`] if the receive buffer was full: something was missed, and everything must be read again.
    pub fn receive(&mut self, datagrams: usize, mut each: impl FnMut(Told)) -> Result<bool, Error> {
        for _ in 0..datagrams {
            let is_received = self.socket.receive(|received| match received.content {
                Content::Message(message) => each(Told::Message(message)),
                Content::NextHopObject => each(Told::NextHopObject),
                Content::Route(route) => each(Told::Route(route)),
                Content::End(_) => (),
            })?;
            if !is_received {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops what the kernel has told, up to so many datagrams, since everything will be read again.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn discard(&mut self, datagrams: usize) -> Result<(), Error> {
        for _ in 0..datagrams {
            match self.socket.discard() {
                Ok(true) | Err(Error::Overrun) => (),
                Ok(false) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The number of messages that could not be parsed.
    pub fn skipped(&self) -> u64 {
        self.socket.skipped()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
