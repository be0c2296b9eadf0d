//! Building a Maglev table, as the control plane does for each changed pool.

use criterion::{BenchmarkId, Criterion};
use guideway_core::balancer::maglev::Table;

use crate::traffic::{KEY, members};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maglev-build");
    group.sample_size(10);
    for (size, backends) in [(65_537, 10), (65_537, 100), (65_537, 1000), (655_373, 1000)] {
        let members = members(backends);
        group.bench_function(BenchmarkId::new(size.to_string(), backends), |b| {
            b.iter(|| Table::build(&KEY, size, &members));
        });
    }
    group.finish();
}
