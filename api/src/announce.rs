//! The daemons that speak the protocol.

use std::fmt;

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
            Daemon::Controller => "/run/guideway/controller.sock",
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
