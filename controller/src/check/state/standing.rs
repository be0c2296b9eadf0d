//! What the results of one target make of it.
//!
//! | state | a success | a success with a sign to drain | a failure |
//! |---|---|---|---|
//! | unknown | up | draining | down |
//! | up | up | draining at once | down after `fall` in a row |
//! | draining | up at once | draining | down after `fall` in a row |
//! | down | up after `rise` in a row | draining, if it is the last of `rise` in a row | down |
//!
//! A sign to drain needs no repetition: the server works, and says itself what it wants. A server that is down must
//! first show that it works. `SOCKERR` changes nothing, not even the counts: the probe did not reach the server.

use std::collections::VecDeque;
use std::sync::Arc;

use guideway_api::{CheckResult, CheckState};
use guideway_chassis::wall::Wall;
use guideway_config::{Check, InitialState};

use super::change::{Pace, ProbeResult, reason};

/// Results of a target that are kept for listings.
pub(super) const KEPT_RESULTS: usize = 20;

/// What is known of a target.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) state: CheckState,
    pub(super) since: Wall,
    /// Results in a row that speak against the state.
    pub(super) against: u32,
    /// Why it is in this state.
    pub(super) reason: Arc<str>,
    /// The oldest first.
    results: VecDeque<(Wall, ProbeResult)>,
}

impl Standing {
    /// A target without results.
    pub(super) fn new(check: &Check, initial: InitialState, now: Wall) -> Standing {
        let state = match initial {
            InitialState::Unknown => CheckState::Unknown,
            InitialState::Up => CheckState::Up,
            InitialState::Down => CheckState::Down,
        };
        let reason = reason(&check.name, "not checked yet");
        Standing { state, since: now, against: 0, reason, results: VecDeque::new() }
    }

    /// The same for an edited check: its own results have to change the state.
    pub(super) fn edited(&self) -> Standing {
        Standing { against: 0, ..self.clone() }
    }

    /// Keeps a result for listings.
    pub(super) fn keep(&mut self, result: ProbeResult, now: Wall) {
        if self.results.len() == KEPT_RESULTS {
            self.results.pop_front();
        }
        self.results.push_back((now, result));
    }

    /// Follows a result. Returns the state before, if it is another now.
    pub(super) fn follow(
        &mut self,
        check: &Check,
        result: &ProbeResult,
        now: Wall,
    ) -> Option<CheckState> {
        let says = result.says()?;
        let works = |state| matches!(state, CheckState::Up | CheckState::Draining);
        let is_against = self.state != CheckState::Unknown && works(self.state) != works(says);
        if is_against {
            self.against = self.against.saturating_add(1);
            let enough = if works(says) { check.rise } else { check.fall };
            if self.against < enough {
                return None;
            }
        }
        self.against = 0;
        let from = std::mem::replace(&mut self.state, says);
        (from != says).then(|| {
            self.since = now;
            self.reason = result.reason(&check.name);
            from
        })
    }

    /// What interval the next probe takes.
    pub(super) fn pace(&self) -> Pace {
        match self.state {
            _ if self.against > 0 => Pace::Fast,
            CheckState::Down => Pace::Down,
            CheckState::Unknown | CheckState::Up | CheckState::Draining => Pace::Normal,
        }
    }

    /// The last results, the newest first.
    pub(super) fn results(&self) -> impl Iterator<Item = CheckResult> {
        self.results.iter().rev().map(|(time, result)| result.listed(*time))
    }
}
