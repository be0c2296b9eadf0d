//! The standing of everything.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use guideway_config::{self as config, Configuration};
use rustc_hash::FxHashMap;

use super::backend::{self, BackendStanding, Next, Times};
use super::plan::Plan;
use super::pool::{self, Level, PoolServing, PoolStanding};
use crate::state::intent::Intent;
use crate::state::settings::Setting;
use guideway_chassis::wall::Wall;

/// The standing of every pool. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The pools, in the configuration's order.
    pub pools: Vec<Arc<PoolStanding>>,
    /// When the standing has to be settled again; `None` if only a change does that. Later than the time of settling.
    pub next: Option<Wall>,
    /// When the standing of each pool has to be settled again.
    timers: Vec<Timers>,
    plan: Arc<Plan>,
    /// What the standing follows from, and when it was settled; `None` before the start.
    basis: Option<(Intent, Wall)>,
}

/// When a pool has to be settled again.
#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    backends: Option<Wall>,
    level: Option<Wall>,
}

impl PartialEq for Standing {
    fn eq(&self, other: &Standing) -> bool {
        self.pools == other.pools && self.next == other.next
    }
}

impl Eq for Standing {}

impl Standing {
    /// The standing of what is wanted at `now`, after the standing before.
    pub fn settle(before: &Standing, intent: &Intent, now: Wall) -> Standing {
        let configuration = &*intent.configuration;
        let known = before.basis.as_ref();
        let is_same = known.is_some_and(|(known, _)| known.has_configuration_of(intent));
        let plan = match is_same {
            true => Arc::clone(&before.plan),
            false => Arc::new(Plan::new(configuration)),
        };
        let settling = Settling { before, intent, plan: &plan, is_same, now };
        let places = settling.places();
        let mut timers = vec![Timers::default(); configuration.pools.len()];
        let settled: Vec<Option<Vec<BackendStanding>>> = (0..)
            .zip(&mut timers)
            .map(|(n, timers)| settling.backends(n, places.of(n), timers))
            .collect();
        let mut next = Next::default();
        let mut pools = Vec::with_capacity(configuration.pools.len());
        for (index, timers) in timers.iter_mut().enumerate() {
            pools.push(settling.pool(index, places.of(index), &settled, timers));
            [timers.backends, timers.level].into_iter().flatten().for_each(|time| next.at(time));
        }
        Standing { pools, next: next.0, timers, plan, basis: Some((intent.clone(), now)) }
    }

    /// What follows from the configuration alone.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When it was settled; `None` if it never was.
    pub fn settled_at(&self) -> Option<Wall> {
        self.basis.as_ref().map(|&(_, at)| at)
    }

    /// Whether tables that follow from this standing are those of the other one, found without looking at each
    /// backend.
    pub fn has_pools_of(&self, other: &Standing) -> bool {
        let is_same = |(a, b): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(a, b);
        self.pools.len() == other.pools.len() && self.pools.iter().zip(&other.pools).all(is_same)
    }
}

/// The work of settling.
struct Settling<'a> {
    before: &'a Standing,
    intent: &'a Intent,
    plan: &'a Plan,
    /// Whether the configuration is the one before.
    is_same: bool,
    now: Wall,
}

impl<'a> Settling<'a> {
    /// The place of each pool in the standing before.
    fn places(&self) -> Places {
        let Some((before, _)) = self.before.basis.as_ref().filter(|_| !self.is_same) else {
            return if self.is_same { Places::Same } else { Places::Found(FxHashMap::default()) };
        };
        let names = (0..).zip(&before.configuration.pools).map(|(n, pool)| (&*pool.name, n));
        let names: FxHashMap<&str, usize> = names.collect();
        let pools = (0..).zip(&self.intent.configuration.pools);
        let found = pools.filter_map(|(n, pool)| Some((n, *names.get(&*pool.name)?)));
        Places::Found(found.collect())
    }

    fn configuration_before(&self) -> Option<&'a Configuration> {
        self.before.basis.as_ref().map(|(intent, _)| &*intent.configuration)
    }

    /// When the standing before was settled.
    fn settled_before(&self) -> Wall {
        self.before.basis.as_ref().map_or(self.now, |&(_, at)| at)
    }

    /// The standing of a pool's own backends; `None` if it is the one before.
    fn backends(
        &self,
        index: usize,
        place: Option<usize>,
        timers: &mut Timers,
    ) -> Option<Vec<BackendStanding>> {
        let pool = &self.intent.configuration.pools[index];
        let settings = self.intent.settings_of(&pool.name);
        if self.is_same && self.now >= self.settled_before() {
            let due = self.before.timers[index].backends;
            let known =
                self.before.basis.as_ref().and_then(|(known, _)| known.settings_of(&pool.name));
            let is_known = match (settings, known) {
                (Some(settings), Some(known)) => std::ptr::eq(settings, known) || settings == known,
                (settings, known) => settings.is_none() && known.is_none(),
            };
            if is_known && due.is_none_or(|due| due > self.now) {
                timers.backends = due;
                return None;
            }
        }
        let old = place.and_then(|place| {
            let configuration = self.configuration_before()?;
            Some((&configuration.pools[place].backends[..], &self.before.pools[place].backends[..]))
        });
        let mut old = old.map(|(configured, standings)| Matched::new(configured, standings));
        let times = Times { before: self.settled_before(), now: self.now };
        let mut next = Next::default();
        let backends = pool.backends.iter().enumerate().map(|(n, backend)| {
            let setting = settings.and_then(|settings| settings.get(&backend.address));
            let resolved = Setting::resolve(setting, backend);
            let before = old.as_mut().and_then(|old| old.find(n, backend.address));
            let policies = self.plan.policies_of(index);
            let (standing, time) = backend::settle(before, resolved, pool, policies, times);
            time.into_iter().for_each(|time| next.at(time));
            standing
        });
        let backends = backends.collect();
        timers.backends = next.0;
        Some(backends)
    }

    /// The standing of a pool, given that of all backends that were `settled`.
    fn pool(
        &self,
        index: usize,
        place: Option<usize>,
        settled: &[Option<Vec<BackendStanding>>],
        timers: &mut Timers,
    ) -> Arc<PoolStanding> {
        let old = place.map(|place| &self.before.pools[place]);
        let has_other_backends = || {
            let others = self.plan.others(index).iter();
            settled[index].is_some() || others.clone().any(|&other| settled[other].is_some())
        };
        if let Some(old) = old.filter(|_| self.is_same && !has_other_backends()) {
            let due = self.before.timers[index].level;
            if due.is_none_or(|due| due > self.now) {
                timers.level = due;
                return Arc::clone(old);
            }
        }
        let pools = &self.intent.configuration.pools;
        let backends = |pool: usize| match &settled[pool] {
            Some(backends) => &backends[..],
            None => &self.before.pools[pool].backends[..],
        };
        let before = old.zip(place).and_then(|(old, place)| self.level_before(index, place, old));
        let (level, time) = pool::settle(before.as_ref(), index, pools, backends, self.now);
        timers.level = time;
        let Level { serving, recovering, active } = level;
        if let Some(old) = old
            && backends(index) == &old.backends[..]
            && (serving, active) == (old.serving, old.active)
            && recovering == old.recovering
        {
            return Arc::clone(old);
        }
        let backends = backends(index).to_vec();
        Arc::new(PoolStanding { backends, serving, recovering, active })
    }

    /// The level that served before, as a level of the pool now; `None` if the pool has it no more.
    fn level_before(&self, index: usize, place: usize, old: &PoolStanding) -> Option<Level> {
        let PoolStanding { serving, recovering, active, .. } = old;
        let (mut serving, mut recovering, active) = (*serving, recovering.clone(), *active);
        if !self.is_same {
            let names = |of: &'a Configuration, pool: usize| -> Vec<&'a str> {
                of.pools[pool].levels.iter().map(|&level| &*of.pools[level].name).collect()
            };
            let now = names(&self.intent.configuration, index);
            let before = names(self.configuration_before()?, place);
            if let PoolServing::Level(level) = &mut serving {
                *level = now.iter().position(|name| *name == before[*level])?;
            }
            let place = |name| before.iter().position(|known| known == name);
            recovering = now.iter().map(|name| *recovering.get(place(name)?)?).collect();
        }
        Some(Level { serving, recovering, active })
    }
}

/// The place of each pool in the standing before.
enum Places {
    /// The same.
    Same,
    /// These.
    Found(FxHashMap<usize, usize>),
}

impl Places {
    fn of(&self, index: usize) -> Option<usize> {
        match self {
            Places::Same => Some(index),
            Places::Found(places) => places.get(&index).copied(),
        }
    }
}

/// Finds backends of the configuration before, which mostly are where they were.
struct Matched<'a> {
    configured: &'a [config::Backend],
    standings: &'a [BackendStanding],
    by_address: Option<FxHashMap<IpAddr, usize>>,
}

impl<'a> Matched<'a> {
    fn new(configured: &'a [config::Backend], standings: &'a [BackendStanding]) -> Matched<'a> {
        Matched { configured, standings, by_address: None }
    }

    /// The standing of the backend of an address, which may be at the same index.
    fn find(&mut self, index: usize, address: IpAddr) -> Option<&'a BackendStanding> {
        let is_there =
            |index: usize| self.configured.get(index).is_some_and(|b| b.address == address);
        let found = match is_there(index) {
            true => Some(index),
            false => {
                let list = || (0..).zip(self.configured).map(|(n, b)| (b.address, n)).collect();
                self.by_address.get_or_insert_with(list).get(&address).copied()
            }
        };
        found.map(|found| &self.standings[found])
    }
}
