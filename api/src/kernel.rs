//! Bodies of responses: the kernel's side of the ports, its interfaces, neighbours, routes and
//! punts.
//!
//! An interface is the kernel's device of a port. A punt gives a packet to the kernel. Counters
//! start at 0 with the daemon and never fall. For adding a field see
//! [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::listing::NextHop;
#[cfg(doc)]
use crate::request::Request;

/// The interface of one port, in the response to [`Request::InterfaceList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInterface {
    /// The port's name, `port.name` in the configuration.
    pub port: String,
    /// The interface's name now; none without an interface.
    pub interface: Option<String>,
    /// The name by which Guideway made the interface, if an operator renamed it.
    pub renamed_from: Option<String>,
    /// The kernel's index of the interface.
    pub index: Option<u32>,
    /// Whether the kernel uses the interface.
    pub state: PortInterfaceState,
    /// The MAC address that Guideway gave it.
    pub mac: Option<String>,
    /// The MTU that Guideway gave it.
    pub mtu: Option<u32>,
    /// The addresses of the interface, each with its prefix length.
    pub addresses: Vec<String>,
    /// The VLAN devices on the interface.
    pub vlans: Vec<VlanDevice>,
    /// Frames that Guideway gave to the kernel.
    pub to_kernel: ToKernel,
    /// Frames that the kernel gave to Guideway.
    pub from_kernel: FromKernel,
}

/// The state of a port's interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortInterfaceState {
    /// The port has no interface: `port.interface` is `none`.
    #[default]
    None,
    /// The kernel sends and receives by it.
    Up,
    /// It has no carrier, because the port has no link.
    NoCarrier,
    /// It is set down.
    SetDown,
    /// It was removed.
    Missing,
}

impl PortInterfaceState {
    /// Every state.
    pub const ALL: [PortInterfaceState; 5] = [
        PortInterfaceState::None,
        PortInterfaceState::Up,
        PortInterfaceState::NoCarrier,
        PortInterfaceState::SetDown,
        PortInterfaceState::Missing,
    ];

    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            PortInterfaceState::None => "none",
            PortInterfaceState::Up => "up",
            PortInterfaceState::NoCarrier => "no_carrier",
            PortInterfaceState::SetDown => "set_down",
            PortInterfaceState::Missing => "missing",
        }
    }
}

/// A VLAN device on a port's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VlanDevice {
    /// The VLAN's number.
    pub vlan: u16,
    /// The device's name.
    pub interface: String,
    /// Whether the device is up.
    pub up: bool,
    /// The addresses of the device, each with its prefix length.
    pub addresses: Vec<String>,
}

/// Frames from Guideway to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToKernel {
    /// Frames that the kernel took.
    pub packets: u64,
    /// Bytes of those frames, with the Ethernet header.
    pub bytes: u64,
    /// Frames that the kernel refused, for example because the interface is set down.
    pub refused: u64,
    /// Frames that were dropped because a worker's queue to the kernel was full.
    pub queue_full: u64,
}

/// Frames from the kernel to the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromKernel {
    /// Frames read from the interface.
    pub packets: u64,
    /// Bytes of those frames, with the Ethernet header.
    pub bytes: u64,
    /// Frames that did not reach the port, because a queue was full or no buffer was free.
    pub dropped: u64,
}

/// One neighbour, in the response to [`Request::NeighborList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbor {
    /// The neighbour's port.
    pub port: String,
    /// The VLAN of the neighbour's device; none without a VLAN device.
    pub vlan: Option<u16>,
    /// The kernel's device; none if the port has no interface.
    pub interface: Option<String>,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its MAC address, if it is known.
    pub mac: Option<String>,
    /// How well it is known.
    pub state: NeighborState,
    /// Guideway entered it in the kernel's table, so that the kernel keeps it resolved.
    pub managed: bool,
    /// Seconds since its MAC address or state changed; none if that is not known.
    pub seconds: Option<u64>,
    /// Number of backends whose packets go to it.
    pub backends: usize,
    /// Number of cluster members whose packets go to it.
    pub members: usize,
}

/// The state of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighborState {
    /// It is a `[[neighbor]]` of the configuration.
    Static,
    /// It was confirmed a short time ago.
    Reachable,
    /// It was confirmed, but not lately.
    Stale,
    /// The kernel waits before it asks the neighbour.
    Delay,
    /// The kernel asks the neighbour.
    Probe,
    /// The neighbour did not reply.
    Failed,
    /// The kernel asks for the MAC address for the first time.
    Incomplete,
    /// An operator entered it in the kernel's table.
    Permanent,
    /// The device of the neighbour needs no MAC addresses.
    NoArp,
    /// The kernel has no entry.
    None,
}

impl NeighborState {
    /// Every state.
    pub const ALL: [NeighborState; 10] = [
        NeighborState::Static,
        NeighborState::Reachable,
        NeighborState::Stale,
        NeighborState::Delay,
        NeighborState::Probe,
        NeighborState::Failed,
        NeighborState::Incomplete,
        NeighborState::Permanent,
        NeighborState::NoArp,
        NeighborState::None,
    ];

    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            NeighborState::Static => "static",
            NeighborState::Reachable => "reachable",
            NeighborState::Stale => "stale",
            NeighborState::Delay => "delay",
            NeighborState::Probe => "probe",
            NeighborState::Failed => "failed",
            NeighborState::Incomplete => "incomplete",
            NeighborState::Permanent => "permanent",
            NeighborState::NoArp => "no_arp",
            NeighborState::None => "none",
        }
    }
}

/// The response to [`Request::RouteShow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The backend's pool; none for a cluster member.
    pub pool: Option<String>,
    /// The backend's name; none for a cluster member.
    pub backend: Option<String>,
    /// The address of the backend or member.
    pub destination: IpAddr,
    /// How the route was learnt; none without a route.
    pub learnt: Option<Learnt>,
    /// The gateway; none if the destination is on the link, and without a route.
    pub gateway: Option<IpAddr>,
    /// Where packets go next, or the reason why they go nowhere.
    pub next_hop: NextHop,
    /// The kernel's device of the route; none if the port has no interface.
    pub interface: Option<String>,
    /// The state of the next hop's neighbour; none without a route.
    pub neighbor: Option<NeighborState>,
    /// Seconds since the route or its neighbour's MAC address changed; none if that is not known.
    pub seconds: Option<u64>,
}

/// How a route was learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Learnt {
    /// The destination lies in a network of `port.addresses`.
    StaticOnLink,
    /// By `port.gateways`.
    StaticGateway,
    /// The destination is a `[[neighbor]]` in no port's network.
    StaticNeighbor,
    /// By the kernel's tables.
    Kernel {
        /// The routing table.
        table: u32,
        /// The route's destination with prefix length.
        prefix: String,
        /// The number of the protocol that set the route, for example 12 for BIRD.
        protocol: u8,
    },
}

/// One class of punts, in the response to [`Request::PuntList`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Punt {
    /// The class's name, for example `neighbor`. Classes are listed in the order in which they are
    /// served.
    pub class: String,
    /// Packets a second that each worker punts at the most.
    pub rate: u32,
    /// Packets that each worker punts at once after a rest.
    pub burst: u32,
    /// Packets given to the kernel, all workers.
    pub punted: u64,
    /// Packets dropped because of `rate` and `burst`, all workers.
    pub limited: u64,
}
