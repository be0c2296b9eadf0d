//! A reading of what services, backends and pools forwarded.
//!
//! Workers count by id, and ids change their owners. A [`Tally`] reads the counters first and what is published
//! afterwards. An id that got another owner in between is then known by its generation, and its new owner begins
//! with the next reading. So no value is ever read for another owner, and none goes back from one reading to the
//! next, whatever is reloaded meanwhile.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use arc_swap::ArcSwap;

use super::published::{Left, Published};
use guideway_core::balancer::id::BackendId;
use guideway_core::stats::{Reader, Traffic};

/// What was forwarded, summed over the workers, and what was published then.
#[derive(Clone, Debug)]
pub struct Tally {
    published: Arc<Published>,
    /// What was published when the reading began.
    generation: u64,
    /// The counters of each service's id.
    services: Vec<Traffic>,
    /// The counters of each backend's id.
    backends: Vec<Traffic>,
}

impl Tally {
    /// Reads the counters of these workers.
    pub fn read<'a>(
        published: &ArcSwap<Published>,
        workers: impl Iterator<Item = &'a Reader> + Clone,
    ) -> Tally {
        let before = published.load_full();
        let sum = |of: &dyn Fn(&Reader) -> Traffic| workers.clone().map(of).sum();
        let services =
            (0..before.ids.services_end()).map(|id| sum(&|stats| stats.service(id))).collect();
        let backends = (0..before.ids.end).map(|id| sum(&|stats| stats.backend(id))).collect();
        // The counters first: who counted for an id before it was read has its owner in what is loaded now.
        fence(Ordering::Acquire);
        let published = published.load_full();
        Tally { published, generation: before.generation, services, backends }
    }

    /// What was published. Every index below is one of its configuration.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// What was forwarded for a service.
    pub fn service(&self, index: usize) -> Traffic {
        let Published { ids, service_base, .. } = &*self.published;
        let id = ids.services[index];
        let base = service_base.get(&id.0).copied().unwrap_or_default();
        self.counted(&self.services, id.index(), ids.service_since(id), base)
    }

    /// What was forwarded to a backend of a pool, by all pools that choose it.
    pub fn backend(&self, pool: usize, index: usize) -> Traffic {
        let Published { ids, configuration, left_backends, .. } = &*self.published;
        let present = self.present(ids.of_backend(pool, index));
        if left_backends.is_empty() {
            return present;
        }
        let pool = &configuration.pools[pool];
        let name = (pool.name.clone(), pool.backends[index].address);
        self.with(present, left_backends.get(&name))
    }

    /// What a pool forwarded since it was configured, to its own backends and those of other pools, including those
    /// that it has no longer. The live flows are those of the backends that it has.
    pub fn pool(&self, index: usize) -> Traffic {
        let Published { ids, configuration, left, .. } = &*self.published;
        let present = self.present(ids.backends[index].iter().copied());
        self.with(present, left.get(&configuration.pools[index].name))
    }

    /// What was forwarded by ids that are in use.
    fn present(&self, ids: impl Iterator<Item = BackendId>) -> Traffic {
        let Published { ids: all, backend_base, .. } = &*self.published;
        let counted = |id: BackendId| {
            let base = backend_base.get(&id.get()).copied().unwrap_or_default();
            self.counted(&self.backends, id.index(), all.since(id), base)
        };
        ids.map(counted).sum()
    }

    /// What was forwarded by ids that are in use and by those that have left.
    fn with(&self, present: Traffic, left: Option<&Left>) -> Traffic {
        let Some(left) = left else { return present };
        let gone = left
            .ids
            .iter()
            .map(|left| self.counted(&self.backends, left.id.index(), left.since, left.base));
        Traffic { live: present.live, ..present + left.rest + gone.sum() }
    }

    /// The counters of an id since its assignment; none if it was assigned during the reading.
    fn counted(&self, all: &[Traffic], id: usize, since: u32, base: Traffic) -> Traffic {
        match all.get(id) {
            Some(&now) if u64::from(since) <= self.generation => now - base,
            _ => Traffic::default(),
        }
    }
}
