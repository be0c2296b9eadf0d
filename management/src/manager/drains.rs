//! Backends that drain: when their last flow is gone, and when the time of a drain is over.
//!
//! Workers count live flows by id. A count of 0 says something only once every worker runs the tables by which the
//! backend gets no new flows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_api::Happening;
use guideway_config::DrainThen;
use guideway_core::balancer::id::BackendId;

use crate::compile::Compiled;
use crate::progress::Progress;
use crate::state::Wanted;
use crate::state::standing::Standing;
use guideway_chassis::wall::Wall;

/// Backends whose events one look records; the others wait for the next.
const AT_ONCE: usize = 1_000;

/// How often to look.
pub(super) const PERIOD: Duration = Duration::from_millis(200);

/// The backends that drain.
#[derive(Debug, Default)]
pub(super) struct Drains {
    backends: Vec<Drain>,
    /// When somebody looked last; `None` if a drain has begun since then.
    looked: Option<Instant>,
}

/// A backend that drains.
#[derive(Debug)]
struct Drain {
    pool: String,
    backend: String,
    address: IpAddr,
    since: Wall,
    /// The tables by which it gets no new flows.
    generation: u64,
    /// Its ids, one for each pool that chooses it.
    ids: Vec<BackendId>,
    /// After how long the time of its drain is over for the flows of some services, and what happens to them then.
    ends: Vec<End>,
    /// The ends that have come.
    come: Vec<End>,
    /// Whether its last flow is gone.
    is_over: bool,
}

type End = (Duration, DrainThen);

impl Drains {
    /// Whether some backend still drains.
    pub(super) fn is_watching(&self) -> bool {
        self.backends.iter().any(|drain| !drain.is_over)
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= PERIOD) && self.is_watching()
    }

    /// Follows a publication.
    pub(super) fn follow(&mut self, before: Option<&Compiled>, after: &Compiled, now: Wall) {
        let state = &after.state;
        let configuration = &state.intent.configuration;
        let is_same = before.is_some_and(|before| {
            Arc::ptr_eq(&before.state.intent.configuration, configuration)
                && before.state.standing.has_pools_of(&state.standing)
        });
        if is_same {
            return;
        }
        let known = std::mem::take(&mut self.backends).into_iter();
        let mut known: HashMap<_, _> =
            known.map(|drain| ((drain.pool.clone(), drain.address), drain)).collect();
        for (index, (pool, standing)) in
            configuration.pools.iter().zip(&state.standing.pools).enumerate()
        {
            let backends = pool.backends.iter().zip(&standing.backends).enumerate();
            for (n, (backend, standing)) in backends {
                if standing.state != Wanted::Draining {
                    continue;
                }
                let since = standing.since;
                let before = known.remove(&(pool.name.clone(), backend.address));
                let before = before.filter(|drain| drain.since == since);
                let ends = ends(&state.standing, index);
                let (generation, come, is_over) = match before {
                    Some(drain) => (drain.generation, drain.come, drain.is_over),
                    // Those of a drain that an earlier run began are its events.
                    None => {
                        self.looked = None;
                        let come =
                            ends.iter().copied().filter(|&(after, _)| since.after(after) <= now);
                        (after.tables.generation(), come.collect(), false)
                    }
                };
                self.backends.push(Drain {
                    pool: pool.name.clone(),
                    backend: backend.name.clone(),
                    address: backend.address,
                    since,
                    generation,
                    ids: after.ids.of_backend(index, n).collect(),
                    ends,
                    come,
                    is_over,
                });
            }
        }
    }

    /// Records which drains have come to an end. `live` counts the flows of an id.
    pub(super) fn look(
        &mut self,
        progress: Progress,
        now: Wall,
        live: impl Fn(BackendId) -> u64,
        mut event: impl FnMut(Happening),
    ) {
        self.looked = Some(Instant::now());
        let watched = self.backends.iter_mut().filter(|drain| !drain.is_over);
        let mut recorded = 0;
        for drain in watched {
            if recorded >= AT_ONCE {
                return;
            }
            let flows = drain.ids.iter().map(|&id| live(id)).fold(0, u64::wrapping_add);
            let new: Vec<End> =
                drain.ends.iter().copied().filter(|end| !drain.come.contains(end)).collect();
            for end @ (after, then) in new {
                if drain.since.after(after) > now {
                    continue;
                }
                drain.come.push(end);
                recorded += 1;
                event(Happening::DrainTimeout {
                    pool: drain.pool.clone(),
                    backend: drain.backend.clone(),
                    address: drain.address,
                    then: name(then).to_owned(),
                    flows,
                });
            }
            if flows == 0 && progress.generation >= drain.generation {
                drain.is_over = true;
                recorded += 1;
                event(Happening::BackendDrained {
                    pool: drain.pool.clone(),
                    backend: drain.backend.clone(),
                    address: drain.address,
                    seconds: now.since(drain.since).as_secs(),
                });
            }
        }
    }
}

/// When drains of a pool's backends end for the flows of some services.
fn ends(standing: &Standing, pool: usize) -> Vec<End> {
    let mut ends: Vec<End> = Vec::new();
    for (_, policy) in standing.plan().policies_of(pool) {
        if let Some(after) = policy.drain
            && !ends.contains(&(after, policy.drain_then))
        {
            ends.push((after, policy.drain_then));
        }
    }
    ends
}

fn name(then: DrainThen) -> &'static str {
    match then {
        DrainThen::Move => "move",
        DrainThen::Reset => "reset",
        DrainThen::Keep => "keep",
    }
}
