//! Part `tables` of the benchmark: what building a Maglev table takes, and applying a configuration of
//! 20,000 backends.
//!
//! All of it is the control plane's work, on a CPU that no worker polls on; packets do not wait for it.

mod apply;
mod build;
#[path = "../part/mod.rs"]
mod part;

use std::time::Duration;

use part::{Effort, Part};

/// For the building of tables, and for each shape of a configuration: a few seconds on an idle machine.
const EFFORT: Effort = Effort { rounds: 25, spread: 0.02, limit: Duration::from_secs(25) };

fn main() {
    let mut part = Part::new("tables");
    build::measure(&mut part, EFFORT);
    apply::measure(&mut part, EFFORT);
    part.print();
}
