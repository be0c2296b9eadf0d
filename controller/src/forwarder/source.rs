//! What the threads have in common: the forwarder's socket, and what they report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use guideway_api::{Announcing, Daemon, ForwarderState, Request, Response};
use guideway_client::{Client, Error};
use guideway_config::Configuration;

/// What the threads report.
#[derive(Clone, Debug)]
pub enum Report {
    /// What the forwarder says of itself; reported whenever it differs.
    Pulse {
        /// The number of its process; none if it does not answer.
        process: Option<i32>,
        /// How it is.
        state: ForwarderState,
        /// Its interface of virtual addresses.
        announcing: Option<Announcing>,
    },
    /// A configuration is in force on every worker.
    InForce {
        /// The number of the process.
        process: i32,
        /// The generation.
        generation: u64,
        /// The configuration.
        configuration: Arc<Configuration>,
    },
    /// Whether services serve; reported whenever that differs.
    Serving {
        /// The number of the process.
        process: i32,
        /// Whether each serves, by its name.
        services: Arc<BTreeMap<String, bool>>,
    },
}

/// What each thread has.
pub(super) struct Source<R> {
    pub(super) socket: PathBuf,
    pub(super) report: Arc<R>,
}

impl<R> Source<R> {
    /// As [`connect`].
    pub(super) fn connect(&self, timeout: Duration) -> Result<(Client, i32), Error> {
        connect(&self.socket, timeout)
    }
}

/// Connects, says hello, and returns the number of the forwarder's process too.
pub(crate) fn connect(socket: &Path, timeout: Duration) -> Result<(Client, i32), Error> {
    let mut client = Client::connect(socket, Daemon::Forwarder, timeout)?;
    let process = client.daemon().unwrap_or_default();
    let hello = Request::Hello {
        client: "guideway-controller".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let Response::Hello {} = client.send(&hello)? else { return Err(unexpected()) };
    Ok((client, process))
}

/// The error of a response that is not of its request.
pub(crate) fn unexpected() -> Error {
    Error::Response { reason: "it is to another request".to_owned() }
}
