//! The time to build one Maglev table.

use std::net::Ipv4Addr;

use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::maglev::{Candidate, Table, identity};
use serde_json::json;

use crate::part::{Effort, Part, grouped, milliseconds, percent, repeat, timed};

const KEY: FleetKey = FleetKey::new([0x5a; 16]);

/// Weights of backends by their number.
struct Weights {
    name: &'static str,
    of: fn(u32) -> u32,
}

const EQUAL: Weights = Weights { name: "equal", of: |_| 1 };
const MIXED: Weights = Weights { name: "1 to 7", of: |n| n % 7 + 1 };
/// The first case alone has more rounds.
const ONE_HEAVY: Weights =
    Weights { name: "one of 500, others 1", of: |n| [500, 1][n.min(1) as usize] };

/// Slots, backends and weights.
const CASES: [(u32, u32, Weights); 9] = [
    (65_537, 10, EQUAL),
    (65_537, 100, EQUAL),
    (65_537, 1000, EQUAL),
    (65_537, 1000, MIXED),
    (65_537, 1000, ONE_HEAVY),
    (655_373, 1000, EQUAL),
    (655_373, 1000, MIXED),
    (655_373, 1000, ONE_HEAVY),
    (2_000_003, 20_000, EQUAL),
];

/// Targets: an index in [`CASES`], and milliseconds at the most.
const CLAIMS: [(usize, f64); 2] = [(2, 1.0), (5, 12.0)];

pub(crate) fn measure(part: &mut Part, effort: Effort) {
    let members: Vec<Vec<Candidate>> =
        CASES.iter().map(|(_, backends, weights)| members(*backends, weights.of)).collect();
    eprintln!("building tables:");
    let times = repeat::<{ CASES.len() }>(effort, |times| {
        for (times, ((size, ..), members)) in times.iter_mut().zip(CASES.iter().zip(&members)) {
            times.push(timed(|| Table::build(&KEY, *size, members)).0);
        }
    });
    let rows = CASES.iter().zip(&times).map(|((size, backends, weights), times)| {
        vec![
            json!(grouped(*size)),
            json!(grouped(*backends)),
            json!(weights.name),
            json!(milliseconds(times.median())),
            json!(percent(times.spread())),
        ]
    });
    part.table(
        ("build", "Building a Maglev table"),
        &["slots", "backends", "weights", "median", "spread"],
        rows.collect(),
        "The Maglev paper (section 5.3) has 1.8 ms and 22.9 ms, for 65,537 and 655,373 slots.",
    );
    for (case, target) in CLAIMS {
        let (size, backends, weights) = &CASES[case];
        let (size, backends) = (grouped(*size), grouped(*backends));
        let claim =
            format!("Maglev table, {size} slots, {backends} backends, {} weights", weights.name);
        part.at_most(&claim, target, "ms", times[case].median(), times[case].spread());
    }
}

fn members(backends: u32, weight: fn(u32) -> u32) -> Vec<Candidate> {
    let member = |value| Candidate {
        identity: identity(Ipv4Addr::from_bits(0x0a00_0000 + value).into()),
        weight: weight(value),
        value,
    };
    (0..backends).map(member).collect()
}
