//! The facts of announcements in words, the same in logs and in listings.

use std::fmt;

use crate::announce::{AnnouncingState, VipCause};

impl fmt::Display for VipCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VipCause::NoForwarder => "there is no connection to the forwarder",
            VipCause::ForwarderSilent => "the forwarder does not answer",
            VipCause::NotInForce => "not every worker forwards by the configuration yet",
            VipCause::NotConfigured => "the configuration has no [announce]",
            VipCause::InterfaceDown => "the forwarder has taken its interface down",
            VipCause::NotAllowed => "bgp.allowed does not have it",
            VipCause::Ordered => "by order",
            VipCause::Drained => "it is drained",
            VipCause::NodeDrained => "the node is drained",
            VipCause::Held => "all is well, and announce.hold is not over",
            VipCause::NodeDrains => "the node drains",
            VipCause::Drains => "it drains",
            VipCause::Serving => "its services serve",
            VipCause::Registered => "it is registered",
            VipCause::NoQuorum { services } => {
                let services = services.join(", ");
                return write!(f, "too few of its services serve, without {services}");
            }
            VipCause::KeptWithoutQuorum { services } => {
                let services = services.join(", ");
                return write!(f, "kept, though these services do not serve: {services}");
            }
        })
    }
}

impl fmt::Display for AnnouncingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnnouncingState::Starting => "the workers have not begun",
            AnnouncingState::Up => "it is up",
            AnnouncingState::WorkerStalled { worker } => {
                return write!(f, "worker {worker} stalls");
            }
            AnnouncingState::NoLink => "no port has a link",
            AnnouncingState::Stopping => "the forwarder stops",
            AnnouncingState::Removed => {
                "somebody else removed it, which takes a restart of guideway, or set it down for a moment"
            }
        })
    }
}
