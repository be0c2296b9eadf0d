//! The forwarder, followed by its control socket.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_api::{Announcing, ForwarderState};
use guideway_config::Configuration;

/// What is known of the forwarder.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The forwarder's state.
    pub state: ForwarderState,
    /// The configuration that is in force on every worker, and its generation; none before the first.
    pub configuration: Option<(u64, Arc<Configuration>)>,
    /// The services of that configuration, and whether each serves.
    pub services: Arc<Vec<ServiceSeen>>,
    /// The forwarder's interface of virtual addresses.
    pub announcing: Option<Announcing>,
}

/// A service, as the forwarder lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSeen {
    /// Its name.
    pub name: String,
    /// Its virtual address.
    pub address: IpAddr,
    /// Whether it serves new flows.
    pub serves: bool,
}
