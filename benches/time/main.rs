//! Measures time, by criterion: `cargo bench -p guideway-suite --bench time -- [NAME]`.
//!
//! Names have the form `subject/case`. Other programs on the machine distort the results.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

mod decide;
mod flows;
mod maglev;
mod parse;
#[path = "../traffic/mod.rs"]
mod traffic;

/// Short, so that all cases take about a minute; `--measurement-time` changes that.
fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = parse::bench, maglev::bench, flows::bench, decide::bench
}
criterion_main!(benches);
