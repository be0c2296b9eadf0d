//! What the manager is told, and what it answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use guideway_api::{Error, ErrorKind};

use super::order::Order;
use super::view::View;
use crate::{bird, check, forwarder, routes};

/// What the manager is told.
#[derive(Debug)]
pub enum Event {
    /// Of the forwarder.
    Forwarder(forwarder::Report),
    /// Of the kernel's routes.
    Routes(routes::Report),
    /// Of BIRD.
    Bird(bird::Report),
    /// Of checks.
    Checks(check::Report),
    /// By an operator.
    Order(Order, Sender<Result<Ordered, Error>>),
    /// Read the files with passwords again.
    Reload,
    /// End.
    Stop,
}

/// What became of an order that was not refused.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// The addresses for which the order changed something; 1 for the node.
    pub changed: usize,
    /// The version of the orders, which [`Handle::wait_until_stored`](super::Handle::wait_until_stored) takes.
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
pub(super) fn ask(events: &Sender<Event>, order: Order) -> Result<Ordered, Error> {
    let gone = || Error::new(ErrorKind::Failed, "the controller stops");
    let (answer, answered) = bounded(1);
    events.send(Event::Order(order, answer)).map_err(|_| gone())?;
    answered.recv().unwrap_or_else(|_| Err(gone()))
}
