//! Part `tables` of the benchmark: the time to build a Maglev table, and to apply a configuration with 20,000
//! backends, to publish one change of it, and to make a page of metrics.
//!
//! This is work of the control plane, on a CPU where no worker polls. Packets do not wait for it.

mod apply;
mod build;
mod change;
#[path = "../part/mod.rs"]
mod part;
mod scrape;

use std::time::Duration;

use part::{Effort, Part};

/// The effort for building tables, and for each configuration: a few seconds on an idle machine.
const EFFORT: Effort = Effort { rounds: 25, spread: 0.02, limit: Duration::from_secs(25) };

fn main() {
    let mut part = Part::new("tables");
    build::measure(&mut part, EFFORT);
    apply::measure(&mut part, EFFORT);
    change::measure(&mut part, EFFORT);
    scrape::measure(&mut part, EFFORT);
    part.print();
}
