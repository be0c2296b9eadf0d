//! A pool: what chooses its backends, and its own backends as listings show them.

use std::sync::Arc;
use std::thread;

use guideway_config::{self as config, Choice, Hash, Inclusion, OnEmpty};
use guideway_core::balancer::backend::{Backend, Pool, Serving};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::{BackendId, PoolIndex};
use guideway_core::balancer::maglev::{self, Candidate};
use guideway_core::balancer::tables::Tables;
use rustc_hash::FxHashMap;

use super::backend::{self, CompiledBackend, Reach};
use crate::ids::Ids;
use crate::routing::Differences;
use crate::state::State;
use crate::state::standing::{BackendStanding, PoolServing, WHOLE};

/// A compiled pool.
#[derive(Clone, Debug)]
pub struct CompiledPool {
    /// Its own backends, in the configuration's order.
    pub backends: Vec<CompiledBackend>,
    /// Whose backends get new flows.
    pub serving: PoolServing,
    /// How many backends accept new flows, of all that it can choose, and have a route.
    pub active: usize,
    /// What it can choose, in the order of its ids.
    choosable: Vec<Choosable>,
    built: Built,
}

/// A backend that a pool can choose.
#[derive(Clone, Copy, Debug)]
struct Choosable {
    serving: Serving,
    has_route: bool,
}

/// What the packet path chooses from, the candidates for that, and how many slots each has.
#[derive(Clone, Debug)]
struct Built {
    choice: Choice,
    candidates: Arc<[Candidate]>,
    table: Arc<maglev::Table>,
    /// The least backend id among the candidates.
    first: u32,
    /// The number of slots of each backend id from `first` on.
    slots: Arc<[usize]>,
}

/// The tables of some pools.
#[derive(Default)]
pub(super) struct BuiltTables<'a> {
    /// By their choice and candidates.
    equal: FxHashMap<(bool, &'a [Candidate]), &'a Built>,
    /// By the name of their pool.
    named: FxHashMap<&'a str, &'a Built>,
}

impl BuiltTables<'_> {
    /// Those of compiled pools, which the configuration has in this order.
    pub(super) fn of<'a>(
        configured: &'a [config::Pool],
        pools: &'a [Arc<CompiledPool>],
    ) -> BuiltTables<'a> {
        let built = || pools.iter().map(|pool| &pool.built);
        BuiltTables {
            equal: built().map(|b| ((has_turns(b.choice), &*b.candidates), b)).collect(),
            named: configured.iter().map(|pool| &*pool.name).zip(built()).collect(),
        }
    }

    /// What chooses from these candidates.
    fn find(&self, choice: Choice, candidates: &[Candidate]) -> Option<Built> {
        let built = self.equal.get(&(has_turns(choice), candidates));
        built.map(|&built| Built { choice, ..built.clone() })
    }

    /// What is likely to choose from nearly the candidates of a pool.
    fn similar(&self, pool: &config::Pool, choice: Choice) -> Built {
        let built = self.named.get(&*pool.name).filter(|b| !has_turns(b.choice));
        built.map_or_else(|| Built::nothing(choice), |&built| Built { choice, ..built.clone() })
    }
}

/// What a pool is compiled from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) state: &'a State,
    pub(super) ids: &'a Ids,
    pub(super) index: usize,
}

impl<'a> Source<'a> {
    fn pool(&self) -> &'a config::Pool {
        &self.state.intent.configuration.pools[self.index]
    }

    fn serving(&self) -> PoolServing {
        self.state.standing.pools[self.index].serving
    }

    /// What the pool can choose, each with its id: its own backends first.
    fn included(&self) -> impl Iterator<Item = (Inclusion, BackendId)> + Clone + use<'a> {
        let ids = self.ids.backends[self.index].iter().copied();
        self.pool().choosable(self.index).zip(ids)
    }

    fn standing(&self, inclusion: &Inclusion) -> &'a BackendStanding {
        standing(self.state, inclusion)
    }

    fn record(
        &self,
        reach: Reach,
        serving: Serving,
        inclusion: &Inclusion,
        id: BackendId,
    ) -> Backend {
        reach.record(at(self.index), serving, self.standing(inclusion), self.ids.since(id))
    }
}

fn standing<'a>(state: &'a State, inclusion: &Inclusion) -> &'a BackendStanding {
    &state.standing.pools[inclusion.pool].backends[inclusion.backend]
}

/// The own backends of a pool: how packets reach them, and what listings show.
pub(super) fn own(source: Source<'_>) -> Vec<(Reach, CompiledBackend)> {
    let (state, pool) = (source.state, source.pool());
    let standings = &state.standing.pools[source.index].backends;
    let own = pool.backends.iter().zip(&source.ids.backends[source.index]).zip(standings);
    own.map(|((configured, &id), standing)| {
        backend::compile(state, pool, (configured, id), standing)
    })
    .collect()
}

/// A pool whose table may still have to be built.
pub(super) struct Draft {
    /// Its index in the configuration.
    pub(super) index: usize,
    pool: CompiledPool,
    /// What a table is to be built from; `None` if the pool has its table.
    candidates: Option<Vec<Candidate>>,
}

/// With so many slots in all, tables are built by several threads.
const MANY_SLOTS: usize = 1 << 18;
/// So many threads at the most.
const THREADS: usize = 16;

/// Builds the tables that drafts lack, on all CPUs that this thread may use. Workers poll on others.
pub(super) fn finish(hash: &Hash, mut drafts: Vec<Draft>) -> Vec<(usize, CompiledPool)> {
    let lacks_table = |draft: &&mut Draft| draft.candidates.is_some();
    let mut builds: Vec<&mut Draft> = drafts.iter_mut().filter(lacks_table).collect();
    let threads = match builds.len() * hash.table_size as usize >= MANY_SLOTS {
        true => thread::available_parallelism().map_or(1, |cpus| cpus.get().min(THREADS)),
        false => 1,
    };
    let each = builds.len().div_ceil(threads);
    let build = |drafts: &mut [&mut Draft]| drafts.iter_mut().for_each(|draft| draft.build(hash));
    let (here, others) = builds.split_at_mut(each);
    thread::scope(|scope| {
        for drafts in others.chunks_mut(each.max(1)) {
            scope.spawn(|| build(drafts));
        }
        build(here);
    });
    drafts.into_iter().map(|draft| (draft.index, draft.pool)).collect()
}

impl Draft {
    fn build(&mut self, hash: &Hash) {
        let Some(candidates) = self.candidates.take() else { return };
        self.pool.built = self.pool.built.changed(hash, candidates);
        self.pool.count_slots();
    }
}

/// Compiles a pool. `own` are the own backends of every pool. `record` gets each backend as packets of the pool see it.
/// What is `known` is not built again.
pub(super) fn compile(
    source: Source<'_>,
    own: &[Vec<(Reach, CompiledBackend)>],
    known: &BuiltTables<'_>,
    mut record: impl FnMut(BackendId, Backend),
) -> Draft {
    let choosable = source.included().map(|(inclusion, id)| {
        let (reach, _) = &own[inclusion.pool][inclusion.backend];
        let serving =
            backend::serving(source.serving(), inclusion.level, source.standing(&inclusion));
        record(id, source.record(reach.clone(), serving, &inclusion, id));
        Choosable { serving, has_route: reach.route.is_some() }
    });
    let choosable: Vec<Choosable> = choosable.collect();
    let (choice, candidates) = (source.pool().choice, candidates(source, &choosable));
    let (built, candidates) = match known.find(choice, &candidates) {
        Some(built) => (built, None),
        None => (known.similar(source.pool(), choice), Some(candidates)),
    };
    let backends = own[source.index].iter().map(|(_, shown)| shown.clone()).collect();
    let mut pool =
        CompiledPool { backends, serving: source.serving(), active: 0, choosable, built };
    pool.count_active();
    pool.count_slots();
    Draft { index: source.index, pool, candidates }
}

/// A change of routing, of which these are the differences, and of the standing.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) before: &'a State,
    /// The tables before.
    pub(super) tables: &'a Tables,
    pub(super) differences: &'a Differences,
}

impl Change<'_> {
    /// Whether it may concern own backends of a pool, or which of its backends get new flows.
    pub(super) fn concerns(&self, source: Source<'_>) -> bool {
        let standing = |state: &State| Arc::as_ptr(&state.standing.pools[source.index]);
        !self.differences.is_empty() || standing(source.state) != standing(self.before)
    }
}

impl CompiledPool {
    /// The pool as packets see it.
    pub(super) fn tables(&self, pool: &config::Pool) -> Pool {
        let resets = pool.on_empty == OnEmpty::Reset;
        Pool { maglev: Arc::clone(&self.built.table), choice: self.built.choice, resets }
    }

    /// Whether the table is the same as that of `other`.
    pub(super) fn has_table_of(&self, other: &CompiledPool) -> bool {
        Arc::ptr_eq(&self.built.table, &other.built.table)
    }

    /// Whether the pool serves new flows as it should, given its `min_active`: so many of its backends accept them, or
    /// those of a backup do, or, by `on_empty = "all"`, those that are down. Only backends with a route count.
    pub fn is_enough(&self, min_active: usize) -> bool {
        match self.serving {
            PoolServing::Level(0) => self.active >= min_active.max(1),
            PoolServing::Level(_) | PoolServing::Down => self.active > 0,
            PoolServing::Nobody => false,
        }
    }

    /// The share of a backend in the new flows of the pool that has it, from 0 to 1.
    pub fn share(&self, backend: &CompiledBackend) -> f64 {
        let slots = self.built.table.slots().len().max(1);
        backend.slots as f64 / slots as f64
    }

    /// How packets reach an own backend, and what listings show; `None` if a change does not concern it.
    fn changed_own(
        &self,
        source: Source<'_>,
        change: &Change<'_>,
        n: usize,
    ) -> Option<(Reach, CompiledBackend)> {
        let (state, pool, before) = (source.state, source.pool(), &self.backends[n]);
        let address = pool.backends[n].address;
        let is_moved = change.differences.concern(address, &before.next_hop)
            && state.observation.routing.way(address) != before.next_hop;
        let standing = &state.standing.pools[source.index].backends[n];
        if !is_moved && *standing == before.standing {
            return None;
        }
        let configured = (&pool.backends[n], before.id);
        let (reach, mut shown) = backend::compile(state, pool, configured, standing);
        shown.slots = before.slots;
        Some((reach, shown))
    }

    /// How packets reach own backends that a change concerns.
    pub(super) fn changed_reaches(
        &self,
        source: Source<'_>,
        change: &Change<'_>,
    ) -> impl Iterator<Item = (BackendId, Reach)> {
        let changed =
            (0..self.backends.len()).filter_map(move |n| self.changed_own(source, change, n));
        changed.map(|(reach, shown)| (shown.id, reach))
    }

    /// The pool after a change, given how packets reach backends of `others` that the change concerns, by the id in
    /// their own pool; `None` if it is the same. `record` gets each backend that differs.
    pub(super) fn changed(
        &self,
        source: Source<'_>,
        change: &Change<'_>,
        others: &FxHashMap<BackendId, Reach>,
        mut record: impl FnMut(BackendId, Backend),
    ) -> Option<Draft> {
        let serving = source.serving();
        let copy = || CompiledPool { serving, ..self.clone() };
        let mut changed = (serving != self.serving).then(copy);
        let mut shares_differ = false;
        for (n, (inclusion, id)) in source.included().enumerate() {
            let reach = if n < self.backends.len() {
                self.changed_own(source, change, n).map(|(reach, shown)| {
                    changed.get_or_insert_with(copy).backends[n] = shown;
                    reach
                })
            } else {
                others.get(&source.ids.backends[inclusion.pool][inclusion.backend]).cloned()
            };
            let standing = source.standing(&inclusion);
            let serving = backend::serving(serving, inclusion.level, standing);
            let before = self.choosable[n].serving;
            if reach.is_none() && serving == before {
                continue;
            }
            let share = |of: &BackendStanding| (of.weight, of.share);
            shares_differ |= serving != before
                || share(standing) != share(self::standing(change.before, &inclusion));
            let reach = reach.unwrap_or_else(|| Reach::of(change.tables.backend(id)));
            let has_route = reach.route.is_some();
            changed.get_or_insert_with(copy).choosable[n] = Choosable { serving, has_route };
            record(id, source.record(reach, serving, &inclusion, id));
        }
        let mut pool = changed?;
        let candidates = shares_differ.then(|| candidates(source, &pool.choosable));
        let candidates = candidates.filter(|candidates| **candidates != *self.built.candidates);
        pool.count_active();
        Some(Draft { index: source.index, pool, candidates })
    }

    /// Writes to each backend how many slots it has.
    fn count_slots(&mut self) {
        for backend in &mut self.backends {
            backend.slots = self.built.slots_of(backend.id);
        }
    }

    fn count_active(&mut self) {
        let takes =
            |choosable: &&Choosable| choosable.serving == Serving::All && choosable.has_route;
        self.active = self.choosable.iter().filter(takes).count();
    }
}

impl Built {
    /// Nothing to choose from.
    fn nothing(choice: Choice) -> Built {
        let table = Arc::new(maglev::Table::turns(0, &[]));
        Built { choice, candidates: Arc::default(), table, first: 0, slots: Arc::default() }
    }

    /// What chooses from other candidates. This is used again as far as it can be.
    fn changed(&self, hash: &Hash, candidates: Vec<Candidate>) -> Built {
        let (key, size, choice) = (FleetKey::new(hash.key), hash.table_size, self.choice);
        let ids = || candidates.iter().map(|candidate| candidate.value);
        let first = ids().min().unwrap_or(0);
        let mut slots = vec![0; ids().max().map_or(0, |last| (last - first) as usize + 1)];
        let mut count = |value: maglev::Value, more| slots[(value - first) as usize] += more;
        let table = match has_turns(choice) {
            true => {
                let table = maglev::Table::turns(size, &candidates);
                table.slots().iter().for_each(|&value| count(value, 1));
                table
            }
            false => {
                let shares = maglev::Table::shares(size, &candidates);
                ids().zip(shares).for_each(|(value, share)| count(value, share as usize));
                self.table.changed(&key, size, &self.candidates, &candidates)
            }
        };
        let (candidates, table, slots) = (candidates.into(), Arc::new(table), slots.into());
        Built { choice, candidates, table, first, slots }
    }

    fn slots_of(&self, id: BackendId) -> usize {
        let index = id.get().checked_sub(self.first);
        index.and_then(|index| self.slots.get(index as usize)).copied().unwrap_or(0)
    }
}

/// Whether the packet path takes turns rather than slots of a Maglev table.
fn has_turns(choice: Choice) -> bool {
    choice == Choice::RoundRobin
}

/// What a pool chooses from, ordered by identity. Backends of one address keep the configuration's order.
fn candidates(source: Source<'_>, choosable: &[Choosable]) -> Vec<Candidate> {
    let included = source.included().zip(choosable);
    let serving = || included.clone().filter(|(_, c)| c.serving == Serving::All).map(|(i, _)| i);
    let starts_slowly = serving().any(|(inclusion, _)| source.standing(&inclusion).share < WHOLE);
    let candidate = |(inclusion, id): (Inclusion, BackendId)| {
        let standing = source.standing(&inclusion);
        let share = if starts_slowly { standing.share } else { 1 };
        let pool = &source.state.intent.configuration.pools[inclusion.pool];
        Candidate {
            identity: maglev::identity(pool.backends[inclusion.backend].address),
            weight: standing.weight.saturating_mul(share),
            value: id.get(),
        }
    };
    let mut candidates: Vec<Candidate> = serving().map(candidate).collect();
    candidates.sort_by_key(|candidate| candidate.identity);
    candidates
}

#[expect(clippy::cast_possible_truncation, reason = "at most 65535 pools")]
fn at(index: usize) -> PoolIndex {
    PoolIndex(index as u16)
}
