//! What the daemon answers: one [`Response`] a request, in the order of the requests.

use serde::{Deserialize, Serialize};

use crate::listing::{Backend, Flows, Port, PortStats, Service, Stats, Status, Worker};
#[cfg(doc)]
use crate::request::Request;

/// Every answer of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", content = "body", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::ServiceList`].
    Services(Vec<Service>),
    /// To [`Request::BackendList`].
    Backends(Vec<Backend>),
    /// To [`Request::WorkerList`].
    Workers(Vec<Worker>),
    /// To [`Request::PortList`].
    Ports(Vec<Port>),
    /// To [`Request::PortStats`].
    PortStats(Vec<PortStats>),
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::ConfigShow`].
    Config {
        /// The TOML text in force.
        text: String,
        /// Its generation.
        generation: u64,
    },
    /// To [`Request::ConfigCheck`]: the text is valid here.
    Checked {
        /// What is valid but probably not meant.
        warnings: Vec<String>,
    },
    /// To [`Request::ConfigApply`] and [`Request::ConfigReload`]: in force on every worker.
    Applied {
        /// The generation now in force.
        generation: u64,
        /// What is valid but probably not meant.
        warnings: Vec<String>,
    },
    /// To [`Request::FlowList`].
    Flows(Flows),
    /// The request was not carried out, and nothing changed.
    Error(Error),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What sort of refusal this is.
    pub kind: ErrorKind,
    /// One sentence for the operator.
    pub message: String,
    /// Every single mistake found, where there can be several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Error {
    /// A refusal that one sentence explains.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), details: Vec::new() }
    }
}

/// The sorts of refusal; `guidewayctl` maps each to an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The line is no request of this protocol, or too long.
    BadRequest,
    /// The thing named does not exist.
    NotFound,
    /// The configuration is invalid, or needs a restart.
    Rejected,
    /// The daemon could not do it now.
    Failed,
}
