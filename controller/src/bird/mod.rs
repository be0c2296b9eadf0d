//! BIRD, which the controller configures and asks. It is a process of its own, which systemd starts.
//!
//! | module | what |
//! |---|---|
//! | `configuration` | the text of `bird.conf` |
//! | `export` | what a peer is told: the filters in that text |
//! | `passwords` | the files of passwords |
//! | `control` | BIRD's control socket |
//! | `status` | what BIRD says there of sessions and routes |
//! | `counters` | what the kernel counts of segments that no session got |
//! | `words` | why a session is not established, and what to do |
//! | `sessions` | the sessions, as peers of the API |
//! | `apply` | has BIRD run by a text, or by the last one |
//! | `thread` | the thread that does all of it |
//! | `handle` | how others reach the thread and BIRD |

mod apply;
mod configuration;
mod control;
mod counters;
mod export;
mod handle;
mod passwords;
mod sessions;
mod status;
mod thread;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use guideway_api::BgpPeer;
use guideway_config::Bgp;

use crate::announce::{Class, Handlings};

pub use handle::{Handle, start};

/// What BIRD is to run by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// `[bgp]` and its peers.
    pub bgp: Arc<Bgp>,
    /// The BGP identifier.
    pub router_id: Ipv4Addr,
    /// The name of the forwarder's interface.
    pub interface: String,
    /// The kernel's table of the routes.
    pub table: u32,
    /// What the metrics of each class mean, but for class 0.
    pub classes: BTreeMap<Class, Handlings>,
}

/// What the thread of BIRD reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// BIRD runs by a configuration with these classes, besides class 0.
    Configured {
        /// The classes.
        classes: BTreeSet<Class>,
    },
    /// BIRD or its check refused a configuration, and goes on by the last one. Reported once until another one is
    /// wanted.
    Refused {
        /// Why.
        error: String,
    },
    /// BIRD does not answer. Reported once until it does.
    Lost {
        /// Why.
        error: String,
    },
    /// BIRD answers.
    Found {
        /// Its release.
        version: String,
    },
    /// The sessions, each time that they have changed.
    Sessions(Arc<Vec<BgpPeer>>),
}
