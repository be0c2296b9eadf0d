//! Which level of a pool serves.

use guideway_config::{OnEmpty, Pool};

use super::backend::{BackendStanding, Next};
use crate::state::settings::Wanted;
use guideway_chassis::wall::Wall;

/// The standing of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStanding {
    /// Its own backends, in the configuration's order.
    pub backends: Vec<BackendStanding>,
    /// Whose backends get new flows.
    pub serving: PoolServing,
    /// For each level that is better than the one that serves: from when on its backends have been enough to serve
    /// again.
    pub recovering: Vec<Option<Wall>>,
    /// The active backends of level 0 with a weight, which the pool needs [`min_active`](guideway_config::Pool::min_active) of.
    pub active: usize,
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

/// Which backends of a pool get new flows, and what that follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) serving: PoolServing,
    pub(super) recovering: Vec<Option<Wall>>,
    pub(super) active: usize,
}

/// What can serve in a pool now.
struct Able {
    /// The active backends with a weight, by level.
    active: Vec<usize>,
    /// Whether each level has as many as its pool needs.
    is_enough: Vec<bool>,
    /// Whether level 0 has a backend with a weight that is down.
    has_down: bool,
}

impl Able {
    fn new<'a>(
        (index, pool): (usize, &Pool),
        pools: &[Pool],
        backends: impl Fn(usize) -> &'a [BackendStanding],
    ) -> Able {
        let mut active = vec![0; pool.levels.len()];
        let mut has_down = false;
        for inclusion in pool.choosable(index) {
            let backend = &backends(inclusion.pool)[inclusion.backend];
            match backend.state {
                _ if backend.weight == 0 => {}
                Wanted::Active => active[inclusion.level] += 1,
                Wanted::Down => has_down |= inclusion.level == 0,
                Wanted::Draining | Wanted::Disabled => {}
            }
        }
        let needed = pool.levels.iter().map(|&level| pools[level].min_active);
        let is_enough = active.iter().zip(needed).map(|(&active, needed)| active >= needed);
        Able { is_enough: is_enough.collect(), active, has_down }
    }
}

/// Which level of a pool serves, and when that will be another one by itself. `before` is `None` at the start.
/// [`Level::recovering`] of `before` is by the pool's levels now.
pub(super) fn settle<'a>(
    before: Option<&Level>,
    index: usize,
    pools: &[Pool],
    backends: impl Fn(usize) -> &'a [BackendStanding],
    now: Wall,
) -> (Level, Option<Wall>) {
    let pool = &pools[index];
    let able = Able::new((index, pool), pools, backends);
    let in_use = before.and_then(|before| match before.serving {
        PoolServing::Level(level) if able.active[level] > 0 => Some(level),
        _ => None,
    });
    // Since when a better level than the one in use has been enough.
    let since = |level: usize| {
        let known = before.and_then(|before| before.recovering.get(level).copied().flatten());
        able.is_enough[level].then(|| known.unwrap_or(now).min(now))
    };
    let end = |level: usize| since(level).map(|s| s.after(pools[pool.levels[level]].backup_hold));
    let is_back = |&level: &usize| end(level).is_some_and(|end| end <= now);
    let level = match in_use {
        Some(level) if able.is_enough[level] => Some((0..level).find(is_back).unwrap_or(level)),
        _ => {
            let enough = able.is_enough.iter().position(|&is_enough| is_enough);
            enough.or_else(|| able.active.iter().position(|&active| active > 0))
        }
    };
    let serving = match level {
        Some(level) => PoolServing::Level(level),
        None if pool.on_empty == OnEmpty::All && able.has_down => PoolServing::Down,
        None => PoolServing::Nobody,
    };
    let mut next = Next::default();
    let better = 0..level.unwrap_or(0);
    better.clone().filter_map(end).for_each(|end| next.at(end));
    let recovering = better.map(since).collect();
    (Level { serving, recovering, active: able.active[0] }, next.0)
}
