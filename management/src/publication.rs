//! Publication: a configuration becomes tables, and the tables come into force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use guideway_config::Configuration;
use guideway_core::balancer::Tables;
use guideway_core::balancer::id::{BackendId, ServiceId};

use crate::compile::{Compiled, CompiledBackend, compile};
use crate::ids::{Allocators, Error};
use crate::progress::Progress;
use crate::publish;
use crate::state::{PortFacts, State};

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The generation of the tables.
    pub generation: u64,
    /// The service ids, in the configuration's order.
    pub services: Vec<ServiceId>,
    /// The backends, in the configuration's order, by pool.
    pub backends: Vec<Vec<CompiledBackend>>,
    /// Services with a newly assigned id.
    pub new_services: Vec<ServiceId>,
    /// Backends with a newly assigned id.
    pub new_backends: Vec<BackendId>,
}

/// Turns configurations into tables in force.
#[derive(Debug)]
pub struct Publisher {
    allocators: Allocators,
    compiled: Compiled,
    publisher: publish::Publisher<Tables>,
}

impl Publisher {
    /// Publishes the first configuration.
    ///
    /// # Errors
    /// Only if the configuration exceeds its limits: there are ids for every valid one.
    pub fn new(
        configuration: &Configuration,
        ports: Vec<PortFacts>,
    ) -> Result<(Publisher, Published), Error> {
        let state = State::new(configuration.clone(), String::new(), ports);
        let mut allocators = Allocators::default();
        let assigned = allocators.assign(configuration, 1, Progress::default())?;
        let (services, backends) = (assigned.new_services, assigned.new_backends);
        let compiled = compile(1, &state, &Arc::new(assigned.ids), None);
        let published = published(&compiled, services, backends);
        let publisher = publish::Publisher::new(Arc::clone(&compiled.tables));
        Ok((Publisher { allocators, compiled, publisher }, published))
    }

    /// The tables in force, from which workers load them.
    pub fn shared(&self) -> &Arc<ArcSwap<Tables>> {
        self.publisher.shared()
    }

    /// Builds the tables of a configuration and publishes them. Workers load them before their next burst.
    ///
    /// # Errors
    /// If there are too few ids. Nothing changes then.
    pub fn publish(
        &mut self,
        configuration: &Configuration,
        progress: Progress,
    ) -> Result<Published, Error> {
        let generation = self.compiled.tables.generation() + 1;
        let assigned = self.allocators.assign(configuration, generation, progress)?;
        let mut state = self.compiled.state.clone();
        state.configure(configuration.clone(), String::new());
        let compiled = compile(generation, &state, &Arc::new(assigned.ids), Some(&self.compiled));
        self.publisher.publish(Arc::clone(&compiled.tables));
        self.compiled = compiled;
        self.release();
        Ok(published(&self.compiled, assigned.new_services, assigned.new_backends))
    }

    /// Frees the retired tables that no worker holds.
    pub fn release(&mut self) {
        self.publisher.release();
    }
}

fn published(
    compiled: &Compiled,
    new_services: Vec<ServiceId>,
    new_backends: Vec<BackendId>,
) -> Published {
    Published {
        generation: compiled.tables.generation(),
        services: compiled.ids.services.clone(),
        backends: compiled.pools.iter().map(|pool| pool.backends.clone()).collect(),
        new_services,
        new_backends,
    }
}
