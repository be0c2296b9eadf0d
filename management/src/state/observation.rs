//! What is observed: the ports' devices, routes and neighbours.

use std::sync::Arc;

use guideway_config::Mac;
use guideway_config::static_routes::StaticRoutes;

use crate::routing::Routing;

/// What a port is, apart from its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// The device's own address: the source of frames unless the configuration names another.
    pub device_mac: Mac,
    /// Whether frames to other hosts are dropped even if the configuration names no address.
    pub filter: bool,
}

/// What is observed.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The ports, in the order of the configuration.
    pub ports: Arc<[PortFacts]>,
    /// The routes and neighbours.
    pub routing: Routing,
}

impl Observation {
    pub(super) fn new(ports: Vec<PortFacts>, routes: StaticRoutes) -> Observation {
        Observation { ports: ports.into(), routing: Routing::new(routes) }
    }
}
