//! What changes the state.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use thiserror::Error;

use guideway_config::Configuration;

use super::published::Published;
use crate::ids;
use crate::routing::Batch;
use crate::state::{BackendChange, PinChange};

/// A change of the state.
#[derive(Debug)]
pub enum Change {
    /// A configuration was read.
    Configuration {
        /// The configuration.
        configuration: Box<Configuration>,
        /// Its text.
        text: String,
    },
    /// The kernel's tables are others.
    Kernel(Batch),
    /// A port got or lost its link.
    Link {
        /// The port, an index into the ports of the configuration.
        port: usize,
        /// Whether it has link.
        is_up: bool,
    },
    /// Backends were set at run time.
    Backends(Vec<BackendChange>),
    /// Pins were set or removed.
    Pins(PinChange),
    /// A defect.
    #[cfg(test)]
    Panic,
}

/// Why a change has not taken effect, or not on every worker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A restart alone can change what the configuration changes.
    #[error("these keys need a restart to change; nothing has changed")]
    NeedsRestart(Vec<String>),
    /// There are too few ids.
    #[error(transparent)]
    Ids(#[from] ids::Error),
    /// Some worker has not loaded the tables in time.
    #[error(
        "generation {generation} is published, but not every worker runs it after {} s",
        limit.as_secs_f64()
    )]
    NotInForce {
        /// The generation of the tables.
        generation: u64,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The daemon stops, and nothing waits for the workers any more.
    #[error(
        "generation {generation} is published, but the daemon stops before every worker runs it"
    )]
    Abandoned {
        /// The generation of the tables.
        generation: u64,
    },
    /// The manager failed on the change and goes on without it, or it has stopped.
    #[error("the daemon failed on this change, see its log; nothing has changed")]
    Failed,
}

impl Error {
    /// Whether the change is published, and stays.
    pub fn is_published(&self) -> bool {
        match self {
            Error::NotInForce { .. } | Error::Abandoned { .. } => true,
            Error::NeedsRestart(_) | Error::Ids(_) | Error::Failed => false,
        }
    }
}

/// The generation that is in force on every worker with the change, or why there is none.
pub type Outcome = Result<u64, Error>;

/// A change on its way, and who waits for it.
#[derive(Debug)]
pub(super) enum Message {
    Change {
        change: Change,
        /// Where the outcome goes. Nobody need wait for it.
        reply: Sender<Outcome>,
        /// Dropped once the change is published or refused.
        turn: Turning,
    },
    Stop,
}

/// What a publication of a configuration replaced, and what by.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// What was published before.
    pub before: Arc<Published>,
    /// What is published with the change.
    pub after: Arc<Published>,
}

/// The manager's side of a [`Turn`].
#[derive(Debug)]
pub(super) struct Turning {
    _ends_it: Sender<()>,
    replaced: Arc<OnceLock<Replaced>>,
}

impl Turning {
    /// Tells what the change replaced.
    pub(super) fn replaced(&self, replaced: Replaced) {
        // A change is published once.
        let _ = self.replaced.set(replaced);
    }
}

/// Sends changes to the manager. They are carried out in the order in which they were sent.
#[derive(Clone, Debug)]
pub struct Changes(pub(super) Sender<Message>);

impl Changes {
    /// Sends a change.
    pub fn send(&self, change: Change) -> Sent {
        let ((reply, outcome), (turn, ended)) = (bounded(1), bounded(0));
        let replaced = Arc::default();
        let turn = Turning { _ends_it: turn, replaced: Arc::clone(&replaced) };
        // A manager that has stopped drops the message, and with it both senders.
        let _ = self.0.send(Message::Change { change, reply, turn });
        Sent { outcome, turn: Turn(ended), replaced }
    }
}

/// A change that was sent.
#[derive(Debug)]
pub struct Sent {
    outcome: Receiver<Outcome>,
    turn: Turn,
    replaced: Arc<OnceLock<Replaced>>,
}

/// The time until a change is published or refused.
#[derive(Clone, Debug)]
pub struct Turn(Receiver<()>);

impl Turn {
    /// Waits until then.
    pub fn wait(self) {
        // Nothing is ever sent; the sender is dropped.
        let _ = self.0.recv();
    }
}

impl Sent {
    /// The time until the change is published or refused.
    pub fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// What the change replaced, if it is a configuration that was published.
    pub fn replaced(&self) -> Option<Replaced> {
        self.replaced.get().cloned()
    }

    /// Waits until the change is in force on every worker, or has failed.
    pub fn outcome(&self) -> Outcome {
        // A manager that fails, or has stopped, drops the reply's sender.
        self.outcome.recv().unwrap_or(Err(Error::Failed))
    }
}
