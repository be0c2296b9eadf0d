//! Pins: to which backend a packet of the node itself goes, whatever flow it is of.
//!
//! Probes of backends have to take the way of traffic: to the virtual address, through the backend's own encapsulation.
//! So no backend is chosen for a probe's packet: its source address and port, or the identifier of an echo request, name
//! one. `pinned.rs` has what becomes of it.
//!
//! These packets were not received by a port. So they have no [`Verdict`](crate::stats::Verdict), which would upset the sum
//! of those, but an [`Outcome`].

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::address::{Address, address};
use super::id::BackendId;
use crate::named::named;

/// The backends of packets that the node sends, by their source address and port. A clone shares the map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pins(Arc<FxHashMap<(Address, u16), BackendId>>);

impl FromIterator<(SocketAddr, BackendId)> for Pins {
    fn from_iter<I: IntoIterator<Item = (SocketAddr, BackendId)>>(pins: I) -> Pins {
        let key = |source: SocketAddr| (address(source.ip()), source.port());
        let pins = pins.into_iter().map(|(source, backend)| (key(source), backend));
        Pins(Arc::new(pins.collect()))
    }
}

impl Pins {
    /// The backend of packets from this address and port.
    pub fn backend(&self, source: SocketAddr) -> Option<BackendId> {
        self.of((address(source.ip()), source.port()))
    }

    /// The same, of a source that a packet path has read.
    #[inline]
    pub(super) fn of(&self, source: (Address, u16)) -> Option<BackendId> {
        self.0.get(&source).copied()
    }

    /// How many pins there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pin.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

named! {
    /// What became of a packet that the node sent to be encapsulated.
    pub enum Outcome {
        /// The packet was encapsulated for its pin's backend and sent.
        Sent = "sent",
        /// No pin has the packet's source, or the backend of its pin is not configured.
        Unpinned = "no_pin",
        /// The way to the backend is not known: there is no route, or no MAC address of the next hop.
        Unresolved = "unresolved",
        /// The packet exceeds the MTU with the headers of its tunnel.
        TooLong = "exceeds_mtu",
        /// The packet is no whole TCP or UDP packet and no echo request.
        Invalid = "invalid",
        /// There was no room for the packet: no buffer, a ring was full, or the device did not take it.
        NoRoom = "no_room",
    }
}
