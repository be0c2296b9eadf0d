//! From state to [`Tables`]: a pure function.
//!
//! [`compile`] compares the state with the one that was compiled before. If the ports and the node's own addresses are the
//! same, and the configuration but for weights and states of backends, only backends whose next hop or standing differs
//! are compiled again, and only pools whose candidates differ get another Maglev table. Otherwise everything is compiled;
//! Maglev tables of unchanged candidates are carried over even then. The result does not depend on what was compiled
//! before.
//!
//! | file | what |
//! |---|---|
//! | `alike.rs` | whether two configurations differ in weights and states of backends alone |
//! | `pool.rs` | pools: what they choose from, Maglev tables, and what listings show |
//! | `backend.rs` | backends: encapsulation, headers, segment size |
//! | `node.rs` | the node: own addresses, tunnels, cluster |
//! | `pins.rs` | which backends packets of the node itself go to |
//! | `punts.rs` | what the kernel gets |
//! | `services.rs` | services, virtual addresses, timeouts |
//! | `source.rs` | the outer source addresses |

mod alike;
mod backend;
mod node;
mod pins;
mod pool;
mod punts;
mod services;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use guideway_core::balancer::backend::{Backend, Pool};
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::id::{BackendId, PoolIndex};
use guideway_core::balancer::port::Port;
use guideway_core::balancer::tables::{TableChange, TableSpec, Tables};
use rustc_hash::FxHashMap;

use crate::ids::Ids;
use crate::state::State;

pub use backend::CompiledBackend;
pub use pool::CompiledPool;
pub(crate) use punts::limits as punt_limits;

use alike::are_alike;
use backend::Reach;
use pool::{BuiltTables, Source};

/// Tables, and the state that they were compiled from.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The state.
    pub state: State,
    /// The ids of its services and backends.
    pub ids: Arc<Ids>,
    /// The tables.
    pub tables: Arc<Tables>,
    /// The pools, in the configuration's order.
    pub pools: Vec<Arc<CompiledPool>>,
}

/// Compiles a state. `ids` are those of its configuration. Parts of `previous` are used again.
pub fn compile(
    generation: u64,
    state: &State,
    ids: &Arc<Ids>,
    previous: Option<&Compiled>,
) -> Compiled {
    match previous.filter(|previous| previous.is_like(state, ids)) {
        Some(previous) => previous.changed(generation, state),
        None => whole(generation, state, ids, previous),
    }
}

/// Compiles everything but Maglev tables that `previous` has.
fn whole(generation: u64, state: &State, ids: &Arc<Ids>, previous: Option<&Compiled>) -> Compiled {
    let configuration = &*state.intent.configuration;
    let hash = &configuration.hash;
    let previous = previous.filter(|previous| previous.state.intent.configuration.hash == *hash);
    let known = previous.map_or_else(BuiltTables::default, |previous| {
        BuiltTables::of(&previous.state.intent.configuration.pools, &previous.pools)
    });
    let mut records = vec![Backend::VACANT; ids.end];
    let sources = (0..configuration.pools.len()).map(|index| Source { state, ids, index });
    let own: Vec<_> = sources.clone().map(pool::own).collect();
    let compile = |source| {
        let record = |id: BackendId, backend| records[id.index()] = backend;
        pool::compile(source, &own, &known, record)
    };
    let pools = pool::finish(hash, sources.map(compile).collect()).into_iter();
    let pools: Vec<Arc<CompiledPool>> = pools.map(|(_, pool)| Arc::new(pool)).collect();
    let tables = Tables::new(TableSpec {
        generation,
        fleet: FleetKey::new(hash.key),
        timeouts: services::timeouts(&configuration.flow.timeouts),
        ports: state
            .observation
            .ports
            .iter()
            .zip(&configuration.ports)
            .map(|(facts, port)| Port {
                mac: port.mac.or(facts.filter.then_some(facts.device_mac)),
            })
            .collect(),
        services: services::compile(configuration, ids, state.standing.plan()),
        vips: services::vips(configuration),
        pools: pools.iter().zip(&configuration.pools).map(|(p, of)| p.tables(of)).collect(),
        backends: records,
        node: node::compile(state),
        pins: pins::compile(state, ids),
    });
    Compiled { state: state.clone(), ids: Arc::clone(ids), tables: Arc::new(tables), pools }
}

impl Compiled {
    /// Whether a state differs from the compiled one in next hops, the standing and pins only.
    fn is_like(&self, state: &State, ids: &Arc<Ids>) -> bool {
        let (ours, theirs) = (&self.state.intent.configuration, &state.intent.configuration);
        (Arc::ptr_eq(&self.ids, ids) || self.ids == *ids)
            && Arc::ptr_eq(&self.state.observation.ports, &state.observation.ports)
            && self.state.observation.routing.has_base_of(&state.observation.routing)
            && (Arc::ptr_eq(ours, theirs) || are_alike(ours, theirs))
    }

    /// Compiles the differences.
    fn changed(&self, generation: u64, state: &State) -> Compiled {
        let routing = &state.observation.routing;
        let differences = routing.differences(&self.state.observation.routing);
        let change =
            pool::Change { before: &self.state, tables: &self.tables, differences: &differences };
        let source = |index| Source { state, ids: &self.ids, index };
        let concerned: Vec<bool> =
            (0..self.pools.len()).map(|index| change.concerns(source(index))).collect();
        // How packets reach backends that several pools can choose.
        let plan = state.standing.plan();
        let mut shared: FxHashMap<BackendId, Reach> = FxHashMap::default();
        for (index, pool) in self.pools.iter().enumerate() {
            if concerned[index] && plan.is_shared(index) {
                shared.extend(pool.changed_reaches(source(index), &change));
            }
        }
        let mut backends: Vec<(BackendId, Backend)> = Vec::new();
        let mut drafts = Vec::new();
        for (index, pool) in self.pools.iter().enumerate() {
            if concerned[index] || plan.others(index).iter().any(|&other| concerned[other]) {
                let record = |id, backend| backends.push((id, backend));
                drafts.extend(pool.changed(source(index), &change, &shared, record));
            }
        }
        let configuration = &*state.intent.configuration;
        let mut changed_pools: Vec<(PoolIndex, Pool)> = Vec::new();
        let mut pools = self.pools.clone();
        for (index, pool) in pool::finish(&configuration.hash, drafts) {
            if !pool.has_table_of(&pools[index]) {
                #[expect(clippy::cast_possible_truncation, reason = "at most 65535 pools")]
                changed_pools
                    .push((PoolIndex(index as u16), pool.tables(&configuration.pools[index])));
            }
            pools[index] = Arc::new(pool);
        }
        let change = TableChange {
            generation,
            backends,
            pools: changed_pools,
            members: node::members(state),
            pins: (!self.state.pins.is_same(&state.pins)).then(|| pins::compile(state, &self.ids)),
        };
        Compiled {
            state: state.clone(),
            ids: Arc::clone(&self.ids),
            tables: Arc::new(self.tables.changed(change)),
            pools,
        }
    }
}
