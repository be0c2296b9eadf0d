//! Parsing a frame that is in the cache.

use std::hint::black_box;

use criterion::Criterion;
use guideway_core::wire::Packet;

use crate::traffic::{Ip, Kind, Transport, frame};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let cases = [
        ("v4-tcp", Kind::HIT),
        ("v4-udp", Kind { transport: Transport::Udp, ..Kind::HIT }),
        ("v4-tcp-vlan", Kind { tags: 1, ..Kind::HIT }),
        ("v6-tcp", Kind { inner: Ip::V6, ..Kind::HIT }),
        ("v6-udp", Kind { inner: Ip::V6, transport: Transport::Udp, ..Kind::HIT }),
    ];
    for (name, kind) in cases {
        let frame = frame(kind, 0);
        assert!(Packet::parse(&frame).is_ok(), "{name} is well-formed");
        group.bench_function(name, |b| b.iter(|| Packet::parse(black_box(&frame))));
    }
    group.finish();
}
