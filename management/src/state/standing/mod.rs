//! What follows from settings and time: the state of each backend and its share, and which pools stand in for others.
//!
//! [`Standing::settle`] is a pure function of the standing before, what is wanted, and the time. It also says when the
//! standing will be another one although nothing is set.

use std::sync::Arc;

use guideway_api::Source;
use guideway_core::balancer::backend::Leaving;

use super::intent::Intent;
use super::settings::{Setting, Wanted};
use crate::wall::Wall;

/// The whole share of a backend.
pub const WHOLE: u32 = 1000;

/// The standing of every pool. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The pools, in the configuration's order.
    pub pools: Vec<Arc<PoolStanding>>,
    /// When the standing has to be settled again; `None` if only a change does that.
    pub next: Option<Wall>,
}

/// The standing of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStanding {
    /// Its own backends, in the configuration's order.
    pub backends: Vec<BackendStanding>,
    /// Whose backends get new flows.
    pub serving: PoolServing,
    /// From when on its own backends have been enough to serve again, while a backup stands in.
    pub recovering: Option<Wall>,
}

/// Which backends of a pool get new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolServing {
    /// The active ones of a level, an index into [`guideway_config::Pool::levels`].
    Level(usize),
    /// Those of level 0 that are down, since no other is left (`on_empty = "all"`).
    Down,
    /// None.
    Nobody,
}

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

impl Standing {
    /// The standing of what is wanted at `now`, after the standing before, which was that of `intent_before`.
    pub fn settle(_before: &Standing, intent: &Intent, now: Wall) -> Standing {
        let pools = intent.configuration.pools.iter().map(|pool| {
            let settings = intent.settings_of(&pool.name);
            let backends = pool.backends.iter().map(|backend| {
                let setting = settings.and_then(|settings| settings.get(&backend.address));
                let resolved = Setting::resolve(setting, backend);
                BackendStanding {
                    state: resolved.state,
                    since: resolved.at.unwrap_or(now),
                    source: resolved.source,
                    reason: resolved.reason,
                    weight: resolved.weight,
                    weight_source: resolved.weight_source,
                    weight_reason: resolved.weight_reason,
                    share: WHOLE,
                    leaving: Leaving::NONE,
                }
            });
            let backends = backends.collect();
            Arc::new(PoolStanding { backends, serving: PoolServing::Level(0), recovering: None })
        });
        Standing { pools: pools.collect(), next: None }
    }
}
