//! The thread that looks at the node.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::PERIOD;
use super::page::Health;
use super::round::Rounds;
use crate::daemon::Daemon;

/// A running thread. Dropping the handle ends it.
#[derive(Debug)]
pub struct Handle {
    /// Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Looks at the daemon until the handle is dropped, and leaves in `health` what is found. Drop it before the workers
/// stop, which would seem to have stalled.
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(daemon: Arc<Daemon>, health: Arc<Health>) -> io::Result<Handle> {
    let (stop, stopped) = bounded(0);
    let look = move || look(&daemon, &health, &stopped);
    let thread = thread::Builder::new().name("health".into()).spawn(look)?;
    Ok(Handle { stop: Some(stop), thread: Some(thread) })
}

fn look(daemon: &Daemon, health: &Health, stopped: &Receiver<()>) {
    let mut next = Instant::now();
    let mut rounds = Rounds::new(next);
    loop {
        let (findings, happened) = rounds.look(Instant::now(), daemon);
        health.found(findings);
        happened.into_iter().for_each(|happening| daemon.events().record(happening));
        // After a delay there is nothing to be made up for.
        next = (next + PERIOD).max(Instant::now());
        if stopped.recv_deadline(next) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that looks at the node's health panicked");
        }
    }
}
