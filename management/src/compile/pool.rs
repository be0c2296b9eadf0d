//! A pool: its Maglev table, and its backends as listings show them.

use std::sync::Arc;

use guideway_config::{self as config, Hash};
use guideway_core::balancer::backend::{Backend, Pool, Serving};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::{BackendId, PoolIndex};
use guideway_core::balancer::maglev::{self, Candidate};
use rustc_hash::FxHashMap;

use super::backend::{self, CompiledBackend};
use crate::ids::Ids;
use crate::routing::Differences;
use crate::state::State;
use crate::state::standing::BackendStanding;

/// A compiled pool.
#[derive(Clone, Debug)]
pub struct CompiledPool {
    /// Its backends, in the configuration's order.
    pub backends: Vec<CompiledBackend>,
    built: Built,
}

/// A Maglev table, what it chooses from, and how many slots each candidate has.
#[derive(Clone, Debug)]
struct Built {
    candidates: Arc<[Candidate]>,
    table: Arc<maglev::Table>,
    /// The least backend id among the candidates.
    first: u32,
    /// The number of slots of each backend id from `first` on.
    slots: Arc<[usize]>,
}

/// The Maglev tables of some pools, by their candidates.
pub(super) struct MaglevTables<'a>(FxHashMap<&'a [Candidate], &'a Built>);

impl MaglevTables<'_> {
    pub(super) fn of(pools: &[Arc<CompiledPool>]) -> MaglevTables<'_> {
        let tables = pools.iter().map(|pool| (&*pool.built.candidates, &pool.built));
        MaglevTables(tables.collect())
    }

    fn find(&self, candidates: &[Candidate]) -> Option<Built> {
        self.0.get(candidates).map(|&built| built.clone())
    }
}

/// Compiles a pool. `record` gets each backend as packets see it. A Maglev table that is `known` is not built again.
pub(super) fn compile(
    state: &State,
    ids: &Ids,
    index: usize,
    known: &MaglevTables<'_>,
    mut record: impl FnMut(BackendId, Backend),
) -> CompiledPool {
    let configuration = &*state.intent.configuration;
    let pool = &configuration.pools[index];
    let standing = &state.standing.pools[index];
    let mut backends = Vec::with_capacity(pool.backends.len());
    for ((configured, &id), standing) in
        pool.backends.iter().zip(&ids.backends[index]).zip(&standing.backends)
    {
        let (compiled, shown) =
            backend::compile(state, ids, (pool, at(index)), (configured, id), standing);
        record(id, compiled);
        backends.push(shown);
    }
    let candidates = candidates(pool, &backends);
    let built =
        known.find(&candidates).unwrap_or_else(|| Built::new(&configuration.hash, candidates));
    let mut pool = CompiledPool { backends, built };
    pool.count_slots();
    pool
}

impl CompiledPool {
    /// The pool as packets see it.
    pub(super) fn tables(&self) -> Pool {
        Pool::new(Arc::clone(&self.built.table))
    }

    /// Whether the Maglev table is the same as that of `other`.
    pub(super) fn has_table_of(&self, other: &CompiledPool) -> bool {
        Arc::ptr_eq(&self.built.table, &other.built.table)
    }

    /// The pool after a change of routing, in which these are the differences, and of settings; `None` if it is the
    /// same. `record` gets each backend that differs.
    pub(super) fn changed(
        &self,
        state: &State,
        ids: &Ids,
        index: usize,
        differences: &Differences,
        mut record: impl FnMut(BackendId, Backend),
    ) -> Option<CompiledPool> {
        let configuration = &*state.intent.configuration;
        let pool = &configuration.pools[index];
        let standing = &state.standing.pools[index];
        let mut changed: Option<CompiledPool> = None;
        let mut shares_differ = false;
        for (n, (configured, before)) in pool.backends.iter().zip(&self.backends).enumerate() {
            let is_moved = differences.concern(configured.address, &before.next_hop)
                && state.observation.routing.way(configured.address) != before.next_hop;
            let now = &standing.backends[n];
            if !is_moved && *now == before.standing {
                continue;
            }
            let (compiled, mut shown) =
                backend::compile(state, ids, (pool, at(index)), (configured, before.id), now);
            record(before.id, compiled);
            let share = |of: &BackendStanding| (of.state, of.weight, of.share);
            shares_differ |= share(now) != share(&before.standing);
            shown.slots = before.slots;
            changed.get_or_insert_with(|| self.clone()).backends[n] = shown;
        }
        if let Some(changed) = changed.as_mut().filter(|_| shares_differ) {
            let candidates = candidates(pool, &changed.backends);
            if *candidates != *self.built.candidates {
                changed.built = Built::new(&configuration.hash, candidates);
                changed.count_slots();
            }
        }
        changed
    }

    /// Writes to each backend how many slots it has.
    fn count_slots(&mut self) {
        for backend in &mut self.backends {
            backend.slots = self.built.slots_of(backend.id);
        }
    }
}

impl Built {
    fn new(hash: &Hash, candidates: Vec<Candidate>) -> Built {
        let key = FleetKey::new(hash.key);
        let table = maglev::Table::build(&key, hash.table_size, &candidates);
        let ids = || candidates.iter().map(|candidate| candidate.value);
        let first = ids().min().unwrap_or(0);
        let mut slots = vec![0; ids().max().map_or(0, |last| (last - first) as usize + 1)];
        for &value in table.slots() {
            slots[(value - first) as usize] += 1;
        }
        Built { candidates: candidates.into(), table: Arc::new(table), first, slots: slots.into() }
    }

    fn slots_of(&self, id: BackendId) -> usize {
        let index = id.get().checked_sub(self.first);
        index.and_then(|index| self.slots.get(index as usize)).copied().unwrap_or(0)
    }
}

/// What the pool's Maglev table chooses from, ordered by identity.
fn candidates(pool: &config::Pool, backends: &[CompiledBackend]) -> Vec<Candidate> {
    let taking = pool.backends.iter().zip(backends).filter(|(_, b)| b.serving() == Serving::All);
    let candidate = |(configured, backend): (&config::Backend, &CompiledBackend)| Candidate {
        identity: maglev::identity(configured.address),
        weight: backend.standing.weight,
        value: backend.id.get(),
    };
    let mut candidates: Vec<Candidate> = taking.map(candidate).collect();
    candidates.sort_unstable_by_key(|candidate| candidate.identity);
    candidates
}

#[expect(clippy::cast_possible_truncation, reason = "at most 65535 pools")]
fn at(index: usize) -> PoolIndex {
    PoolIndex(index as u16)
}
