//! All work of the balancer for a packet, in bursts as in a worker: classify, decide, encapsulate. There are
//! 1,024 flows, so that frames and flow table entries stay in the second-level cache.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

use crate::traffic::{Ip, Kind, PACKETS, Traffic, Transport};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (inner, outer) in [(Ip::V4, Ip::V4), (Ip::V4, Ip::V6), (Ip::V6, Ip::V4), (Ip::V6, Ip::V6)] {
        for services in [1, 10_000] {
            for known in [true, false] {
                let transport = if known { Transport::Ack } else { Transport::Syn };
                let kind = Kind { inner, outer, transport, known, services, ..Kind::HIT };
                let what = if known { "hit" } else { "miss" };
                let name = format!("{what}/{inner:?}-in-{outer:?}/{services}").to_lowercase();
                let mut traffic = Traffic::new(kind);
                group.bench_function(name, |b| {
                    b.iter_custom(|iterations| {
                        let mut spent = Duration::ZERO;
                        for _ in 0..iterations {
                            traffic.reset();
                            let start = Instant::now();
                            let forwarded = traffic.process();
                            spent += start.elapsed();
                            assert_eq!(forwarded, PACKETS);
                        }
                        spent
                    });
                });
            }
        }
    }
    group.finish();
}
