//! Lasting ids of services and backends: flow tables and counters refer to them.
//!
//! A backend has an id for each pool that can choose it. So a flow's backend says which pool chose it, and a pool
//! that can choose a backend no more loses its flows alone.

mod allocator;

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use allocator::{Exhausted, IdAllocator};
use guideway_config::{Configuration, Inclusion, Pool, Service};
use guideway_core::balancer::id::{BackendId, ServiceId};
use guideway_core::balancer::services::ServiceAddress;
use rustc_hash::FxHashMap;

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
    /// Of the backends that each pool can choose: its own in the configuration's order, then those of other pools in
    /// the order of [`Pool::included`].
    pub backends: Vec<Vec<BackendId>>,
    /// The ids of each backend but that of its own pool, by the latter.
    others: FxHashMap<BackendId, Vec<BackendId>>,
    /// One more than the largest backend id ever assigned.
    pub end: usize,
    /// The generation in which each backend id was assigned, by id.
    since: Vec<u32>,
    /// The generation in which each service id was assigned, by id.
    services_since: Vec<u32>,
}

impl Ids {
    /// Every id of a backend: that of its own pool first.
    pub fn of_backend(&self, pool: usize, backend: usize) -> impl Iterator<Item = BackendId> {
        let own = self.backends[pool][backend];
        let others = self.others.get(&own).into_iter().flatten().copied();
        std::iter::once(own).chain(others)
    }

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
    /// Ids of backends that are no longer there, or that a pool can choose no more.
    pub gone_backends: Vec<(Key, BackendId)>,
}

/// What a backend's id stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The name of the pool that chooses the backend.
    pub pool: Arc<str>,
    /// The name of the pool that has it, if that is another one.
    pub owner: Option<Arc<str>>,
    /// The backend's address.
    pub address: IpAddr,
}

impl Key {
    /// The name of the pool that has the backend.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or(&self.pool)
    }
}

/// Assigns ids, and keeps those of removed services and backends until they are safe to reuse.
#[derive(Clone, Debug)]
pub struct Allocators {
    backends: IdAllocator<Key>,
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
        let pools = &configuration.pools;
        let names: Vec<Arc<str>> = pools.iter().map(|pool| (*pool.name).into()).collect();
        let mut backend_keys: Vec<Key> = Vec::new();
        for (index, pool) in pools.iter().enumerate() {
            let key = |owner, address| Key { pool: Arc::clone(&names[index]), owner, address };
            backend_keys.extend(pool.backends.iter().map(|backend| key(None, backend.address)));
            backend_keys.extend(pool.others(index).map(|&Inclusion { pool, backend, .. }| {
                key(Some(Arc::clone(&names[pool])), pools[pool].backends[backend].address)
            }));
        }
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
        let of_pools: Vec<Vec<BackendId>> = (0..)
            .zip(pools)
            .map(|(index, pool)| {
                let count = pool.backends.len() + pool.others(index).count();
                backend_ids.by_ref().take(count).collect()
            })
            .collect();
        let ids = Ids {
            services: services.ids.into_iter().map(ServiceId).collect(),
            others: ids_in_other_pools(pools, &of_pools),
            backends: of_pools,
            end: self.backends.end() as usize,
            since: self.since.clone(),
            services_since: self.services_since.clone(),
        };
        let gone = backends.gone.into_iter();
        Ok(Assigned {
            ids,
            new_services: services.new.into_iter().map(ServiceId).collect(),
            new_backends: backends.new.into_iter().map(BackendId::new).collect(),
            gone_backends: gone.map(|(key, id)| (key, BackendId::new(id))).collect(),
        })
    }
}

/// Whether two configurations have the same services and backends in the same order, and so the same ids.
pub(crate) fn have_same_keys(a: &Configuration, b: &Configuration) -> bool {
    fn services(of: &Configuration) -> impl Iterator<Item = ServiceAddress> {
        of.services.iter().map(Service::service_address)
    }
    fn addresses(of: &Pool) -> impl Iterator<Item = IpAddr> {
        of.backends.iter().map(|backend| backend.address)
    }
    let is_same = |(a, b): (&Pool, &Pool)| {
        a.name == b.name && a.included == b.included && addresses(a).eq(addresses(b))
    };
    services(a).eq(services(b))
        && a.pools.len() == b.pools.len()
        && a.pools.iter().zip(&b.pools).all(is_same)
}

/// The ids of each backend but that of its own pool, by the latter.
fn ids_in_other_pools(
    pools: &[Pool],
    ids: &[Vec<BackendId>],
) -> FxHashMap<BackendId, Vec<BackendId>> {
    let mut found: FxHashMap<BackendId, Vec<BackendId>> = FxHashMap::default();
    for (index, (pool, ids_of_pool)) in pools.iter().zip(ids).enumerate() {
        for (inclusion, &id) in pool.others(index).zip(&ids_of_pool[pool.backends.len()..]) {
            found.entry(ids[inclusion.pool][inclusion.backend]).or_default().push(id);
        }
    }
    found
}
