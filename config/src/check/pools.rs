//! Pools that no service uses.

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn unused_pools(&self) {
        let Ok(services) = self.services else {
            return;
        };
        let mut used = vec![false; self.pools().len()];
        for pool in services.iter().flat_map(|service| &service.pool) {
            used[pool.value] = true;
        }
        for (index, pool) in self.pools().iter().enumerate().filter(|&(index, _)| !used[index]) {
            self.findings.warn(pool.at, format!("pool[{index}]"), "no service uses this pool");
        }
    }
}
