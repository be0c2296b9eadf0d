//! The cost of each step: the same packets, processed one step further each time. The difference is the
//! step's cost.

use std::time::Instant;

use cost::sample::{Measured, ns_of_each, repeat};
use cost::traffic::{Kind, PACKETS, Traffic};
use serde_json::{Value, json};

/// A step's name, and a function that processes packets up to and including that step.
type Step = (&'static str, fn(&mut Traffic) -> usize);

const STEPS: [Step; 3] = [
    ("nothing: the loop", Traffic::nothing),
    ("parse, service, hash", Traffic::classify),
    ("flow table, backend, encapsulation, counters", Traffic::process),
];

/// Rounds over all packets in one measurement.
const ROUNDS: usize = 50;

/// A table row for each step: what it costs.
pub(crate) fn rows() -> Vec<Vec<Value>> {
    let mut traffic = Traffic::new(Kind::HIT);
    let mut before = 0.0;
    let mut rows = Vec::new();
    for (name, step) in STEPS {
        let Measured { median, spread } = repeat(|| {
            let mut spent = std::time::Duration::ZERO;
            for _ in 0..ROUNDS {
                traffic.reset();
                let start = Instant::now();
                step(&mut traffic);
                spent += start.elapsed();
            }
            ns_of_each(spent, ROUNDS * PACKETS)
        });
        let own = format!("{:.1} ns", median - before);
        rows.push(vec![json!(name), json!(own), json!(format!("{:.1} %", spread * 100.0))]);
        before = median;
    }
    rows
}
