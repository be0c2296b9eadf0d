//! Pins: the ids of the backends that they name.

use guideway_core::balancer::id::BackendId;
use guideway_core::balancer::pin::Pins;
use rustc_hash::FxHashMap;

use crate::ids::Ids;
use crate::state::{Pinned, State};

/// The pins whose backends are configured. A backend's own pool says how it is reached, whichever pools include it.
pub(super) fn compile(state: &State, ids: &Ids) -> Pins {
    if state.pins.is_empty() {
        return Pins::default();
    }
    let pools = &state.intent.configuration.pools;
    let by_name: FxHashMap<&str, usize> =
        (0..).zip(pools).map(|(n, pool)| (&*pool.name, n)).collect();
    let mut backends: FxHashMap<usize, FxHashMap<&str, BackendId>> = FxHashMap::default();
    let mut id = |Pinned { pool, backend }: &Pinned| {
        let pool = *by_name.get(&**pool)?;
        let of_pool = backends.entry(pool).or_insert_with(|| {
            let names = pools[pool].backends.iter().map(|backend| &*backend.name);
            names.zip(ids.backends[pool].iter().copied()).collect()
        });
        of_pool.get(&**backend).copied()
    };
    state.pins.iter().filter_map(|(source, pinned)| Some((source, id(pinned)?))).collect()
}
