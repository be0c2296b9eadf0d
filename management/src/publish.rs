//! The hand-over to the workers: swap, retire, release.
//!
//! A [`Publisher`] has one owner, the publishing thread. Readers load the value in force from the shared pointer and
//! keep a reference while they use it. A replaced value is retired: the publisher holds it until nobody else does. So
//! a reader never frees a value, which for large tables would take milliseconds.
//!
//! `tests/publish_model.rs` includes this file and puts loom's types in place of those in `sync`.

use super::sync::{Arc, ArcSwap};

/// The publishing end.
#[derive(Debug)]
pub(crate) struct Publisher<T> {
    shared: Arc<ArcSwap<T>>,
    retired: Vec<Arc<T>>,
}

impl<T> Publisher<T> {
    /// A publisher with a first value in force.
    pub(crate) fn new(first: Arc<T>) -> Publisher<T> {
        Publisher { shared: Arc::new(ArcSwap::new(first)), retired: Vec::new() }
    }

    /// The pointer from which readers load the value in force.
    pub(crate) fn shared(&self) -> &Arc<ArcSwap<T>> {
        &self.shared
    }

    /// Puts a value in force and retires the one before.
    pub(crate) fn publish(&mut self, next: Arc<T>) {
        // After the swap no reader gets the old value any more, so its count only falls.
        let old = self.shared.swap(next);
        self.retired.push(old);
    }

    /// Frees the retired values that nobody else holds. Returns whether some are still held.
    pub(crate) fn release(&mut self) -> bool {
        self.retired.retain(|value| Arc::strong_count(value) > 1);
        !self.retired.is_empty()
    }
}
