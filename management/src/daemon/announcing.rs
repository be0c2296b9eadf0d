//! The interface of the virtual addresses, as listings, pages and metrics show it.

use std::sync::atomic::{AtomicU64, Ordering};

use guideway_api as api;
use guideway_api::AnnouncingState;
use parking_lot::Mutex;

/// What the keeper of the interface says of it. Any thread may read it.
#[derive(Debug)]
pub struct Announcing {
    interface: String,
    state: Mutex<AnnouncingState>,
    dropped: AtomicU64,
}

impl Announcing {
    /// Of an interface of this name that is not made yet.
    pub fn new(interface: String) -> Announcing {
        let state = Mutex::new(AnnouncingState::Starting);
        Announcing { interface, state, dropped: AtomicU64::new(0) }
    }

    /// The name of the interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Whether it is up, or why not.
    pub fn state(&self) -> AnnouncingState {
        self.state.lock().clone()
    }

    /// Notes another state. Returns the state before.
    pub fn set_state(&self, state: AnnouncingState) -> AnnouncingState {
        std::mem::replace(&mut *self.state.lock(), state)
    }

    /// Packets that the node itself sent there, and that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Notes how many packets were dropped since the start. A number that is less than before counts for nothing.
    pub fn set_dropped(&self, dropped: u64) {
        self.dropped.fetch_max(dropped, Ordering::Relaxed);
    }

    pub(super) fn show(&self) -> api::Announcing {
        let (interface, state) = (self.interface.clone(), self.state());
        api::Announcing { interface, state, dropped: self.dropped() }
    }
}
