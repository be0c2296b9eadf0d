//! What a publication changes for backends and pools, as events.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use guideway_api::Happening;
use guideway_config::Pool;

use super::published::Published;
use crate::compile::CompiledPool;

/// Backends that one publication records one by one; the others are counted.
const BACKENDS: usize = 1_000;

/// Pools that one publication records one by one; the others are counted.
const POOLS: usize = 1_000;

/// Records which backends and pools accept other flows than before. Pools are compared by name and backends by
/// address. Only pools that were compiled again are looked at.
pub(super) fn record(before: &Published, after: &Published, mut event: impl FnMut(Happening)) {
    let is_same = Arc::ptr_eq(&before.configuration, &after.configuration);
    let names: HashMap<&str, usize> = match is_same {
        true => HashMap::new(),
        false => (0..).zip(&before.configuration.pools).map(|(n, p)| (&*p.name, n)).collect(),
    };
    let mut changed = 0;
    let mut pools = Vec::new();
    for (index, pool) in after.configuration.pools.iter().enumerate() {
        let known = if is_same { Some(index) } else { names.get(&*pool.name).copied() };
        let Some(known) = known else { continue };
        let (old, new) = (&before.pools[known], &after.pools[index]);
        if Arc::ptr_eq(old, new) {
            continue;
        }
        compare((&before.configuration.pools[known], old), (pool, new), |happening| {
            changed += 1;
            if changed <= BACKENDS {
                event(happening);
            }
        });
        match (old.active, new.active) {
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

/// The backends of a pool that both have, and whose state is another.
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
    }
}
