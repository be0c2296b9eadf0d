//! Pools that no service uses, and pools that serve nothing.

use super::draft::Draft;
use crate::findings::Located;
use crate::sections::pool::BackendDraft;

impl Draft<'_> {
    pub(super) fn unused_pools(&self) {
        let Ok(services) = self.services else { return };
        let mut used = vec![false; self.pools().len()];
        for pool in services.iter().flat_map(|service| &service.pool) {
            used[pool.value] = true;
        }
        for (index, pool) in self.pools().iter().enumerate().filter(|&(index, _)| !used[index]) {
            self.findings.warn(pool.keys.at, format!("pool[{index}]"), "no service uses this pool");
        }
    }

    pub(super) fn useless_pools(&self) {
        let takes = |backend: &BackendDraft| {
            let enabled = backend.enabled.as_ref().is_ok_and(|enabled| enabled.value);
            enabled && backend.weight.as_ref().is_ok_and(|weight| weight.value > 0)
        };
        for (index, service) in self.services().iter().enumerate() {
            let Ok(Located { value: pool, at }) = service.pool else { continue };
            let Some(Ok(backends)) = self.pools().get(pool).map(|pool| &pool.backends) else {
                continue;
            };
            if !backends.iter().any(takes) {
                let message = match backends.len() {
                    0 => "the pool has no backend: all packets are dropped",
                    _ => "no backend of the pool is enabled with a weight: new flows are dropped",
                };
                self.findings.warn(at, format!("service[{index}].pool"), message);
            }
        }
    }
}
