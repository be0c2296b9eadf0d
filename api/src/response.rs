//! Responses of the daemon: one [`Response`] to each request, in the order of the requests.

use serde::{Deserialize, Serialize};

use crate::announce::{BgpDetails, BgpPeer, Node, Vip};
use crate::check::{CheckDetails, CheckRun, Checks, Pin};
use crate::event::Events;
use crate::kernel::{Neighbor, PortInterface, Punt, Route};
use crate::listing::{Backend, Flows, Port, PortStats, Service, Stats, Status, Worker};
use crate::request::LogLevel;
#[cfg(doc)]
use crate::request::Request;

/// A response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", content = "body", rename_all = "snake_case")]
pub enum Response {
    /// The response to [`Request::Status`].
    Status(Status),
    /// The response to [`Request::ServiceList`].
    Services(Vec<Service>),
    /// The response to [`Request::BackendList`].
    Backends(Vec<Backend>),
    /// The response to [`Request::BackendSet`]: the changes are in force on every worker.
    BackendsSet {
        /// The generation now in force.
        generation: u64,
        /// The backends that the changes name, as they are now.
        backends: Vec<Backend>,
        /// Whether the settings are stored: if not, a restart would lose them.
        stored: bool,
    },
    /// The response to [`Request::WorkerList`].
    Workers(Vec<Worker>),
    /// The response to [`Request::PortList`].
    Ports(Vec<Port>),
    /// The response to [`Request::PortStats`].
    PortStats(Vec<PortStats>),
    /// The response to [`Request::Stats`].
    Stats(Stats),
    /// The response to [`Request::ConfigShow`].
    Config {
        /// The TOML text in force.
        text: String,
        /// Its generation.
        generation: u64,
    },
    /// The response to [`Request::ConfigCheck`]: the configuration is valid for this daemon.
    Checked {
        /// What is valid but probably a mistake.
        warnings: Vec<String>,
    },
    /// The response to [`Request::ConfigApply`] and [`Request::ConfigReload`]: the configuration is
    /// in force on every worker.
    Applied {
        /// The generation now in force.
        generation: u64,
        /// What is valid but probably a mistake.
        warnings: Vec<String>,
    },
    /// The response to [`Request::FlowList`].
    Flows(Flows),
    /// The response to [`Request::InterfaceList`].
    Interfaces(Vec<PortInterface>),
    /// The response to [`Request::NeighborList`].
    Neighbors(Vec<Neighbor>),
    /// The response to [`Request::RouteShow`].
    Route(Route),
    /// The response to [`Request::PuntList`].
    Punts(Vec<Punt>),
    /// The response to [`Request::PinSet`]: the pins are in force on every worker.
    PinsSet {
        /// The generation now in force. A request that changes nothing makes no new one.
        generation: u64,
        /// Pins in force now.
        pins: usize,
    },
    /// The response to [`Request::PinList`].
    Pins(Vec<Pin>),
    /// The response to [`Request::Monitor`].
    Events(Events),
    /// The response to [`Request::LogLevel`].
    LogLevel {
        /// The level in force.
        level: LogLevel,
    },
    /// The response to [`Request::VipList`].
    Vips(Vec<Vip>),
    /// The response to [`Request::VipSet`].
    VipsSet {
        /// The addresses of the request, as they are now.
        vips: Vec<Vip>,
        /// How many of them the order has changed.
        changed: usize,
        /// Whether the order is stored: if not, a restart would lose it.
        stored: bool,
    },
    /// The response to [`Request::NodeShow`].
    Node(Node),
    /// The response to [`Request::NodeSet`].
    NodeSet {
        /// The node, as it is now.
        node: Node,
        /// Whether the order has changed anything.
        changed: bool,
        /// Whether the order is stored: if not, a restart would lose it.
        stored: bool,
    },
    /// The response to [`Request::BgpList`].
    BgpPeers(Vec<BgpPeer>),
    /// The response to [`Request::BgpShow`].
    BgpPeer(BgpDetails),
    /// The response to [`Request::CheckList`].
    Checks(Checks),
    /// The response to [`Request::CheckShow`].
    Check(CheckDetails),
    /// The response to [`Request::CheckRun`].
    CheckRan(CheckRun),
    /// The response to [`Request::Hello`].
    Hello {},
    /// The request was not carried out. Nothing changed, unless [`ErrorKind::Failed`] says that
    /// tables are published and not yet in force.
    Error(Error),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The kind of refusal.
    pub kind: ErrorKind,
    /// One sentence for the operator.
    pub message: String,
    /// Each mistake found in a configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Error {
    /// An error without details.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), details: Vec::new() }
    }
}

/// The kinds of refusal; `guidewayctl` maps each to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The line is not a request of this protocol, or is too long.
    BadRequest,
    /// A name in the request does not exist.
    NotFound,
    /// The configuration is invalid, or needs a restart.
    Rejected,
    /// The client may only read.
    Forbidden,
    /// The daemon cannot do it now, or has begun it and cannot say when every worker has it.
    Failed,
}
