//! The handle of the thread: what others want of it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::{io, mem};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use super::{Probes, Wanted};

/// The running thread. Dropping the handle ends it, and leaves the routes.
#[derive(Debug)]
pub struct Handle {
    pub(super) order: Arc<Order>,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// What others want of the thread.
#[derive(Debug)]
pub(super) struct Order {
    wanted: Mutex<Option<Wanted>>,
    /// The newest wish about probes: none of them is a wish, too.
    probes: Mutex<Option<Option<Probes>>>,
    is_over: AtomicBool,
    /// An eventfd that can be read when there is something new.
    pub(super) wake: OwnedFd,
}

impl Order {
    pub(super) fn new() -> io::Result<Order> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (wanted, probes) = (Mutex::new(None), Mutex::new(None));
        Ok(Order { wanted, probes, is_over: AtomicBool::new(false), wake })
    }

    /// The newest wish, once.
    pub(super) fn take(&self) -> Option<Wanted> {
        mem::take(&mut *self.wanted.lock())
    }

    /// The newest wish about probes, once.
    pub(super) fn take_probes(&self) -> Option<Option<Probes>> {
        mem::take(&mut *self.probes.lock())
    }

    fn wake(&self) {
        // Fails only if the counter would overflow; then the thread is awake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Whether the handle is dropped.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl Handle {
    /// Has the kernel's routes be these. Never waits; the newest wish counts.
    pub fn want(&self, wanted: Wanted) {
        *self.order.wanted.lock() = Some(wanted);
        self.order.wake();
    }

    /// Has the kernel's rules and routes of probes be these; none if nothing is probed through a tunnel. Before the first
    /// call, those of an earlier run stay. Never waits; the newest wish counts.
    pub fn want_probes(&self, probes: Option<Probes>) {
        *self.order.probes.lock() = Some(probes);
        self.order.wake();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.order.is_over.store(true, Ordering::Release);
        self.order.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that keeps the routes panicked");
        }
    }
}
