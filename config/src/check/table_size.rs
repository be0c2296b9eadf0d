//! The size of the Maglev tables must suit the pools.

use std::collections::BTreeMap;

use super::draft::Draft;
use crate::findings::excerpt;
use crate::sections::hash;
use crate::sections::pool::Inclusion;

/// Slots of a Maglev table for each backend of its pool. Section 5.3 of the Maglev paper: with a
/// hundred, the shares of equal backends differ by a percent.
const SLOTS_PER_BACKEND: usize = 100;

/// Slots of all Maglev tables together: some GiB. A typing error would ask for more.
const MAX_SLOTS: u64 = 1 << 30;

/// The weight of a backend, and the sum of all weights of a pool that can choose it.
#[derive(Clone, Copy)]
struct Share {
    pool: usize,
    weight: u32,
    sum: u64,
}

impl Draft<'_> {
    pub(super) fn table_size(&self) {
        const KEY: &str = "hash.table_size";
        let Ok(size) = self.hash.table_size else { return };
        let backends = |pool| self.first_level(pool).count();
        let largest = (0..self.pools().len()).map(|index| (backends(index), index));
        // Of several largest pools, the first.
        let largest = largest.max_by_key(|&(backends, index)| (backends, std::cmp::Reverse(index)));
        if let Some((backends, index)) = largest {
            let needed = u32::try_from(backends * SLOTS_PER_BACKEND).unwrap_or(u32::MAX);
            if size < needed {
                let name = self.pools()[index].name.as_ref().map_or("", String::as_str);
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
        let mut smallest: BTreeMap<(usize, usize), Share> = BTreeMap::new();
        for pool in 0..self.pools().len() {
            if let Some((backend, share)) = self.smallest_share(pool)
                && u64::from(size) * u64::from(share.weight) < share.sum
            {
                // Of several pools that can choose the backend, the one that asks for the most.
                let worst = smallest.entry(backend).or_insert(share);
                if worst.sum < share.sum {
                    *worst = share;
                }
            }
        }
        for (backend, share) in smallest {
            self.too_small_a_share(size, backend, share);
        }
    }

    /// The backends that one table of a pool chooses from. Those of a backup are the first level of another pool, or
    /// fewer.
    fn first_level(&self, pool: usize) -> impl Iterator<Item = &Inclusion> {
        let included = self.inclusions_of(pool).map(|found| &found.included);
        included.into_iter().flatten().filter(|included| included.level == 0)
    }

    /// The backend of a pool with the smallest weight above 0. Every backend with a weight must have a slot in the
    /// table. Backends that are not enabled count as well, so that enabling one
    /// never makes a valid configuration invalid. Slow starts do not count: a share that is not worth a slot yet
    /// soon will be.
    fn smallest_share(&self, pool: usize) -> Option<((usize, usize), Share)> {
        let mut sum = 0;
        let mut smallest: Option<((usize, usize), u32)> = None;
        for included in self.first_level(pool) {
            let weight = self.backend(included)?.weight.ok()?;
            sum += u64::from(weight);
            if weight > 0 && smallest.is_none_or(|(_, least)| weight < least) {
                smallest = Some(((included.pool, included.backend), weight));
            }
        }
        smallest.map(|(backend, weight)| (backend, Share { pool, weight, sum }))
    }

    fn too_small_a_share(&self, size: u32, (owner, backend): (usize, usize), share: Share) {
        let Share { pool, weight, sum } = share;
        // The least w with size * w >= sum - weight + w.
        let enough_weight = (sum - u64::from(weight)).div_ceil(u64::from(size) - 1);
        let enough_slots = u32::try_from(sum.div_ceil(weight.into())).map(hash::prime_at_least);
        let or_size = match enough_slots {
            Ok(slots) if hash::is_table_size(slots) => {
                format!(", or hash.table_size {slots}")
            }
            _ => String::new(),
        };
        let of = match (pool == owner, &self.pools()[pool].name) {
            (false, Ok(name)) => format!("pool {}", excerpt(name)),
            _ => "the pool".to_owned(),
        };
        let message = format!(
            "is {weight} of {sum} in {of}, less than one of its {size} slots; {enough_weight} \
             would do{or_size}"
        );
        self.root.mistake(&format!("pool[{owner}].backends[{backend}].weight"), message);
    }
}
