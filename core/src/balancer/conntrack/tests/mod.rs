//! The flow table: its rules one by one, against a plain map, nearly full, beside the sweep and under floods.

mod fill;
mod floods;
mod model;
mod rules;

use super::super::id::{BackendId, ServiceId};
use super::super::time::Time;
use super::bucket::stored;
use super::entry::{ENDED_LINGER_MS, Entry};
use super::insert::Insertion;
use super::state::{State, Timeouts};
use super::table::Table;

const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
const SERVICE: ServiceId = ServiceId(0);

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn backend(n: u32) -> BackendId {
    BackendId::new(n)
}

/// Records a flow. The sweep has nothing against any.
fn insert(table: &mut Table, tag: u64, backend: BackendId, state: State, ms: u64) -> Insertion {
    let entry = Entry::new(backend, state, at(ms));
    table.insert(tag, SERVICE, entry, at(ms), &TIMEOUTS, |_, _| true)
}

/// A tag without a pattern, for each number another one: SplitMix64.
fn tag(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    stored(x ^ x >> 31)
}

/// Every tag in the table, in order. Each must be in one of its two buckets, and each bucket with an empty slot known.
fn tags(table: &Table) -> Vec<u64> {
    let mut tags = Vec::new();
    for (index, bucket) in table.buckets.iter().enumerate() {
        assert_eq!(table.is_vacant(index), bucket.tags.contains(&0));
        for tag in bucket.tags.into_iter().filter(|&tag| tag != 0) {
            let home = table.index(tag);
            assert!(index == home || index == table.other(home, tag));
            tags.push(tag);
        }
    }
    tags.sort_unstable();
    tags
}
