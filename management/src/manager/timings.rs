//! How long the manager's work takes: its thread counts, any thread reads.

use std::time::Duration;

use prometheus::core::Metric;
use prometheus::{Histogram, HistogramOpts, proto};

/// Upper bounds of the buckets in seconds, from a change of one neighbour to the largest configuration, and to what
/// is in force late or never.
const BOUNDS: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Histograms of durations.
#[derive(Clone, Debug)]
pub struct Timings {
    compile: Histogram,
    publish: Histogram,
}

impl Default for Timings {
    fn default() -> Timings {
        Timings { compile: histogram("compile_seconds"), publish: histogram("publish_seconds") }
    }
}

/// The list of metrics has the name that is shown.
fn histogram(name: &str) -> Histogram {
    let options = HistogramOpts::new(name, name).buckets(BOUNDS.to_vec());
    Histogram::with_opts(options).expect("bounds that ascend")
}

impl Timings {
    /// How long it took to compile tables.
    pub fn compile(&self) -> proto::Histogram {
        self.compile.metric().get_histogram().clone()
    }

    /// How long it took from the publication of tables until every worker used them; the whole wait if they did not.
    pub fn publish(&self) -> proto::Histogram {
        self.publish.metric().get_histogram().clone()
    }

    pub(super) fn compiled(&self, took: Duration) {
        self.compile.observe(took.as_secs_f64());
    }

    pub(super) fn in_force(&self, took: Duration) {
        self.publish.observe(took.as_secs_f64());
    }
}
