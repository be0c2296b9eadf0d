//! Pools that no service uses, and pools that serve nothing.

use super::draft::Draft;
use crate::sections::pool::BackendDraft;

impl Draft<'_> {
    pub(super) fn unused_pools(&self) {
        let Ok(services) = &self.services else { return };
        let mut used = vec![false; self.pools().len()];
        for &pool in services.iter().flat_map(|service| &service.pool) {
            used[pool] = true;
        }
        for (index, _) in used.iter().enumerate().filter(|&(_, &used)| !used) {
            self.root.warn(&format!("pool[{index}]"), "no service uses this pool");
        }
    }

    pub(super) fn useless_pools(&self) {
        let takes = |backend: &BackendDraft| {
            backend.enabled.is_ok_and(|enabled| enabled) && backend.weight.is_ok_and(|w| w > 0)
        };
        for (index, service) in self.services().iter().enumerate() {
            let Ok(pool) = service.pool else { continue };
            let Some(Ok(backends)) = self.pools().get(pool).map(|pool| &pool.backends) else {
                continue;
            };
            if !backends.iter().any(takes) {
                let message = match backends.len() {
                    0 => "the pool has no backend: all packets are dropped",
                    _ => "no backend of the pool is enabled with a weight: new flows are dropped",
                };
                self.root.warn(&format!("service[{index}].pool"), message);
            }
        }
    }
}
