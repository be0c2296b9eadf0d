//! `[hash]`: the key and the size of the Maglev tables.

use crate::declare::section;
use crate::kind::{Integer, integer};
use crate::text::Key128;

/// The largest prime below 2^24, which keeps a table at tens of MiB.
const MAX_TABLE_SIZE: u32 = 16_777_213;

section! {
    /// What must be equal on every node of a fleet.
    ///
    /// A change of either key moves flows that are not in a flow table to other backends.
    "[hash]" 1..=1 => Hash, HashDraft {
        /// The key of the hash that chooses a flow's backend: equal on every node of a fleet and kept
        /// from clients. `openssl rand -hex 16` makes one.
        key: [u8; 16] = Key128, required "\"...\", with the output of `openssl rand -hex 16`", reload;
        /// Slots of each pool's Maglev table, equal on every node; at least 100 for each backend of the
        /// largest pool. All pools' tables together have at most 2^30 slots.
        ///
        /// The default is a prime just above 2^16: with it up to 655 backends of a pool differ by under
        /// 1 percent.
        table_size: u32 = table_size(), default "65537", reload, unit "slots";
    }
}

fn table_size() -> Integer<u32> {
    integer(2..=i64::from(MAX_TABLE_SIZE)).that_is("a prime", |number| {
        let number = u32::try_from(number).ok()?;
        nearest_primes(number).map(|(below, above)| (below.into(), above.into()))
    })
}

/// The nearest primes below and above a number; `None` for a prime.
fn nearest_primes(number: u32) -> Option<(u32, u32)> {
    if is_prime(number) {
        return None;
    }
    let below = (2..number).rev().find(|&n| is_prime(n)).unwrap_or(2);
    Some((below, prime_at_least(number)))
}

/// The smallest prime that is not below `number`.
pub(crate) fn prime_at_least(number: u32) -> u32 {
    (number..=u32::MAX).find(|&n| is_prime(n)).unwrap_or(u32::MAX)
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number >= 2
        && (2..=number.isqrt().min(3)).all(|divisor| !divides(&divisor))
        && !(5..=number.isqrt()).step_by(2).any(|divisor| divides(&divisor))
}

/// Whether a Maglev table may have this many slots at all.
pub(crate) fn is_table_size(size: u32) -> bool {
    size <= MAX_TABLE_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes() {
        let primes: Vec<u32> = (0..40).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
        let known = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 65537, 131071, 524287];
        for prime in known {
            assert_eq!(nearest_primes(prime), None, "{prime}");
        }
        assert!(is_prime(MAX_TABLE_SIZE) && is_prime(65_537));
        assert_eq!(nearest_primes(65536), Some((65521, 65537)));
        assert_eq!(nearest_primes(4), Some((3, 5)));
        // The only divisor of 4093 squared is the last candidate.
        assert!(!is_prime(4093 * 4093));
    }
}
