//! Lasting ids of services and backends: flow tables and counters refer to them.

mod allocator;

use std::net::IpAddr;

use thiserror::Error;

use allocator::{Exhausted, IdAllocator};
use guideway_config::{Configuration, Service};
use guideway_core::balancer::id::{BackendId, ServiceId};
use guideway_core::balancer::services::ServiceAddress;

use crate::progress::Progress;

/// Ids for backends: for configured ones, and for removed ones of which workers may still have flows.
pub const BACKEND_IDS: u32 = 1 << 17;
/// Ids for services, likewise.
pub const SERVICE_IDS: u32 = 1 << 17;

/// Why a configuration gets no ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The ids of removed backends are still in the workers' flow tables.
    #[error(
        "too many backends were replaced in a short time: workers still hold flows of the old ones; \
         try again in a few seconds"
    )]
    Backends,
    /// The ids of removed services are still in the workers' flow tables.
    #[error(
        "too many services were replaced in a short time: workers still hold flows of the old ones; \
         try again in a few seconds"
    )]
    Services,
}

/// The ids of one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Of the services, in the configuration's order.
    pub services: Vec<ServiceId>,
    /// Of the backends, in the configuration's order, by pool.
    pub backends: Vec<Vec<BackendId>>,
    /// One more than the largest backend id ever assigned.
    pub end: usize,
    /// The generation in which each backend id was assigned, by id.
    since: Vec<u32>,
    /// The generation in which each service id was assigned, by id.
    services_since: Vec<u32>,
}

impl Ids {
    /// The generation in which a backend got its id.
    pub fn since(&self, id: BackendId) -> u32 {
        self.since[id.index()]
    }

    /// The generation in which a service got its id.
    pub fn service_since(&self, id: ServiceId) -> u32 {
        self.services_since[id.index()]
    }

    /// One more than the largest service id ever assigned.
    pub fn services_end(&self) -> usize {
        self.services_since.len()
    }
}

/// The ids of a configuration, and what differs from the ids of the configuration before.
#[derive(Debug)]
pub struct Assigned {
    /// The ids.
    pub ids: Ids,
    /// Services with a newly assigned id.
    pub new_services: Vec<ServiceId>,
    /// Backends with a newly assigned id.
    pub new_backends: Vec<BackendId>,
    /// Backends that are no longer there, each with the name of its pool.
    pub gone_backends: Vec<(String, BackendId)>,
}

/// Assigns ids, and keeps those of removed services and backends until they are safe to reuse.
#[derive(Clone, Debug)]
pub struct Allocators {
    backends: IdAllocator<(String, IpAddr)>,
    services: IdAllocator<ServiceAddress>,
    /// The generation in which each backend id was assigned, by id.
    since: Vec<u32>,
    /// The generation in which each service id was assigned, by id.
    services_since: Vec<u32>,
}

impl Default for Allocators {
    fn default() -> Allocators {
        Allocators {
            backends: IdAllocator::new(BACKEND_IDS),
            services: IdAllocator::new(SERVICE_IDS),
            since: Vec::new(),
            services_since: Vec::new(),
        }
    }
}

impl Allocators {
    /// The ids for a configuration that is to be published as `generation`.
    ///
    /// # Errors
    /// If there are too few ids. Nothing changes then.
    pub fn assign(
        &mut self,
        configuration: &Configuration,
        generation: u64,
        progress: Progress,
    ) -> Result<Assigned, Error> {
        let service_keys: Vec<_> =
            configuration.services.iter().map(Service::service_address).collect();
        let backend_keys: Vec<_> = configuration
            .pools
            .iter()
            .flat_map(|pool| pool.backends.iter().map(|b| (pool.name.clone(), b.address)))
            .collect();
        if !self.services.fits(&service_keys, progress.swept) {
            return Err(Error::Services);
        }
        let backends = self
            .backends
            .assign(&backend_keys, generation, progress.swept)
            .map_err(|Exhausted| Error::Backends)?;
        let services = self
            .services
            .assign(&service_keys, generation, progress.swept)
            .map_err(|Exhausted| Error::Services)?;
        let since = u32::try_from(generation).unwrap_or(u32::MAX);
        for (all, end, new) in [
            (&mut self.since, self.backends.end(), &backends.new),
            (&mut self.services_since, self.services.end(), &services.new),
        ] {
            all.resize(end as usize, since);
            new.iter().for_each(|&id| all[id as usize] = since);
        }
        let mut backend_ids = backends.ids.into_iter().map(BackendId::new);
        let ids = Ids {
            services: services.ids.into_iter().map(ServiceId).collect(),
            backends: configuration
                .pools
                .iter()
                .map(|pool| backend_ids.by_ref().take(pool.backends.len()).collect())
                .collect(),
            end: self.backends.end() as usize,
            since: self.since.clone(),
            services_since: self.services_since.clone(),
        };
        let gone = backends.gone.into_iter();
        Ok(Assigned {
            ids,
            new_services: services.new.into_iter().map(ServiceId).collect(),
            new_backends: backends.new.into_iter().map(BackendId::new).collect(),
            gone_backends: gone.map(|((pool, _), id)| (pool, BackendId::new(id))).collect(),
        })
    }
}
