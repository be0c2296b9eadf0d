//! `[hash]`: the key and the size of the Maglev tables.

use super::findings::{Checked, Located};
use super::model::Hash;
use super::section::Section;
use super::value;

/// A prime just above 2^16: with it up to 655 backends of a pool differ by under 1 percent.
const DEFAULT_TABLE_SIZE: u32 = 65_537;

/// The largest prime below 2^24, which keeps a table at tens of MiB.
const MAX_TABLE_SIZE: u32 = 16_777_213;

#[derive(Debug)]
pub(super) struct HashDraft {
    pub(super) key: Checked<Located<[u8; 16]>>,
    pub(super) table_size: Checked<Located<u32>>,
}

impl HashDraft {
    pub(super) fn finish(self) -> Checked<Hash> {
        Ok(Hash { key: self.key?.value, table_size: self.table_size?.value })
    }
}

pub(super) fn read(mut section: Section<'_>) -> HashDraft {
    let key =
        section.required("key", "\"...\", with the output of `openssl rand -hex 16`", value::key);
    let size = section.or(
        "table_size",
        DEFAULT_TABLE_SIZE,
        value::integer::<u32>(2..=i64::from(MAX_TABLE_SIZE)),
    );
    let table_size = size.and_then(|size| match nearest_primes(size.value) {
        None => Ok(size),
        Some((below, above)) => {
            let message =
                format!("is {}, not a prime; the nearest are {below} and {above}", size.value);
            Err(section.mistake(size.at, "table_size", message))
        }
    });
    section.finish();
    HashDraft { key, table_size }
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
pub(super) fn prime_at_least(number: u32) -> u32 {
    (number..=u32::MAX).find(|&n| is_prime(n)).unwrap_or(u32::MAX)
}

fn is_prime(number: u32) -> bool {
    let divides = |divisor: &u32| number.is_multiple_of(*divisor);
    number >= 2
        && (2..=number.isqrt().min(3)).all(|divisor| !divides(&divisor))
        && !(5..=number.isqrt()).step_by(2).any(|divisor| divides(&divisor))
}

/// Whether a Maglev table may have this many slots at all.
pub(super) fn is_table_size(size: u32) -> bool {
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
        assert!(is_prime(MAX_TABLE_SIZE) && is_prime(DEFAULT_TABLE_SIZE));
        assert_eq!(nearest_primes(65536), Some((65521, 65537)));
        assert_eq!(nearest_primes(4), Some((3, 5)));
        // The only divisor of 4093 squared is the last candidate.
        assert!(!is_prime(4093 * 4093));
    }
}
