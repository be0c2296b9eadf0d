//! What a publication changes for backends and pools, as events.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use guideway_api::{Happening, Source};
use guideway_config::{Configuration, Pool};

use crate::compile::{Compiled, CompiledPool};
use crate::state::State;
use crate::state::standing::PoolServing;

/// Backends that one publication records one by one; the others are counted.
const BACKENDS: usize = 1_000;

/// Pools that one publication records one by one; the others are counted.
const POOLS: usize = 1_000;

/// Records which backends and pools accept other flows than before, and which weights are others. Pools are compared by
/// name and backends by address. Only pools that were compiled again, or that another level of serves, are looked at.
pub(super) fn record(before: &Compiled, after: &Compiled, mut event: impl FnMut(Happening)) {
    let (old, new) = (configuration(before), configuration(after));
    let is_same = Arc::ptr_eq(old, new);
    let names: HashMap<&str, usize> = match is_same {
        true => HashMap::new(),
        false => (0..).zip(&old.pools).map(|(n, p)| (&*p.name, n)).collect(),
    };
    let mut changed = 0;
    let mut pools = Vec::new();
    for (index, pool) in new.pools.iter().enumerate() {
        let known = if is_same { Some(index) } else { names.get(&*pool.name).copied() };
        let Some(known) = known else { continue };
        stand_ins((&before.state, known), (&after.state, index), |happening| pools.push(happening));
        let (old_pool, new_pool) = (&before.pools[known], &after.pools[index]);
        if Arc::ptr_eq(old_pool, new_pool) {
            continue;
        }
        compare((&old.pools[known], old_pool), (pool, new_pool), |happening| {
            changed += 1;
            if changed <= BACKENDS {
                event(happening);
            }
        });
        match (old_pool.active, new_pool.active) {
            (0, 0) => {}
            (0, active) => pools.push(Happening::PoolServing { pool: pool.name.clone(), active }),
            (_, 0) => pools.push(Happening::PoolEmpty { pool: pool.name.clone() }),
            _ => {}
        }
    }
    if changed > BACKENDS {
        event(Happening::BackendStates { backends: changed - BACKENDS });
    }
    let more = pools.len().saturating_sub(POOLS);
    pools.into_iter().take(POOLS).for_each(&mut event);
    if more > 0 {
        event(Happening::PoolStates { pools: more });
    }
}

fn configuration(compiled: &Compiled) -> &Arc<Configuration> {
    &compiled.state.intent.configuration
}

/// Which backups of a pool stand in for it, and which no longer.
fn stand_ins(
    (before, known): (&State, usize),
    (after, index): (&State, usize),
    mut event: impl FnMut(Happening),
) {
    let (old, new) = (backup(before, known), backup(after, index));
    if old == new {
        return;
    }
    let pool = &after.intent.configuration.pools[index];
    if let Some(backup) = old {
        let (pool, backup) = (pool.name.clone(), backup.to_owned());
        event(Happening::BackupGivesWay { pool, backup });
    }
    if let Some(backup) = new {
        event(Happening::BackupStandsIn {
            pool: pool.name.clone(),
            backup: backup.to_owned(),
            active: after.standing.pools[index].active,
            needed: pool.min_active,
        });
    }
}

/// The name of the pool that stands in for a pool; `None` if none does.
fn backup(state: &State, index: usize) -> Option<&str> {
    let pools = &state.intent.configuration.pools;
    match state.standing.pools[index].serving {
        PoolServing::Level(level @ 1..) => Some(&pools[pools[index].levels[level]].name),
        PoolServing::Level(0) | PoolServing::Down | PoolServing::Nobody => None,
    }
}

/// The backends of a pool that both have, and whose state or weight is another.
fn compare(
    (before, old): (&Pool, &CompiledPool),
    (after, new): (&Pool, &CompiledPool),
    mut event: impl FnMut(Happening),
) {
    let mut by_address: Option<HashMap<IpAddr, usize>> = None;
    for (index, (backend, compiled)) in after.backends.iter().zip(&new.backends).enumerate() {
        let is_at = |index: usize| before.backends.get(index).map(|b| b.address);
        let known = if is_at(index) == Some(backend.address) {
            Some(index)
        } else {
            let list = || (0..).zip(&before.backends).map(|(n, b)| (b.address, n)).collect();
            by_address.get_or_insert_with(list).get(&backend.address).copied()
        };
        let Some(known) = known.and_then(|known| old.backends.get(known)) else { continue };
        let (from, to) = (known.state(), compiled.state());
        if from != to {
            event(Happening::BackendState {
                pool: after.name.clone(),
                backend: backend.name.clone(),
                address: backend.address,
                from,
                to,
                source: compiled.standing.source,
                reason: compiled.standing.reason.as_deref().map(str::to_owned),
            });
        }
        let (from, to) = (&known.standing, &compiled.standing);
        // What only the configuration says is the configuration's event.
        let is_set = from.weight_source != Source::File || to.weight_source != Source::File;
        if from.weight != to.weight && is_set {
            event(Happening::BackendWeight {
                pool: after.name.clone(),
                backend: backend.name.clone(),
                address: backend.address,
                from: from.weight,
                to: to.weight,
                source: to.weight_source,
                reason: to.weight_reason.as_deref().map(str::to_owned),
            });
        }
    }
}
