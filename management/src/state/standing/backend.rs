//! The standing of one backend.

use std::sync::Arc;
use std::time::Duration;

use guideway_api::Source;
use guideway_config::{DrainThen, Policy, Pool};
use guideway_core::balancer::backend::Leaving;
use guideway_core::balancer::id::PolicyIndex;

use super::slow_start::{self, WHOLE};
use crate::state::settings::{Resolved, Wanted};
use guideway_chassis::wall::Wall;

/// The standing of a backend in the pool that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStanding {
    /// Its state.
    pub state: Wanted,
    /// When that state began.
    pub since: Wall,
    /// Who set the state.
    pub source: Source,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// Its weight.
    pub weight: u32,
    /// Who set the weight.
    pub weight_source: Source,
    /// Why.
    pub weight_reason: Option<Arc<str>>,
    /// The part of its weight that is in force, of [`WHOLE`]: less during a slow start.
    pub share: u32,
    /// The flows that leave it, while it drains or is down.
    pub leaving: Leaving,
}

/// The time of settling, and that of settling before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) before: Wall,
    pub(super) now: Wall,
}

/// The standing of a backend, and when it will be another one by itself. `before` is `None` at the start and for a
/// backend that a configuration adds: such a backend has no slow start.
pub(super) fn settle<'a>(
    before: Option<&BackendStanding>,
    resolved: Resolved,
    pool: &Pool,
    policies: impl Iterator<Item = (PolicyIndex, &'a Policy)>,
    times: Times,
) -> (BackendStanding, Option<Wall>) {
    let Times { now, .. } = times;
    let since = since(before, &resolved, times);
    let mut next = Next(None);
    let mut share = WHOLE;
    if let (Some(length), Some(before)) = (pool.slow_start, before)
        && begins_slowly(before, resolved.state)
        && let Some((part, end)) = slow_start::share(length, pool.slow_start_curve, since, now)
    {
        share = part;
        next.at(end);
    }
    let mut leaving = Leaving::NONE;
    // Whether a time has passed since the state began. If not, the standing will be another one then.
    let mut is_over = |duration: Duration| {
        let end = since.after(duration);
        let is_over = end <= now;
        if !is_over {
            next.at(end);
        }
        is_over
    };
    match resolved.state {
        Wanted::Active | Wanted::Disabled => {}
        Wanted::Down => {
            for (index, policy) in policies {
                if policy.keep_down.is_some_and(&mut is_over) {
                    leaving.moved = leaving.moved.with(index);
                }
            }
        }
        Wanted::Draining => {
            for (index, policy) in policies {
                if policy.drain.is_some_and(&mut is_over) {
                    match policy.drain_then {
                        DrainThen::Move => leaving.moved = leaving.moved.with(index),
                        DrainThen::Reset => leaving.reset = leaving.reset.with(index),
                        DrainThen::Keep => {}
                    }
                }
            }
        }
    }
    let standing = BackendStanding {
        state: resolved.state,
        since,
        source: resolved.source,
        reason: resolved.reason,
        weight: resolved.weight,
        weight_source: resolved.weight_source,
        weight_reason: resolved.weight_reason,
        share,
        leaving,
    };
    (standing, next.0)
}

/// When the state began. A setting that has been made since the last settling tells it; any other began now, for it
/// was outweighed until now. A clock that was set back must not leave a beginning in the future, for which timers
/// would wait.
fn since(before: Option<&BackendStanding>, resolved: &Resolved, times: Times) -> Wall {
    let since = match before {
        None => resolved.at.unwrap_or(times.now),
        Some(before) if before.state == resolved.state => before.since,
        Some(_) => resolved.at.filter(|&at| at > times.before).unwrap_or(times.now),
    };
    since.min(times.now)
}

/// Whether a backend that is in this state now begins slowly, or goes on to.
fn begins_slowly(before: &BackendStanding, now: Wanted) -> bool {
    let began = match before.state {
        Wanted::Down | Wanted::Disabled => true,
        Wanted::Active => before.share < WHOLE,
        Wanted::Draining => false,
    };
    began && now == Wanted::Active
}

/// The earliest of some times.
#[derive(Debug, Default)]
pub(super) struct Next(pub(super) Option<Wall>);

impl Next {
    pub(super) fn at(&mut self, time: Wall) {
        self.0 = Some(self.0.map_or(time, |next| next.min(time)));
    }
}
