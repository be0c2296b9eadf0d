//! The routes of virtual addresses in the kernel, and the rules and routes of probes: kept as they are wanted, whoever changes
//! them.
//!
//! A virtual address's route is the announcement: BIRD or FRR export what is in the table. It leads to the forwarder's interface, so it goes
//! when that goes, without the controller. Others remove routes that are not theirs, systemd-networkd among them, and then
//! a router would believe that the node does not serve; so what is missing is put back at once. What is as it should be
//! is never touched, because each change of a route becomes a BGP UPDATE.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | pure: what has to change |
//! | `kernel.rs` | the requests to the kernel |
//! | `rules.rs` | the rules without which the node has no routing |
//! | `probes/` | rules and routes by which probes leave the node |
//! | `pace.rs` | how often the tables are read if others never rest |
//! | `handle.rs` | what others want of the thread |
//! | `thread.rs` | the thread that keeps all of it |

mod handle;
mod kernel;
mod pace;
mod plan;
mod probes;
mod rules;
mod thread;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub use handle::Handle;
pub use kernel::installed;
pub use thread::{Options, start, start_with};

/// The number of the routes' protocol: `proto 200`.
pub const PROTOCOL: u8 = 200;

/// The routes that are wanted: one for each address that is not withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the forwarder's interface.
    pub interface: String,
    /// The kernel's table.
    pub table: u32,
    /// The metric of each address.
    pub metrics: Arc<BTreeMap<IpAddr, u32>>,
}

/// By what way probes through tunnels leave the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    /// The name of the forwarder's interface for them.
    pub interface: String,
    /// The kernel's table that leads there.
    pub table: u32,
    /// The addresses that probes come from.
    pub sources: Vec<IpAddr>,
}

/// What the thread of the routes reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The kernel has these routes of the controller now, with the metric of each.
    Installed(Arc<BTreeMap<IpAddr, u32>>),
    /// The interface is up; or it is down, or gone.
    Interface {
        /// Whether it is up.
        is_up: bool,
    },
    /// Somebody else removed routes, and they are put back.
    Restored {
        /// How many.
        routes: usize,
    },
    /// The rule that looks up the table main was put back.
    RuleRestored {
        /// Whether it is that of IPv6.
        ipv6: bool,
    },
    /// Whether probes reach the forwarder's interface: it is up, and all of their rules and routes are in force.
    /// Reported when it changes, and first of all.
    ProbesReady {
        /// Whether they do.
        is_ready: bool,
    },
    /// Somebody else removed rules or routes of probes, and they are put back.
    ProbesRestored {
        /// How many rules.
        rules: usize,
        /// How many routes.
        routes: usize,
    },
    /// The kernel refuses a rule or a route of probes. Reported once until all are taken.
    ProbesRefused {
        /// Why it refuses the first.
        error: String,
    },
    /// The kernel refuses routes. Reported once until all are taken.
    Refused {
        /// How many.
        routes: usize,
        /// Why it refuses the first.
        error: String,
    },
}
