//! The flow table by itself, with more and more live flows in it: what a large one costs is cache misses.
//!
//! The table has two entries for each flow. The flows are visited in an order that has nothing to do with
//! their places. An inserted flow is expired when the next one comes, so that the number of live flows
//! stays what it is while insertions find free and expired places as they do in life.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use guideway::balancer::Time;
use guideway::balancer::conntrack::{Entry, Insertion, State, Table, Timeouts};
use guideway::balancer::id::BackendId;

const BACKEND: BackendId = BackendId::new(7);
/// A SYN expires after a millisecond, an established flow not while this runs.
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
                table.insert(tag, BACKEND, State::Syn, Time::from_millis(now), &TIMEOUTS)
            });
        });
        group.finish();
    }
}

/// A table with so many live flows in it, and their tags.
fn filled(flows: usize) -> (Table, Vec<u64>) {
    let mut table = Table::new(flows * 2);
    let mut tags = Vec::with_capacity(flows);
    for tag in (0..).map(tag) {
        if tags.len() == flows {
            break;
        }
        // Some find their bucket full.
        if table.insert(tag, BACKEND, State::Established, START, &TIMEOUTS) == Insertion::Stored {
            tags.push(tag);
        }
    }
    (table, tags)
}

/// Well mixed, and no two of them equal: the finalizer of SplitMix64.
fn tag(number: u64) -> u64 {
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
