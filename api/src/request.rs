//! Requests of a client: one [`Request`] a line.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::announce::{Daemon, NodeOrder, VipOrder};
use crate::check::Pin;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The daemon's name, version and totals.
    Status {},
    /// The services in force.
    ServiceList {},
    /// The backends in force.
    BackendList {},
    /// Sets states or weights of backends, or unsets them. Either every change is in force
    /// afterwards or none is.
    BackendSet {
        /// The changes, in their order: 1 to [`MAX_CHANGES`](crate::MAX_CHANGES). They are put in
        /// force together.
        changes: Vec<BackendChange>,
        /// Who sets them: not the file.
        #[serde(default)]
        source: Source,
        /// Why, for listings, events and the audit trail: 1 to [`MAX_REASON`](crate::MAX_REASON)
        /// bytes without control characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Seconds of the wall clock after which the settings end: 1 to
        /// [`MAX_FOR_SECONDS`](crate::MAX_FOR_SECONDS). Without it they stay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_seconds: Option<u64>,
    },
    /// The workers and their counters.
    WorkerList {},
    /// The ports, their links and their devices' counters.
    PortList {},
    /// Counters of each port's device, by name.
    PortStats {
        /// Include all counters of the device, by its driver's names.
        #[serde(default)]
        extended: bool,
    },
    /// Verdicts and events, summed over the workers.
    Stats {},
    /// The text of the configuration in force.
    ConfigShow {},
    /// Validates a configuration against this daemon and changes nothing.
    ConfigCheck {
        /// The TOML text.
        text: String,
    },
    /// Puts a configuration in force on every worker, or changes nothing.
    ConfigApply {
        /// The TOML text.
        text: String,
        /// Why, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Puts the daemon's configuration file in force on every worker, or changes nothing.
    ConfigReload {
        /// Why, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Entries of the workers' flow tables.
    FlowList(FlowFilter),
    /// The ports' interfaces: the kernel's devices.
    InterfaceList {},
    /// The neighbours that packets are sent to.
    NeighborList {},
    /// The route to one backend or cluster member.
    RouteShow {
        /// The backend's name, or the address of a backend or member.
        backend: String,
        /// The backend's pool, if several pools have a backend of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
    /// The classes of packets that are given to the kernel.
    PuntList {},
    /// Sets pins: those that have a source already replace its pin. Either all of it is in force on
    /// every worker afterwards or nothing has changed. A restart of the daemon loses all pins.
    PinSet {
        /// The pins, each of another source: at most [`MAX_CHANGES`](crate::MAX_CHANGES).
        pins: Vec<Pin>,
        /// The sources of pins to remove, even if they have none: as many at the most.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<SocketAddr>,
        /// Remove all other pins too.
        #[serde(default)]
        only: bool,
    },
    /// The pins.
    PinList {},
    /// The events that the daemon keeps, and those that follow.
    Monitor {
        /// The number of the first event wanted; all that are kept without it, 0 for those from now
        /// on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
        /// The [instance](crate::Events::instance) that `since` is a number of. If the daemon is
        /// another one, it begins with the first event that it keeps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<u64>,
        /// Only events of these kinds; all without any. See
        /// [`Happening::KINDS`](crate::Happening::KINDS).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kinds: Vec<String>,
        /// Go on with events as they happen, until the client closes the connection.
        #[serde(default)]
        follow: bool,
    },
    /// The level of the log.
    LogLevel {
        /// The level to set; none to ask for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
        /// Why, for the audit trail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The virtual addresses. As the other requests about announcements, it is for the controller.
    VipList {},
    /// Orders how virtual addresses are announced. The order outlives restarts.
    VipSet {
        /// The addresses: 1 to [`MAX_CHANGES`](crate::MAX_CHANGES).
        addresses: Vec<IpAddr>,
        /// What to do with them.
        order: VipOrder,
        /// The peers that it is for, by `bgp.peer.name`; all of them without any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        peers: Vec<String>,
        /// The next hops that those peers are told, at most one of each family; only with
        /// [`VipOrder::Announce`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        next_hops: Vec<IpAddr>,
        /// Why: 1 to [`MAX_REASON`](crate::MAX_REASON) bytes without control characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The controller, and what it knows of the node.
    NodeShow {},
    /// Orders how all virtual addresses of the node are announced. The order outlives restarts.
    NodeSet {
        /// What to do.
        order: NodeOrder,
        /// The peers that it is for, by `bgp.peer.name`; all of them without any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        peers: Vec<String>,
        /// Why: 1 to [`MAX_REASON`](crate::MAX_REASON) bytes without control characters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The BGP sessions of the managed BIRD.
    BgpList {},
    /// One BGP session, with the routes sent.
    BgpShow {
        /// The peer's name, `bgp.peer.name`.
        peer: String,
    },
    /// The checks of backends: each backend with each of its checks.
    CheckList {},
    /// One check of one backend, with its last results.
    CheckShow {
        /// The name of the check, `check.name`.
        check: String,
        /// The backend's name or address.
        backend: String,
        /// The backend's pool, if the check has backends of that name in several pools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
    /// Probes a backend once, now, and waits for the result, which does not count for any state.
    CheckRun {
        /// The name of the check, `check.name`.
        check: String,
        /// The backend's name or address.
        backend: String,
        /// The backend's pool, if the check has backends of that name in several pools.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pool: Option<String>,
    },
    /// Says what the client is. The daemon records its coming and going.
    Hello {
        /// What the client calls itself, 1 to 63 bytes.
        client: String,
        /// Its release, up to 63 bytes.
        version: String,
    },
}

impl Request {
    /// The `request` of every message, in the order of the enum.
    pub const NAMES: [&str; 31] = [
        "status",
        "service_list",
        "backend_list",
        "backend_set",
        "worker_list",
        "port_list",
        "port_stats",
        "stats",
        "config_show",
        "config_check",
        "config_apply",
        "config_reload",
        "flow_list",
        "interface_list",
        "neighbor_list",
        "route_show",
        "punt_list",
        "pin_set",
        "pin_list",
        "monitor",
        "log_level",
        "vip_list",
        "vip_set",
        "node_show",
        "node_set",
        "bgp_list",
        "bgp_show",
        "check_list",
        "check_show",
        "check_run",
        "hello",
    ];

    /// The `request` of its message.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Status {} => "status",
            Request::ServiceList {} => "service_list",
            Request::BackendList {} => "backend_list",
            Request::BackendSet { .. } => "backend_set",
            Request::WorkerList {} => "worker_list",
            Request::PortList {} => "port_list",
            Request::PortStats { .. } => "port_stats",
            Request::Stats {} => "stats",
            Request::ConfigShow {} => "config_show",
            Request::ConfigCheck { .. } => "config_check",
            Request::ConfigApply { .. } => "config_apply",
            Request::ConfigReload { .. } => "config_reload",
            Request::FlowList(_) => "flow_list",
            Request::InterfaceList {} => "interface_list",
            Request::NeighborList {} => "neighbor_list",
            Request::RouteShow { .. } => "route_show",
            Request::PuntList {} => "punt_list",
            Request::PinSet { .. } => "pin_set",
            Request::PinList {} => "pin_list",
            Request::Monitor { .. } => "monitor",
            Request::LogLevel { .. } => "log_level",
            Request::VipList {} => "vip_list",
            Request::VipSet { .. } => "vip_set",
            Request::NodeShow {} => "node_show",
            Request::NodeSet { .. } => "node_set",
            Request::BgpList {} => "bgp_list",
            Request::BgpShow { .. } => "bgp_show",
            Request::CheckList {} => "check_list",
            Request::CheckShow { .. } => "check_show",
            Request::CheckRun { .. } => "check_run",
            Request::Hello { .. } => "hello",
        }
    }

    /// The daemon that carries it out; none if each does.
    pub fn daemon(&self) -> Option<Daemon> {
        match self {
            Request::VipList {}
            | Request::VipSet { .. }
            | Request::NodeShow {}
            | Request::NodeSet { .. }
            | Request::BgpList {}
            | Request::BgpShow { .. }
            | Request::CheckList {}
            | Request::CheckShow { .. }
            | Request::CheckRun { .. } => Some(Daemon::Controller),
            Request::Monitor { .. } | Request::LogLevel { .. } | Request::Hello { .. } => None,
            Request::Status {}
            | Request::ServiceList {}
            | Request::BackendList {}
            | Request::BackendSet { .. }
            | Request::WorkerList {}
            | Request::PortList {}
            | Request::PortStats { .. }
            | Request::Stats {}
            | Request::ConfigShow {}
            | Request::ConfigCheck { .. }
            | Request::ConfigApply { .. }
            | Request::ConfigReload { .. }
            | Request::FlowList(_)
            | Request::InterfaceList {}
            | Request::NeighborList {}
            | Request::RouteShow { .. }
            | Request::PuntList {}
            | Request::PinSet { .. }
            | Request::PinList {} => Some(Daemon::Forwarder),
        }
    }

    /// Why the client asks for it, if the request has a place for that.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Request::BackendSet { reason, .. }
            | Request::ConfigApply { reason, .. }
            | Request::ConfigReload { reason }
            | Request::LogLevel { reason, .. }
            | Request::VipSet { reason, .. }
            | Request::NodeSet { reason, .. } => reason.as_deref(),
            _ => None,
        }
    }

    /// Whether the request changes anything but what the daemon knows of its client, or sends
    /// packets to a backend. Members of `control.read_group` may send only those that do not.
    pub fn is_change(&self) -> bool {
        match self {
            Request::BackendSet { .. }
            | Request::ConfigApply { .. }
            | Request::ConfigReload { .. }
            | Request::VipSet { .. }
            | Request::NodeSet { .. }
            | Request::PinSet { .. }
            | Request::CheckRun { .. } => true,
            Request::LogLevel { level, .. } => level.is_some(),
            Request::Status {}
            | Request::ServiceList {}
            | Request::BackendList {}
            | Request::WorkerList {}
            | Request::PortList {}
            | Request::PortStats { .. }
            | Request::Stats {}
            | Request::ConfigShow {}
            | Request::ConfigCheck { .. }
            | Request::FlowList(_)
            | Request::InterfaceList {}
            | Request::NeighborList {}
            | Request::RouteShow { .. }
            | Request::PuntList {}
            | Request::PinList {}
            | Request::Monitor { .. }
            | Request::VipList {}
            | Request::NodeShow {}
            | Request::BgpList {}
            | Request::BgpShow { .. }
            | Request::CheckList {}
            | Request::CheckShow { .. }
            | Request::Hello { .. } => false,
        }
    }
}

/// A change of what is set for some backends: those that match every field that is given, at least
/// one of them. `pool` with `backend` names one backend, `pool` alone a whole pool, and `address`
/// alone an address in all pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendChange {
    /// The pool that has the backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The name of a backend of that pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The address of the backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What to set.
    pub set: BackendOrder,
    /// Why, if not for the reason of the request: 1 to [`MAX_REASON`](crate::MAX_REASON) bytes
    /// without control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What to set for a backend. A source has at most one state and one weight for each backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendOrder {
    /// A state.
    State(SetState),
    /// A weight, up to [`MAX_WEIGHT`](crate::MAX_WEIGHT).
    Weight(u32),
    /// No state: that of the other sources holds.
    UnsetState,
    /// No weight: that of the other sources holds.
    UnsetWeight,
}

/// The state that a source sets for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// It takes new flows, whatever other sources of less weight say.
    Active,
    /// As the controller says, and without a word of the controller active: what the file says does
    /// not hold. Only an operator sets it.
    Enabled,
    /// It keeps its flows and takes no new ones.
    Draining,
    /// Its flows move to other backends at once.
    Disabled,
    /// It does not work. Each service says what becomes of its flows.
    Down,
}

impl SetState {
    /// Every state.
    pub const ALL: [SetState; 5] = [
        SetState::Active,
        SetState::Enabled,
        SetState::Draining,
        SetState::Disabled,
        SetState::Down,
    ];

    /// The state's name in requests and listings.
    pub fn name(self) -> &'static str {
        match self {
            SetState::Active => "active",
            SetState::Enabled => "enabled",
            SetState::Draining => "draining",
            SetState::Disabled => "disabled",
            SetState::Down => "down",
        }
    }
}

/// Who sets a backend's state or weight. A later one outweighs an earlier one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The configuration.
    File,
    /// Whoever checks backends.
    Controller,
    /// A person.
    #[default]
    Operator,
}

impl Source {
    /// The source's name in requests and listings.
    pub fn name(self) -> &'static str {
        match self {
            Source::File => "file",
            Source::Controller => "controller",
            Source::Operator => "operator",
        }
    }
}

/// Which flows to list. A flow must match every field that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowFilter {
    /// List only flows of this worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// List only flows of the backend of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// List only flows of this pool's backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// List only flows in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// List only this flow. The table stores no addresses, so this is the only search by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowTuple>,
    /// Rows at the most: up to [`MAX_FLOWS`](crate::MAX_FLOWS), by default
    /// [`DEFAULT_FLOWS`](crate::DEFAULT_FLOWS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The addresses and ports of one flow, as in its client's packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowTuple {
    /// The client.
    pub source: SocketAddr,
    /// The virtual address and port.
    pub destination: SocketAddr,
    /// The transport.
    pub protocol: Protocol,
}

/// A transport that can be balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
}

impl Protocol {
    /// The protocol's name in configurations and listings.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// The state of a flow; each state has its own idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// TCP: of the packets that set the state, the last was a SYN.
    Syn,
    /// TCP: packets followed the SYN.
    Established,
    /// TCP: the flow began without a SYN, and no later packet has confirmed it yet.
    Unconfirmed,
    /// TCP: packets still came some time after a FIN.
    HalfClosed,
    /// TCP: a FIN was seen.
    Closing,
    /// TCP: a RST was seen, and no packet after it.
    Reset,
    /// UDP.
    Udp,
}

impl FlowState {
    /// Every state, in the order of a flow's life.
    pub const ALL: [FlowState; 7] = [
        FlowState::Syn,
        FlowState::Unconfirmed,
        FlowState::Established,
        FlowState::HalfClosed,
        FlowState::Closing,
        FlowState::Reset,
        FlowState::Udp,
    ];

    /// The state's name in requests and listings.
    pub fn name(self) -> &'static str {
        match self {
            FlowState::Syn => "syn",
            FlowState::Established => "established",
            FlowState::Unconfirmed => "unconfirmed",
            FlowState::HalfClosed => "half_closed",
            FlowState::Closing => "closing",
            FlowState::Reset => "reset",
            FlowState::Udp => "udp",
        }
    }
}

/// The least severe lines that the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// No lines.
    Off,
    /// Failures.
    Error,
    /// What is not as it should be, too.
    Warn,
    /// What is good to know, too.
    Info,
    /// What helps to find a defect, too.
    Debug,
}

impl LogLevel {
    /// Every level, the fewest lines first.
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Off, LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];

    /// The level's name.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Off => "off",
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}
