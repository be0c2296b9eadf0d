//! Why an appliance does not start.

use std::io;

use thiserror::Error;

use crate::{announce, dpdk, kernel, probing};
use guideway_management::ids;
use guideway_netlink as netlink;

/// Why an appliance does not start.
#[derive(Debug, Error)]
pub enum Error {
    /// DPDK reports an error.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// DPDK reports an error about one port.
    #[error("port \"{port}\": {error}")]
    Port {
        /// The port's name.
        port: String,
        /// DPDK's error.
        error: dpdk::Error,
    },
    /// A port gets no interface.
    #[error("port \"{port}\": {error}")]
    Interface {
        /// The port's name.
        port: String,
        /// What the operator has to change.
        error: kernel::Error,
    },
    /// There is no interface of the virtual addresses.
    #[error("announce.interface: {0}")]
    Announce(#[from] announce::Error),
    /// There is no interface of probes.
    #[error("node.check_source: {0}")]
    Probing(#[from] probing::Error),
    /// The kernel's tables cannot be changed.
    #[error("cannot set up the ports' interfaces: {0}")]
    Netlink(#[from] netlink::Error),
    /// The operating system refuses a resource.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The configuration cannot be brought into force.
    #[error(transparent)]
    Ids(#[from] ids::Error),
    /// Received captures have no time stamps.
    #[error("DPDK's pcap driver gives no time stamps; use --clock wall")]
    NoTimestamps,
}

impl Error {
    /// Wraps an error of DPDK about the port of this name.
    pub(super) fn at(port: &str) -> impl Fn(dpdk::Error) -> Error {
        move |error| Error::Port { port: port.to_owned(), error }
    }
}
