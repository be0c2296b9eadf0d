//! The manager: the one thread that decides which addresses are announced.
//!
//! Everything that may change a decision is an [`Event`] in one channel: what the forwarder says, what the kernel has,
//! what BIRD says, what operators order. The thread takes all events that wait, decides once, and tells the threads of the
//! routes and of BIRD what is wanted. Readers take a [`View`] and no lock.
//!
//! | file | what |
//! |---|---|
//! | `state.rs` | what is known, and what each event changes of it |
//! | `settle.rs` | from what is known to what is wanted, and what has happened |
//! | `sessions.rs` | what has happened to BGP sessions |
//! | `view.rs` | what readers see |
//! | `thread.rs` | the thread |

mod sessions;
mod settle;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod view;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use guideway_api::{Error, ErrorKind, NodeOrder, VipOrder};

use crate::{bird, forwarder, routes};

pub use thread::{Handle, start};
pub use view::View;
pub(crate) use view::rfc3339;

/// What the manager is told.
#[derive(Debug)]
pub enum Event {
    /// Of the forwarder.
    Forwarder(forwarder::Report),
    /// Of the kernel's routes.
    Routes(routes::Report),
    /// Of BIRD.
    Bird(bird::Report),
    /// By an operator.
    Order(Order, Sender<Result<Ordered, Error>>),
    /// Read the files with passwords again.
    Reload,
    /// End.
    Stop,
}

/// What an operator orders.
#[derive(Clone, Debug)]
pub enum Order {
    /// For addresses.
    Vips {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// What to do with them.
        order: VipOrder,
        /// The peers that it is for; all of them without any.
        peers: Vec<String>,
        /// The next hops that those are told.
        next_hops: Vec<IpAddr>,
        /// Why.
        reason: Option<String>,
    },
    /// For all addresses of the node.
    Node {
        /// What to do.
        order: NodeOrder,
        /// The peers that it is for; all of them without any.
        peers: Vec<String>,
        /// Why.
        reason: Option<String>,
    },
}

/// What became of an order that was not refused.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The addresses for which the order changed something; 1 for the node.
    pub changed: usize,
    /// The version of the orders, which [`Handle::wait_until_stored`] takes.
    pub version: u64,
    /// What is decided now.
    pub view: Arc<View>,
}

/// What the manager needs to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The forwarder's control socket.
    pub forwarder: PathBuf,
    /// The directory in which orders are stored.
    pub state_directory: PathBuf,
    /// How long the thread rests at the most when nothing happens.
    pub round: Duration,
}

/// Sends an order to the manager, and waits for its answer.
fn ask(events: &Sender<Event>, order: Order) -> Result<Ordered, Error> {
    let gone = || Error::new(ErrorKind::Failed, "the controller stops");
    let (answer, answered) = bounded(1);
    events.send(Event::Order(order, answer)).map_err(|_| gone())?;
    answered.recv().unwrap_or_else(|_| Err(gone()))
}
