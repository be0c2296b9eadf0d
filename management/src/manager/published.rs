//! What was published last, for readers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use guideway_config::Configuration;
use guideway_core::balancer::id::BackendId;
use guideway_core::stats::Traffic;

use crate::compile::CompiledPool;
use crate::ids::Ids;
use crate::routing::Routing;
use crate::state::{Pins, Settings};

/// What was published last. Readers hold it as long as they need it; it never changes.
#[derive(Clone, Debug)]
pub struct Published {
    /// The generation of the tables.
    pub generation: u64,
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The text that the configuration was read from.
    pub text: Arc<str>,
    /// What is set at run time.
    pub settings: Settings,
    /// Which backend packets of the node itself go to.
    pub pins: Pins,
    /// The ids of services and backends.
    pub ids: Arc<Ids>,
    /// The pools, in the configuration's order.
    pub pools: Vec<Arc<CompiledPool>>,
    /// The routes and neighbours.
    pub routing: Routing,
    /// The counters of each service's id at the time when the service got the id.
    pub service_base: Arc<HashMap<u32, Traffic>>,
    /// The counters of each backend's id at the time when the backend got the id.
    pub backend_base: Arc<HashMap<u32, Traffic>>,
    /// What was forwarded by ids that have left a pool, by the name of the pool.
    pub(super) left: Arc<HashMap<String, Left>>,
    /// What was forwarded to backends that are still there by ids that other pools had for them.
    pub(super) left_backends: Arc<HashMap<BackendName, Left>>,
}

/// The name of the pool that has a backend, and the backend's address.
pub(super) type BackendName = (String, IpAddr);

/// What was forwarded by ids that a pool or a backend has no longer. Their share of its totals stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    /// The sum of those whose ids have another owner now.
    pub(super) rest: Traffic,
    /// The others. Workers count for them until they run the tables without them.
    pub(super) ids: Vec<LeftId>,
}

/// An id that has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftId {
    pub(super) id: BackendId,
    /// The generation in which the backend got the id.
    pub(super) since: u32,
    /// The counters of the id then.
    pub(super) base: Traffic,
}

impl Left {
    /// Adds up the backends whose ids get another owner. `sum` reads the counters of an id, which rise no more.
    pub(super) fn settle(
        &mut self,
        is_reused: impl Fn(BackendId) -> bool,
        sum: impl Fn(BackendId) -> Traffic,
    ) {
        for LeftId { id, base, .. } in self.ids.extract_if(.., |left| is_reused(left.id)) {
            self.rest = Traffic { live: 0, ..self.rest + (sum(id) - base) };
        }
    }
}
