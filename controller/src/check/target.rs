//! What is probed.
//!
//! A backend's check is a target. Pools that have the same backend, with the same check and the same way to it, share the
//! target: its server sees one stream of probes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use guideway_config::Check;

/// Where probes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum To {
    /// To a port.
    Port(SocketAddr),
    /// To a host, for a ping.
    Host(IpAddr),
}

impl To {
    /// The address.
    pub fn ip(self) -> IpAddr {
        match self {
            To::Port(address) => address.ip(),
            To::Host(ip) => ip,
        }
    }
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            To::Port(address) => address.fmt(f),
            To::Host(ip) => ip.fmt(f),
        }
    }
}

/// The way of a target's probes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// By the kernel's routes.
    Direct,
    /// Through a tunnel. The text tells tunnels to one address apart: encapsulations and their settings.
    Tunnel(Arc<str>),
}

/// What tells targets apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// The name of the check.
    pub check: Arc<str>,
    /// The backend's own address.
    pub address: IpAddr,
    /// Where the probes go.
    pub to: To,
    /// By what way.
    pub path: Path,
}

/// A backend of a pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The pool.
    pub pool: Arc<str>,
    /// The backend's name.
    pub backend: Arc<str>,
}

/// What is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub check: Arc<Check>,
    /// The backends that it is for, at least one, in the configuration's order. Probes through a tunnel take the first one's.
    pub members: Vec<Member>,
}

/// Everything that is to be probed by a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The targets.
    pub targets: BTreeMap<TargetKey, Target>,
    /// For each pool with checks: its backends, and from how many percent of failures at once on it keeps them.
    pub pools: BTreeMap<Arc<str>, PoolPlan>,
}

/// A pool whose backends are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// The names of its backends that have checks.
    pub backends: Vec<Arc<str>>,
    /// `pool.panic_threshold`, in percent: if more of them fail at once, the pool keeps them.
    pub panic_threshold: u8,
}
