//! What services say about backends that drain or are down.

use std::collections::HashSet;

use guideway_core::balancer::backend::PolicySet;

use super::draft::Draft;

impl Draft<'_> {
    /// Reports the first service that needs one policy more than there can be.
    pub(super) fn policies(&self) {
        let mut seen = HashSet::new();
        for (index, service) in self.services().iter().enumerate() {
            let Ok(policy) = service.keys.policy() else { continue };
            if seen.insert(policy) && seen.len() > PolicySet::CAPACITY {
                let message = format!(
                    "is the first service beyond {} different combinations of on_down, keep_for, \
                     drain_timeout and drain_then; give several services the same values",
                    PolicySet::CAPACITY
                );
                self.root.mistake(&format!("service[{index}]"), message);
                return;
            }
        }
    }
}
