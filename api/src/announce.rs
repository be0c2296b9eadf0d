//! Virtual addresses that the controller announces, and the BGP sessions that announce them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::check::CheckTotals;

/// The daemons that speak this protocol, each at a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Daemon {
    /// `guideway`, which forwards packets.
    Forwarder,
    /// `guideway-controller`, which announces virtual addresses.
    Controller,
}

impl Daemon {
    /// The value of [`Greeting::server`](crate::Greeting::server).
    pub fn name(self) -> &'static str {
        match self {
            Daemon::Forwarder => "guideway",
            Daemon::Controller => "guideway-controller",
        }
    }

    /// The socket at which it listens by default.
    pub fn socket(self) -> &'static str {
        match self {
            Daemon::Forwarder => "/run/guideway/guideway.sock",
            Daemon::Controller => "/run/guideway-controller/controller.sock",
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an operator orders for virtual addresses. Each order may be given again: then it changes
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VipOrder {
    /// Announce it. An address of services is announced as those serve; another is registered, and
    /// announced as long as the forwarder is well.
    Announce,
    /// Withdraw it, until it is announced by order again. A registered address is forgotten.
    Withdraw,
    /// Announce it as a last resort, so that routers prefer other forwarders, and withdraw it after
    /// `announce.drain_time`.
    Drain,
    /// End its drain.
    Undrain,
}

impl VipOrder {
    /// The order's name in requests.
    pub fn name(self) -> &'static str {
        match self {
            VipOrder::Announce => "announce",
            VipOrder::Withdraw => "withdraw",
            VipOrder::Drain => "drain",
            VipOrder::Undrain => "undrain",
        }
    }
}

/// What an operator orders for all virtual addresses of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeOrder {
    /// Announce them as a last resort, and withdraw them after `announce.drain_time`.
    Drain,
    /// End the drain.
    Undrain,
}

impl NodeOrder {
    /// The order's name in requests.
    pub fn name(self) -> &'static str {
        match self {
            NodeOrder::Drain => "drain",
            NodeOrder::Undrain => "undrain",
        }
    }
}

/// How routers learn of a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VipState {
    /// Not at all.
    Withdrawn,
    /// As a last resort: RFC 8326, graceful shutdown.
    Draining,
    /// As one of the equal ways.
    Announced,
}

impl VipState {
    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            VipState::Withdrawn => "withdrawn",
            VipState::Draining => "draining",
            VipState::Announced => "announced",
        }
    }
}

/// A virtual address of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// The services on it, by name.
    #[serde(default)]
    pub services: Vec<String>,
    /// Whether it is announced by order, without a service.
    #[serde(default)]
    pub registered: bool,
    /// How routers learn of it.
    pub state: VipState,
    /// Since when: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// Why.
    pub cause: VipCause,
    /// Why, in the words of who ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the kernel has the route that this takes, or none if it takes none.
    pub installed: bool,
    /// The route's metric; none if the address is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Peers for which it is another way than `state` says, or which get a next hop of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<VipPeer>,
}

/// What a peer learns of a virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipPeer {
    /// The name of the peer, `bgp.peer.name`.
    pub peer: String,
    /// How it learns of the address.
    pub state: VipState,
    /// The next hop that it is told; none for that of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
}

/// Why a virtual address is announced, drains or is withdrawn. The first that holds is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum VipCause {
    /// The controller has no connection to the forwarder.
    NoForwarder,
    /// The forwarder does not answer.
    ForwarderSilent,
    /// Not every worker forwards by the configuration yet.
    NotInForce,
    /// The configuration has no section `[announce]`.
    NotConfigured,
    /// The forwarder has taken its interface down: see [`Announcing`].
    InterfaceDown,
    /// It is outside of `bgp.allowed`.
    NotAllowed,
    /// An operator has withdrawn it.
    Ordered,
    /// The time of its drain is over.
    Drained,
    /// The time of the node's drain is over.
    NodeDrained,
    /// The first checks of its backends are not over, or what checks have found is not set in the
    /// forwarder yet.
    NotChecked,
    /// Too few of its services serve.
    NoQuorum {
        /// Those that do not.
        services: Vec<String>,
    },
    /// Everything is well again, and has to stay so for `announce.hold`.
    Held,
    /// An operator drains the node.
    NodeDrains,
    /// An operator drains it.
    Drains,
    /// Too few of its services serve, and `on_quorum_loss` keeps it.
    KeptWithoutQuorum {
        /// Those that do not serve.
        services: Vec<String>,
    },
    /// Enough of its services serve.
    Serving,
    /// An operator has registered it.
    Registered,
}

impl VipCause {
    /// The cause's name in listings and events.
    pub fn name(&self) -> &'static str {
        match self {
            VipCause::NoForwarder => "no_forwarder",
            VipCause::ForwarderSilent => "forwarder_silent",
            VipCause::NotInForce => "not_in_force",
            VipCause::NotConfigured => "not_configured",
            VipCause::InterfaceDown => "interface_down",
            VipCause::NotAllowed => "not_allowed",
            VipCause::Ordered => "ordered",
            VipCause::Drained => "drained",
            VipCause::NodeDrained => "node_drained",
            VipCause::NotChecked => "not_checked",
            VipCause::NoQuorum { .. } => "no_quorum",
            VipCause::Held => "held",
            VipCause::NodeDrains => "node_drains",
            VipCause::Drains => "drains",
            VipCause::KeptWithoutQuorum { .. } => "kept_without_quorum",
            VipCause::Serving => "serving",
            VipCause::Registered => "registered",
        }
    }
}

/// The response to [`Request::NodeShow`](crate::Request::NodeShow): the controller, and what it
/// knows of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The node's name; empty before the controller knows the configuration.
    pub node: String,
    /// The controller's release.
    pub version: String,
    /// Seconds since the controller started.
    pub uptime_seconds: u64,
    /// The forwarder, as the controller sees it.
    pub forwarder: ForwarderState,
    /// Since when: RFC 3339 in UTC, with milliseconds.
    pub forwarder_since: String,
    /// The generation of the configuration that the controller goes by; 0 without one.
    pub generation: u64,
    /// What announces the addresses, `announce.bgp`; none without `[announce]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<BgpMode>,
    /// The drains of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<NodeDrain>,
    /// Addresses that are announced.
    pub announced: usize,
    /// Addresses that drain.
    pub draining: usize,
    /// Addresses that are withdrawn.
    pub withdrawn: usize,
    /// Routes of the controller that somebody else removed, and that it put back, since its start.
    pub restored_routes: u64,
    /// What its checks say of the backends; none if the configuration has no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<CheckTotals>,
}

/// A drain of the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDrain {
    /// The peer that it is for; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Since when: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A forwarder, as its controller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwarderState {
    /// There is no connection.
    Absent,
    /// It is connected and does not answer.
    Silent,
    /// Not every worker forwards by the configuration yet.
    Starting,
    /// It forwards, and announces nothing: its interface is down, or it has none.
    Down,
    /// It forwards.
    Well,
}

impl ForwarderState {
    /// The state's name in listings and events.
    pub fn name(self) -> &'static str {
        match self {
            ForwarderState::Absent => "absent",
            ForwarderState::Silent => "silent",
            ForwarderState::Starting => "starting",
            ForwarderState::Down => "down",
            ForwarderState::Well => "well",
        }
    }
}

/// What announces addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BgpMode {
    /// Nothing: the routes are for static routing or VRRP.
    None,
    /// BIRD, with a configuration that the controller writes.
    Managed,
    /// BIRD or FRR, with the operator's configuration.
    External,
}

/// The interface of the virtual addresses, as part of [`Status`](crate::Status).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcing {
    /// Its name.
    pub interface: String,
    /// Whether it is up, or why not.
    #[serde(flatten)]
    pub state: AnnouncingState,
    /// Packets that the node itself sent there, and that were dropped.
    #[serde(default)]
    pub dropped: u64,
}

/// Whether a forwarder lets its virtual addresses be announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AnnouncingState {
    /// Not every worker forwards by the first tables yet, so there is no interface.
    Starting,
    /// The interface is up.
    Up,
    /// It is down, because this worker stalls.
    WorkerStalled {
        /// The worker.
        worker: usize,
    },
    /// It is down, because no port has a link.
    NoLink,
    /// It is gone, because the forwarder stops.
    Stopping,
    /// Somebody else removed it, and only a restart helps. An event has this state too if somebody
    /// set it down: then it is up again at once.
    Removed,
}

impl AnnouncingState {
    /// The state's name in listings and events.
    pub fn name(&self) -> &'static str {
        match self {
            AnnouncingState::Starting => "starting",
            AnnouncingState::Up => "up",
            AnnouncingState::WorkerStalled { .. } => "worker_stalled",
            AnnouncingState::NoLink => "no_link",
            AnnouncingState::Stopping => "stopping",
            AnnouncingState::Removed => "removed",
        }
    }
}

/// A BGP session of the managed BIRD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpPeer {
    /// The peer's name, `bgp.peer.name`.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub remote_as: u32,
    /// The node's AS number in this session.
    pub local_as: u32,
    /// The state of the session.
    pub state: BgpState,
    /// Since when: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// Why it is not established, or why it last was not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Routes sent to the peer.
    pub routes: usize,
    /// Whether BFD says that the peer is alive; none without BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd_up: Option<bool>,
    /// What keeps addresses from this peer, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The state of a BGP session (RFC 4271, section 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BgpState {
    /// BIRD does not answer, or does not know the peer.
    Unknown,
    /// The session waits, after an error for example.
    Idle,
    /// BIRD connects.
    Connect,
    /// BIRD waits before it connects again, and for the peer to connect.
    Active,
    /// BIRD has sent its OPEN.
    OpenSent,
    /// BIRD has the peer's OPEN.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl BgpState {
    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            BgpState::Unknown => "unknown",
            BgpState::Idle => "idle",
            BgpState::Connect => "connect",
            BgpState::Active => "active",
            BgpState::OpenSent => "open_sent",
            BgpState::OpenConfirm => "open_confirm",
            BgpState::Established => "established",
        }
    }
}

/// The response to [`Request::BgpShow`](crate::Request::BgpShow).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpDetails {
    /// The session.
    #[serde(flatten)]
    pub peer: BgpPeer,
    /// Seconds without a message after which the session ends; 0 if it never does. That in force if
    /// it is established.
    pub hold_time: u16,
    /// Seconds from one keepalive to the next.
    pub keepalive: u16,
    /// The node's address in the session; none if it is not established and the configuration has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// The routes sent, by prefix.
    pub sent: Vec<SentRoute>,
}

/// A route sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRoute {
    /// The address.
    pub address: IpAddr,
    /// Whether it is announced as a last resort.
    pub draining: bool,
    /// The next hop; none if BIRD does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<IpAddr>,
}
