//! What the kernel says about a destination, and what follows from it.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_config::Mac;
use ipnet::IpNet;
use thiserror::Error;

/// Where a neighbour is: on the link of a port, or of a VLAN device on the port's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The port, an index into the ports of the configuration.
    pub port: usize,
    /// The VLAN of the device.
    pub vlan: Option<u16>,
}

impl Link {
    /// The link of the port itself.
    pub fn of_port(port: usize) -> Link {
        Link { port, vlan: None }
    }
}

/// The next hop of packets to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The port that packets leave by, an index into the ports of the configuration.
    pub port: usize,
    /// The VLAN that packets leave in, if they leave in one of their own.
    pub vlan: Option<u16>,
    /// The destination itself if it is on the port's link, else the gateway.
    pub address: IpAddr,
    /// The MAC address of `address`, if it is known.
    pub mac: Option<Mac>,
}

impl NextHop {
    /// Where the next hop is.
    pub fn link(&self) -> Link {
        Link { port: self.port, vlan: self.vlan }
    }
}

/// Why no packet can be sent to an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// There is no route.
    #[error("no route")]
    NoRoute,
    /// The route leads over a device that is no port.
    #[error("the route leads over {interface}, which is no port")]
    NotAPort {
        /// The device.
        interface: Arc<str>,
    },
    /// The port has no link.
    #[error("the port of the route has no link")]
    LinkDown {
        /// The port, an index into the ports of the configuration.
        port: usize,
    },
    /// A route refuses packets.
    #[error("{0}")]
    Refused(Refusal),
    /// The address is one of this node.
    #[error("the address is this node's own")]
    Own,
}

/// What a route does that refuses packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Refusal {
    /// Drops them.
    #[error("a blackhole route")]
    Blackhole,
    /// Drops them, and says that the host is unreachable.
    #[error("an unreachable route")]
    Unreachable,
    /// Drops them, and says that it is prohibited.
    #[error("a prohibit route")]
    Prohibit,
}

/// What the kernel says about a destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The length of the prefix that decides; 0 if the kernel does not say it, as with refusals.
    pub prefix: u8,
    /// The number of the routing table; 0 if the kernel does not say it.
    pub table: u32,
    /// Who entered the route (`RTPROT_*`).
    pub protocol: u8,
    /// Where it leads.
    pub kind: Kind,
}

#[cfg(test)]
impl Route {
    /// An answer without words about the route.
    pub(crate) fn without_prefix(kind: Kind) -> Route {
        Route { prefix: 0, table: 0, protocol: 0, kind }
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By one of these hops. The first that lives is taken.
    Via(Vec<Hop>),
    /// To this node itself.
    Own,
    /// Nowhere, by the will of an administrator.
    Refused(Refusal),
    /// The kernel has no route.
    None,
}

/// One of the hops of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The device.
    pub interface: Arc<str>,
    /// What the device is; `None` if it is no port's.
    pub link: Option<Link>,
    /// The gateway; `None` if the destination itself is on the link. Its family may be another.
    pub gateway: Option<IpAddr>,
    /// Whether the kernel would use it.
    pub is_alive: bool,
}

/// An address of this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The address, with the prefix of its network.
    pub network: IpNet,
    /// The device that has it.
    pub interface: Arc<str>,
    /// What the device is; `None` if it is no port's.
    pub link: Option<Link>,
}
