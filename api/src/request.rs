//! What a client asks: one [`Request`] a line.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Everything that a client can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who the daemon is and how it does.
    Status {},
    /// The services in force.
    ServiceList {},
    /// The backends in force.
    BackendList {},
    /// The workers and what each has done.
    WorkerList {},
    /// The ports, their link and their device's counters.
    PortList {},
    /// What each port's device counted, by name.
    PortStats {
        /// With all that the device counts, by its driver's names.
        #[serde(default)]
        extended: bool,
    },
    /// All verdicts, summed over the workers.
    Stats {},
    /// The text of the configuration in force.
    ConfigShow {},
    /// Validates a configuration against this daemon, changes nothing.
    ConfigCheck {
        /// The TOML text.
        text: String,
    },
    /// Puts a configuration in force on every worker, or changes nothing.
    ConfigApply {
        /// The TOML text.
        text: String,
    },
    /// As `config_apply`, with the text of the daemon's own configuration file.
    ConfigReload {},
    /// Entries of the workers' flow tables.
    FlowList(FlowFilter),
}

impl Request {
    /// The `request` of every message that there is, in the order of the enum.
    pub const NAMES: [&str; 12] = [
        "status",
        "service_list",
        "backend_list",
        "worker_list",
        "port_list",
        "port_stats",
        "stats",
        "config_show",
        "config_check",
        "config_apply",
        "config_reload",
        "flow_list",
    ];
}

/// Which flows to list; every field that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowFilter {
    /// Only this worker's flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// Only flows that this backend (by name) carries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Only flows of this pool's backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Only flows in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowState>,
    /// Only this very flow. The table keeps no addresses, so this is how to ask for one by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowTuple>,
    /// Rows at the most; [`MAX_FLOWS`](crate::MAX_FLOWS) is the ceiling,
    /// [`DEFAULT_FLOWS`](crate::DEFAULT_FLOWS) the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// The addresses of one flow, as its client's packets carry them.
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
    /// The name, as configurations and listings write it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// How far a flow has come; each state has its own idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// A TCP SYN was the last that told the state.
    Syn,
    /// TCP after its SYN.
    Established,
    /// The flow began without a SYN, and no packet some time later has confirmed it.
    Unconfirmed,
    /// A TCP FIN was seen, and packets some time after it.
    HalfClosed,
    /// A TCP FIN was seen.
    Closing,
    /// A TCP RST was seen, and no other packet after it.
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

    /// The name, as requests and listings write it.
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
