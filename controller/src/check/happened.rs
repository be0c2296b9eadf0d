//! Events of checks.

use std::time::Instant;

use guideway_api::{CheckVia, Happening};

use super::probe::Outcome;
use super::state::{Change, FreezeCause};
use super::target::{Target, TargetKey};

/// Changes of states that are recorded one by one, of those at the same time.
const RECORDED: usize = 100;

/// What has happened and was not told yet.
#[derive(Debug, Default)]
pub(super) struct Happened {
    happened: Vec<Happening>,
    /// States that changed meanwhile.
    states: usize,
    /// Failures that were told meanwhile.
    failures: usize,
    /// Since when states are frozen.
    frozen: Option<Instant>,
}

impl Happened {
    /// Takes note of a change, while there are so many targets, and `down` backends of the pool that it is about.
    pub(super) fn note(&mut self, change: Change, targets: usize, down: usize) {
        let happening = match change {
            Change::State { check, member, address, from, to, result } => {
                self.states += 1;
                if self.states > RECORDED {
                    return;
                }
                Happening::CheckState {
                    check: check.to_string(),
                    pool: member.pool.to_string(),
                    backend: member.backend.to_string(),
                    address,
                    from,
                    to,
                    code: Some(result.code),
                    status: result.status,
                    detail: result.detail,
                    latency_us: result.latency_us,
                }
            }
            Change::Panic { pool, failing, backends } => {
                Happening::PoolPanic { pool: pool.to_string(), failing, backends }
            }
            Change::Calm { pool } => Happening::PoolCalm { pool: pool.to_string(), failing: down },
            Change::Frozen(cause) => {
                self.frozen.get_or_insert_with(Instant::now);
                let via = (cause == FreezeCause::Interface).then_some(CheckVia::Tunnel);
                Happening::ChecksFrozen { via, cause: cause.words().to_owned() }
            }
            Change::Resumed => {
                let since = self.frozen.take().unwrap_or_else(Instant::now);
                Happening::ChecksResumed { via: None, seconds: since.elapsed().as_secs() }
            }
            // Nothing is checked.
            Change::FirstOver if targets == 0 => return,
            Change::FirstOver => Happening::ChecksFirstOver { targets },
        };
        self.happened.push(happening);
    }

    /// Takes note of a probe that failed, for a check that wants each in the log.
    pub(super) fn failed(&mut self, key: &TargetKey, target: &Target, outcome: &Outcome) {
        self.failures += 1;
        let Some(member) = target.members.first().filter(|_| self.failures <= RECORDED) else {
            return;
        };
        self.happened.push(Happening::CheckFailed {
            check: key.check.to_string(),
            pool: member.pool.to_string(),
            backend: member.backend.to_string(),
            address: key.address,
            code: outcome.code,
            status: outcome.status,
            detail: outcome.detail.clone(),
            latency_us: u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX),
        });
    }

    /// Takes note of what keeps answers from passing.
    pub(super) fn path(&mut self, interface: &str, problem: &str) {
        let (interface, problem) = (interface.to_owned(), problem.to_owned());
        self.happened.push(Happening::CheckPath { interface, problem });
    }

    /// What was not told yet.
    pub(super) fn take(&mut self) -> Vec<Happening> {
        if self.states > RECORDED {
            self.happened.push(Happening::CheckStates { backends: self.states - RECORDED });
        }
        (self.states, self.failures) = (0, 0);
        std::mem::take(&mut self.happened)
    }
}
