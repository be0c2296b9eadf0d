//! Whether a port has a link, asked by a thread of its own: a driver that does not return keeps the guard from nothing.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use guideway_management::daemon::Daemon;
use parking_lot::Mutex;
use tracing::error;

/// From one question to the next.
const PERIOD: Duration = Duration::from_millis(50);

/// The last answer; none before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct HasLink(Arc<Mutex<Option<bool>>>);

impl HasLink {
    /// Whether a port had a link when the drivers last answered. `None` if they have not answered yet.
    pub(super) fn now(&self) -> Option<bool> {
        *self.0.lock()
    }
}

/// The running thread. Dropping it waits for the drivers.
pub(super) struct Links {
    has_link: HasLink,
    /// Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Links {
    /// Asks the daemon's ports from now on.
    ///
    /// # Errors
    /// If the operating system refuses a thread.
    pub(super) fn start(daemon: Arc<Daemon>) -> io::Result<Links> {
        let has_link = HasLink::default();
        let (stop, stopped) = bounded(0);
        let answer = has_link.clone();
        let ask = move || ask(&daemon, &answer, &stopped);
        let thread = thread::Builder::new().name("announce-links".into()).spawn(ask)?;
        Ok(Links { has_link, stop: Some(stop), thread: Some(thread) })
    }

    /// The last answer, for another thread.
    pub(super) fn has_link(&self) -> HasLink {
        self.has_link.clone()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that asks for the links panicked");
        }
    }
}

fn ask(daemon: &Daemon, answer: &HasLink, stopped: &Receiver<()>) {
    loop {
        let has_link = daemon.ports_up().any(|is_up| is_up);
        *answer.0.lock() = Some(has_link);
        if stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}
