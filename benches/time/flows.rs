//! The flow table alone, with more and more live flows: a large table costs cache misses.
//!
//! The table has two entries for each flow. Flows are visited in an order unrelated to their slots. An inserted
//! flow has expired when the next one comes. So the number of live flows stays constant, and insertions find
//! free and expired slots as in operation.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use guideway_core::balancer::Time;
use guideway_core::balancer::conntrack::{Entry, Insertion, State, Table, Timeouts};
use guideway_core::balancer::id::{BackendId, ServiceId};

const BACKEND: BackendId = BackendId::new(7);
const SERVICE: ServiceId = ServiceId(3);
/// A SYN expires after a millisecond, an established flow not during the benchmark.
const TIMEOUTS: Timeouts = {
    let mut idle = [1; State::ALL.len()];
    idle[State::Established as usize] = u32::MAX / 2;
    Timeouts { idle, reuse: 1 }
};
const START: Time = Time::from_millis(0);

pub(crate) fn bench(criterion: &mut Criterion) {
    for flows in [1, 1 << 10, 1 << 16, 1 << 20] {
        let (mut table, tags) = filled(flows);
        let mut known = tags.iter().cycle();
        let mut unknown = (0..).map(|n| tag(n | 1 << 40));

        let mut group = criterion.benchmark_group("flow-table");
        group.bench_function(BenchmarkId::new("hit", flows), |b| {
            b.iter(|| {
                let tag = *known.next().expect("endless");
                let (place, entry) = table.get(tag, START, &TIMEOUTS).expect("a known flow");
                table.update(place, Entry::new(entry.backend(), State::Established, START));
            });
        });
        group.bench_function(BenchmarkId::new("miss", flows), |b| {
            b.iter(|| {
                let found = table.get(unknown.next().expect("endless"), START, &TIMEOUTS);
                assert!(black_box(found).is_none());
            });
        });
        let mut now = 0;
        group.bench_function(BenchmarkId::new("insert", flows), |b| {
            b.iter(|| {
                now += 2;
                let tag = unknown.next().expect("endless");
                let now = Time::from_millis(now);
                let entry = Entry::new(BACKEND, State::Syn, now);
                table.insert(tag, SERVICE, entry, now, &TIMEOUTS, |_, _| true)
            });
        });
        group.finish();
    }
}

/// A table with `live` live flows, and their tags.
fn filled(flows: usize) -> (Table, Vec<u64>) {
    let mut table = Table::new(flows * 2);
    let mut tags = Vec::with_capacity(flows);
    for tag in (0..).map(tag) {
        if tags.len() == flows {
            break;
        }
        let entry = Entry::new(BACKEND, State::Established, START);
        // Some buckets may be full.
        if table.insert(tag, SERVICE, entry, START, &TIMEOUTS, |_, _| true) == Insertion::Stored {
            tags.push(tag);
        }
    }
    (table, tags)
}

/// The finalizer of SplitMix64: well mixed, and different for each number.
fn tag(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
