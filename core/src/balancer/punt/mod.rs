//! Punts: packets that the node gives to its kernel, because they are for the node itself or for a protocol of the
//! link.
//!
//! Only packets that no service and no tunnel takes are asked about, so the fast path pays nothing. A packet is of one
//! [`Class`], and each class has a limit of its own per worker: a flood of one class leaves the others alone.

mod class;

pub use class::Class;

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::id::PortIndex;

/// What the kernel gets, as the configuration and the kernel's own tables say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Punts {
    /// Whether each port has an interface, by [`PortIndex`]. A port without one punts nothing.
    pub interfaces: Vec<bool>,
    /// The node's own addresses. Virtual addresses are none, even if the kernel has them.
    pub addresses: FxHashSet<IpAddr>,
    /// Prefixes whose addresses are all the node's own: prefixes of tunnel sources.
    pub prefixes: Vec<IpNet>,
    /// The networks of the node's interfaces.
    pub on_link: Vec<IpNet>,
    /// `punt.routing_peers`.
    pub routing_peers: Vec<IpNet>,
    /// The limit of each class, by [`Class::index`].
    pub limits: [Limit; Class::ALL.len()],
}

/// How many packets of a class one worker gives to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Packets a second.
    pub rate: u32,
    /// Packets at once after a rest.
    pub burst: u32,
}

impl Punts {
    /// Whether a port has an interface.
    pub fn has_interface(&self, port: PortIndex) -> bool {
        self.interfaces.get(usize::from(port.0)).copied().unwrap_or(false)
    }
}
