//! What was published last, for readers.

use std::collections::HashMap;
use std::sync::Arc;

use guideway_config::Configuration;
use guideway_core::stats::Traffic;

use crate::compile::CompiledPool;
use crate::ids::Ids;
use crate::routing::Routing;

/// What was published last. Readers hold it as long as they need it; it never changes.
#[derive(Clone, Debug)]
pub struct Published {
    /// The generation of the tables.
    pub generation: u64,
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The text that the configuration was read from.
    pub text: Arc<str>,
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
}
