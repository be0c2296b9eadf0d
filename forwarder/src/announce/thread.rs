//! The thread that opens the interface and keeps it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use guideway_api::AnnouncingState;
use guideway_core::stats::Reader;
use guideway_management::daemon::{Announcing, Daemon};
use signal_hook::consts::SIGTERM;
use signal_hook::low_level::raise;
use tracing::error;

use super::keeper::Keeper;
use super::links::{HasLink, Links};

/// How often the thread looks whether every worker forwards.
const PERIOD: Duration = Duration::from_millis(2);

/// The running thread. Dropping the handle withdraws all addresses and ends the thread.
pub struct Handle {
    /// Dropped, it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    has_failed: Arc<AtomicBool>,
    /// Dropped last: a driver that does not return must not keep addresses from being withdrawn.
    _links: Links,
}

/// Opens the interface that `shown` names once every worker forwards, and keeps it until the handle is dropped. If it cannot
/// be opened, the process gets a `SIGTERM`: a node that announces nothing is of no use, and whoever started it hears of it.
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(
    daemon: Arc<Daemon>,
    shown: Arc<Announcing>,
    workers: Vec<Reader>,
) -> io::Result<Handle> {
    let (stop, stopped) = bounded(0);
    let links = Links::start(Arc::clone(&daemon))?;
    let has_link = links.has_link();
    let has_failed = Arc::new(AtomicBool::new(false));
    let failed = Arc::clone(&has_failed);
    let work = move || {
        let _end = Ended(Arc::clone(&shown));
        if !keep(daemon, shown, (workers, has_link), &stopped) {
            failed.store(true, Ordering::Release);
            // The log has why. If the signal cannot be raised, the state of the interface says it too.
            let _ = raise(SIGTERM);
            let _ = stopped.recv();
        }
    };
    let thread = thread::Builder::new().name("announce".into()).spawn(work)?;
    Ok(Handle { stop: Some(stop), thread: Some(thread), has_failed, _links: links })
}

impl Handle {
    /// Withdraws all addresses, and ends the thread. Returns once the kernel has removed the routes.
    pub fn withdraw(&mut self) {
        self.stop = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that keeps the interface of the virtual addresses panicked");
        }
    }

    /// Whether the interface could not be opened.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Returns whether the interface could be opened.
fn keep(
    daemon: Arc<Daemon>,
    shown: Arc<Announcing>,
    (workers, has_link): (Vec<Reader>, HasLink),
    stopped: &Receiver<()>,
) -> bool {
    let is_over = |next| stopped.recv_deadline(next) != Err(RecvTimeoutError::Timeout);
    while daemon.in_force().is_none() || has_link.now().is_none() {
        if is_over(Instant::now() + PERIOD) {
            return true;
        }
    }
    let mut keeper = match Keeper::open(daemon, shown, workers, has_link) {
        Ok(keeper) => keeper,
        Err(error) => {
            error!("announce.interface: {error}");
            return false;
        }
    };
    let mut next = Instant::now();
    loop {
        // After a delay there is nothing to be made up for.
        next = (next + keeper.look()).max(Instant::now());
        if is_over(next) {
            keeper.close();
            return true;
        }
    }
}

/// Shows that there is no interface once the thread has ended, even by a panic.
struct Ended(Arc<Announcing>);

impl Drop for Ended {
    fn drop(&mut self) {
        let state =
            if thread::panicking() { AnnouncingState::Removed } else { AnnouncingState::Stopping };
        self.0.set_state(state);
    }
}
