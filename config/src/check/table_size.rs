//! The size of the Maglev tables must suit the pools.

use super::draft::Draft;
use crate::findings::excerpt;
use crate::sections::hash;
use crate::sections::pool::PoolDraft;

/// Slots of a Maglev table for each backend of its pool. Section 5.3 of the Maglev paper: with a
/// hundred, the shares of equal backends differ by a percent.
const SLOTS_PER_BACKEND: usize = 100;

/// Slots of all Maglev tables together: some GiB. A typing error would ask for more.
const MAX_SLOTS: u64 = 1 << 30;

impl Draft<'_> {
    pub(super) fn table_size(&self) {
        const KEY: &str = "hash.table_size";
        let Ok(size) = self.hash.table_size else { return };
        let largest = self.pools().iter().enumerate().max_by_key(|(index, pool)| {
            // Of several largest pools, the first.
            (pool.backends.as_ref().map_or(0, Vec::len), std::cmp::Reverse(*index))
        });
        if let Some((index, pool)) = largest {
            let backends = pool.backends.as_ref().map_or(0, Vec::len);
            let needed = u32::try_from(backends * SLOTS_PER_BACKEND).unwrap_or(u32::MAX);
            if size < needed {
                let name = pool.name.as_ref().map_or("", String::as_str);
                let message = format!(
                    "is {size}, less than {SLOTS_PER_BACKEND} for each of the {backends} backends \
                     of pool {} on line {}; {} is the least that would do",
                    excerpt(name),
                    self.root.line(&format!("pool[{index}]")),
                    hash::prime_at_least(needed)
                );
                self.root.mistake(KEY, message);
            }
        }
        let pools = self.pools().len();
        if u64::from(size) * (pools as u64) > MAX_SLOTS {
            let message = format!(
                "is {size}, which for {pools} pools makes more than {MAX_SLOTS} slots in all; at \
                 most {} would do",
                MAX_SLOTS / (pools as u64)
            );
            self.root.mistake(KEY, message);
        }
        for (index, pool) in self.pools().iter().enumerate() {
            self.smallest_share(size, index, pool);
        }
    }

    /// Every backend with a weight must have a slot in the table. Backends that are not enabled
    /// count as well, so that enabling one never makes a valid configuration invalid.
    fn smallest_share(&self, size: u32, pool_index: usize, pool: &PoolDraft) {
        let Ok(backends) = &pool.backends else { return };
        let mut sum = 0;
        let mut smallest: Option<(usize, u32)> = None;
        for (index, backend) in backends.iter().enumerate() {
            let Ok(weight) = backend.weight else { return };
            sum += u64::from(weight);
            let smaller = smallest.is_none_or(|(_, least)| weight < least);
            if weight > 0 && smaller {
                smallest = Some((index, weight));
            }
        }
        let Some((index, weight)) = smallest else { return };
        if u64::from(size) * u64::from(weight) >= sum {
            return;
        }
        // The least w with size * w >= sum - weight + w.
        let enough_weight = (sum - u64::from(weight)).div_ceil(u64::from(size) - 1);
        let enough_slots = u32::try_from(sum.div_ceil(weight.into())).map(hash::prime_at_least);
        let or_size = match enough_slots {
            Ok(slots) if hash::is_table_size(slots) => {
                format!(", or hash.table_size {slots}")
            }
            _ => String::new(),
        };
        let message = format!(
            "is {weight} of {sum} in the pool, less than one of its {size} slots; {enough_weight} \
             would do{or_size}"
        );
        self.root.mistake(&format!("pool[{pool_index}].backends[{index}].weight"), message);
    }
}
