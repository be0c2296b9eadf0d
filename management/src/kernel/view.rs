//! What listings show of the kernel. Nothing of it is in the tables.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use guideway_config::Mac;
use ipnet::IpNet;

use crate::routing::{Link, LocalAddress, Route};

/// What listings show of the kernel, at one time.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How the watching of the kernel goes.
    pub health: Health,
    /// The ports' interfaces, each followed by the VLAN devices on it.
    pub interfaces: Vec<Interface>,
    /// The neighbours in use, ordered by link and address.
    pub neighbors: Vec<Neighbor>,
    /// What the kernel says, by destination.
    pub routes: BTreeMap<IpAddr, RouteView>,
    /// The addresses of this node.
    pub local: Arc<[LocalAddress]>,
}

/// How the watching of the kernel goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the kernel's tables were read and are watched.
    pub is_running: bool,
    /// How often the kernel dropped messages, and everything was read again.
    pub overruns: u64,
    /// Messages that could not be understood.
    pub skipped: u64,
    /// Requests that failed, by the socket or by the kernel's will.
    pub errors: u64,
    /// The last of these.
    pub last_error: Option<String>,
}

/// A port's interface, or a VLAN device on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub link: Link,
    /// Its name.
    pub name: String,
    /// Its index; `None` if there is no such device.
    pub index: Option<u32>,
    /// Whether its administrator has set it up.
    pub is_up: bool,
    /// Whether it has carrier.
    pub has_carrier: bool,
    /// Its addresses, with the prefixes of their networks.
    pub addresses: Vec<IpNet>,
}

/// A neighbour in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Where it is.
    pub link: Link,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, if the kernel has one that can be used.
    pub mac: Option<Mac>,
    /// The state of the kernel's entry.
    pub state: NeighborState,
    /// Whether the kernel keeps it resolved by itself.
    pub is_managed: bool,
    /// When its MAC address became this one, or unknown.
    pub since: SystemTime,
}

/// The state of an entry of the kernel's neighbour tables (`NUD_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeighborState {
    /// There is no entry, or one without state.
    Missing,
    /// It is being resolved for the first time.
    Incomplete,
    /// It answered a short time ago.
    Reachable,
    /// It answered a long time ago.
    Stale,
    /// As `Stale`, and it will be probed soon.
    Delay,
    /// As `Stale`, and it is being probed.
    Probe,
    /// It does not answer.
    Failed,
    /// It needs no resolution.
    NoArp,
    /// An administrator entered it.
    Permanent,
}

impl NeighborState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            NeighborState::Missing => "missing",
            NeighborState::Incomplete => "incomplete",
            NeighborState::Reachable => "reachable",
            NeighborState::Stale => "stale",
            NeighborState::Delay => "delay",
            NeighborState::Probe => "probe",
            NeighborState::Failed => "failed",
            NeighborState::NoArp => "noarp",
            NeighborState::Permanent => "permanent",
        }
    }

    /// Whether the kernel would send to the MAC address of such an entry (`NUD_VALID`).
    pub(super) fn is_valid(self) -> bool {
        match self {
            NeighborState::Missing | NeighborState::Incomplete | NeighborState::Failed => false,
            NeighborState::Reachable
            | NeighborState::Stale
            | NeighborState::Delay
            | NeighborState::Probe
            | NeighborState::NoArp
            | NeighborState::Permanent => true,
        }
    }
}

/// What the kernel says about a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    /// Its answer.
    pub route: Arc<Route>,
    /// Since when it has said so.
    pub since: SystemTime,
}

/// A MAC address as listings and events have it.
pub(crate) fn format_mac([a, b, c, d, e, f]: Mac) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
