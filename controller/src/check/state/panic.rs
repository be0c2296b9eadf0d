//! Panic: a pool that loses too many backends at once keeps them, since the fault is then more likely the network's or
//! the node's own than that of all the servers.
//!
//! It begins when more than the threshold of the pool's checked backends have failed within the window and still fail.
//! From then on the pool keeps these, and every one that fails later. Those that had failed before stay down. It ends
//! when no more than the threshold of the backends are kept: the others work again, or are gone.
//!
//! The window is as long as a fault that strikes all backends at one moment may take to show with each of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_config::Check;

/// The least window.
const MIN_WINDOW: Duration = Duration::from_secs(5);

/// A pool of which backends are checked. Members are numbers here.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) name: Arc<str>,
    /// Its checked backends.
    pub(super) backends: usize,
    /// In percent.
    threshold: u8,
    window: Duration,
    pub(super) is_panic: bool,
    /// Members that fail, and began to do so within the window.
    recent: BTreeSet<(Instant, usize)>,
    /// Members that fail and are kept, while there is panic.
    kept: BTreeSet<usize>,
}

/// What became of a pool's panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It began. The pool keeps these.
    Panic(Vec<usize>),
    /// It ended. These are down.
    Calm(Vec<usize>),
}

/// The longest time from a fault until a check finds a backend down: `fall` intervals, each as long as jitter makes it,
/// and the timeout of the last probe.
fn time_to_fall(check: &Check) -> Duration {
    let interval = check.interval.max(check.fast_interval);
    let longest = interval.saturating_add(interval / 100 * u32::from(check.jitter));
    longest.saturating_mul(check.fall).saturating_add(check.timeout)
}

impl PoolState {
    pub(super) fn new(name: Arc<str>, backends: usize, threshold: u8) -> PoolState {
        PoolState {
            name,
            backends,
            threshold,
            window: MIN_WINDOW,
            is_panic: false,
            recent: BTreeSet::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Backends of the pool have this check.
    pub(super) fn has_check(&mut self, check: &Check) {
        self.window = self.window.max(time_to_fall(check));
    }

    /// Takes over what an earlier configuration has left of a failing member.
    pub(super) fn restore(&mut self, member: usize, fell: Option<Instant>, is_kept: bool) {
        self.recent.extend(fell.map(|fell| (fell, member)));
        if is_kept {
            self.kept.insert(member);
            self.is_panic = true;
        }
    }

    /// Goes on with an earlier configuration's panic, after its members.
    pub(super) fn resume(&mut self, now: Instant) {
        self.forget(now);
        if self.is_panic {
            self.keep_recent();
        }
    }

    /// A member that worked fails.
    pub(super) fn fell(&mut self, member: usize, now: Instant) {
        self.recent.insert((now, member));
        if self.is_panic {
            self.kept.insert(member);
        }
    }

    /// A member works again.
    pub(super) fn recovered(&mut self, member: usize, fell: Option<Instant>) {
        if let Some(fell) = fell {
            self.recent.remove(&(fell, member));
        }
        self.kept.remove(&member);
    }

    pub(super) fn is_kept(&self, member: usize) -> bool {
        self.kept.contains(&member)
    }

    /// The number of members that are kept.
    pub(super) fn failing(&self) -> usize {
        self.kept.len()
    }

    /// Begins or ends the panic, after members have failed or recovered.
    pub(super) fn settle(&mut self, now: Instant) -> Option<Turn> {
        self.forget(now);
        if self.is_panic {
            if self.is_many(self.kept.len()) {
                return None;
            }
            self.is_panic = false;
            return Some(Turn::Calm(std::mem::take(&mut self.kept).into_iter().collect()));
        }
        if !self.is_many(self.recent.len()) {
            return None;
        }
        self.is_panic = true;
        self.keep_recent();
        Some(Turn::Panic(self.kept.iter().copied().collect()))
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(fell, _)) = self.recent.first()
            && now.saturating_duration_since(fell) > self.window
        {
            self.recent.pop_first();
        }
    }

    fn keep_recent(&mut self) {
        self.kept.extend(self.recent.iter().map(|&(_, member)| member));
    }

    fn is_many(&self, failing: usize) -> bool {
        failing.saturating_mul(100) > self.backends.saturating_mul(usize::from(self.threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_compared_without_rounding() {
        let is_many = |failing, backends, threshold| {
            PoolState::new("p".into(), backends, threshold).is_many(failing)
        };
        assert!(is_many(1, 1, 50) && is_many(1, 1, 99) && !is_many(1, 1, 100));
        assert!(!is_many(1, 2, 50) && is_many(2, 2, 50));
        assert!(!is_many(1, 3, 50) && is_many(2, 3, 50));
        assert!(!is_many(2, 3, 67) && is_many(2, 3, 66));
        assert!(is_many(1, 1_000, 0) && !is_many(0, 1_000, 0) && !is_many(0, 0, 0));
        assert!(!is_many(1_000, 1_000, 100));
    }
}
