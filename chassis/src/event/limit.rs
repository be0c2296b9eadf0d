//! How many events of a kind the log gets: [`BURST`] at once, then [`PER_SECOND`]. And how many attempts of clients are
//! recorded at all: [`BURST`] at once, then one a second.
//!
//! Packets can cause some kinds at any rate: a link that flaps, a neighbour that moves. The ring gets every event, but
//! not every attempt: a client that may only read could otherwise drive all else out of the ring.

use std::time::{Duration, Instant};

use guideway_api::{ChangeOutcome, Happening};
use parking_lot::Mutex;

use crate::peer::Access;

/// Lines of a kind, or attempts, at once.
pub(super) const BURST: u32 = 20;
/// Lines of a kind a second after that.
pub(super) const PER_SECOND: u32 = 10;

/// The time after which a line more may be written.
const EACH: Duration = Duration::from_millis(1000 / PER_SECOND as u64);

/// The time after which an attempt more may be recorded.
const EACH_ATTEMPT: Duration = Duration::from_secs(1);

/// What a client that may only read can cause at any rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// A change that is refused.
    Change,
    /// A hello.
    Hello,
}

/// The limits of all attempts, by attempt and by access: readers do not use up what those have that may do everything.
#[derive(Debug, Default)]
pub(super) struct Attempts([[Mutex<Limit>; 2]; 2]);

impl Attempts {
    /// Whether an attempt at this time is recorded: then the number of those before it that were not.
    pub(super) fn take(&self, attempt: Attempt, access: Access, now: Instant) -> Option<u64> {
        self.0[attempt as usize][access as usize].lock().take(EACH_ATTEMPT, now)
    }
}

/// The limits of all kinds.
#[derive(Debug)]
pub(super) struct Limits(Vec<Mutex<Limit>>);

#[derive(Debug, Default)]
struct Limit {
    /// When the whole burst is free again; `None` before the first event.
    free: Option<Instant>,
    /// Events that were left out since the last one.
    left_out: u64,
}

impl Limit {
    /// Whether an event passes, if one may in each such time: then the number of those left out before it.
    fn take(&mut self, each: Duration, now: Instant) -> Option<u64> {
        let free = self.free.map_or(now, |free| free.max(now));
        if free - now > each * (BURST - 1) {
            self.left_out += 1;
            return None;
        }
        self.free = Some(free + each);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits(Happening::KINDS.iter().map(|_| Mutex::default()).collect())
    }
}

impl Limits {
    /// Whether the log gets this event at this time: then the number of those left out before it.
    pub(super) fn take(&self, happening: &Happening, now: Instant) -> Option<u64> {
        // The audit trail is whole. Anybody can try in vain.
        if matches!(happening, Happening::Changed { outcome, .. } if *outcome != ChangeOutcome::Refused)
        {
            return Some(0);
        }
        self.0.get(happening.index())?.lock().take(EACH, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(port: &str) -> Happening {
        Happening::LinkUp { port: port.to_owned() }
    }

    #[test]
    fn a_burst_passes_then_some_a_second_and_the_next_line_has_the_rest() {
        let (limits, begin) = (Limits::default(), Instant::now());
        let passed = |count: u32, at: Duration| -> Vec<u64> {
            (0..count).filter_map(|_| limits.take(&link("edge0"), begin + at)).collect()
        };
        assert_eq!(passed(50, Duration::ZERO), [0; 20]);
        let other = Happening::LinkDown { port: "edge0".into() };
        assert_eq!(limits.take(&other, begin), Some(0), "each kind has a limit of its own");
        assert_eq!(passed(50, Duration::from_secs(1)), [&[30][..], &[0; 9]].concat());
        assert_eq!(passed(50, Duration::from_secs(60)), [&[40][..], &[0; 19]].concat());
    }

    #[test]
    fn what_was_changed_is_always_logged() {
        let changed = |outcome: ChangeOutcome| Happening::Changed {
            uid: 0,
            pid: 1,
            process: "guidewayctl".into(),
            request: "config_apply".into(),
            before: String::new(),
            after: String::new(),
            outcome,
            reason: None,
            error: (outcome != ChangeOutcome::Applied).then(|| "an error".to_owned()),
            unrecorded: 0,
        };
        let (limits, now) = (Limits::default(), Instant::now());
        let taken = |happening: Happening| {
            (0..100).filter(|_| limits.take(&happening, now).is_some()).count()
        };
        assert_eq!(taken(changed(ChangeOutcome::Applied)), 100);
        assert_eq!(taken(changed(ChangeOutcome::Late)), 100, "it is published");
        assert_eq!(taken(changed(ChangeOutcome::Refused)), 20, "anybody can try");
    }
}
