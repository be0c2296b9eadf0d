//! Measures what a packet costs a worker, without I/O: see [`cost::subject`]. Prints one object, as
//! `benches/report.py` describes.
//!
//!     cargo run --release -p guideway-cost [-- --case NAME]
//!
//! `--case` measures only the cases with NAME in their title (`TCP hit, 1 flows`), and makes no claims.

mod cases;
mod stages;

use std::collections::BTreeMap;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use cost::part::{Part, progress};
use cost::sample::{Measured, repeat};
use cost::stage;
use cost::subject::Subject;
use serde_json::{Value, json};

use cases::{CASES, Case};

/// Bursts of one measurement: some milliseconds.
const BURSTS: usize = 2000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let only = match &arguments[..] {
        [] => "",
        [flag, name] if flag == "--case" => name,
        _ => bail!("unknown arguments; there is --case NAME"),
    };
    let mut part = Part::new("cost");
    let (eal, pool) = stage::open("cost")?;
    let accepted = instructions()?;
    let mut measured = BTreeMap::new();
    let mut rows = Vec::new();
    for (n, case) in CASES.iter().filter(|case| case.title().contains(only)).enumerate() {
        progress(&case.title());
        let name = format!("case{n}");
        let mut subject = Subject::new(&eal, &pool, &name, case.kind, case.flows, case.entries())?;
        let mut failure = None;
        let cost = repeat(|| {
            subject.measure(BURSTS).unwrap_or_else(|error| {
                failure = Some(error);
                0.0
            })
        });
        if let Some(error) = failure {
            return Err(error.context(case.name));
        }
        let outcome = subject.outcome(BURSTS).context(case.name)?;
        let count = accepted.get(case.instructions).with_context(|| case.instructions)?;
        rows.push(vec![
            json!(case.name),
            json!(case.flows),
            json!(cost.ns()),
            json!(cost.percent()),
            json!(format!("{count:.0}")),
            json!(format!("{:.1} %", outcome.hits)),
        ]);
        measured.insert((case.name, case.flows), cost);
    }
    part.table(
        ("packet", "A packet in a worker's hands"),
        &["case", "flows", "median", "spread", "instructions", "hits"],
        rows,
        "",
    );
    if only.is_empty() {
        progress("stages");
        part.table(
            (
                "stages",
                "Where the time goes: TCP segments of 1,024 known flows, IPv4 in IPv4, in plain buffers",
            ),
            &["step", "median", "spread"],
            stages::rows(),
            "",
        );
        claim(&mut part, &measured)?;
    }
    part.print();
    Ok(())
}

/// The accepted instructions per packet, by the names in `benches/instructions.json`.
fn instructions() -> Result<BTreeMap<String, f64>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json");
    let accepted: Value = serde_json::from_str(&fs::read_to_string(file).context(file)?)?;
    let packets = accepted["packets"].as_f64().context("instructions.json: no `packets`")?;
    let counts = accepted["instructions"].as_object().context("instructions.json: no counts")?;
    let each = |(name, count): (&String, &Value)| Some((name.clone(), count.as_f64()? / packets));
    Ok(counts.iter().filter_map(each).collect())
}

/// Checks the measurements against their targets.
fn claim(part: &mut Part, measured: &BTreeMap<(&str, u64), Measured>) -> Result<()> {
    let of = |name, flows| {
        measured.get(&(name, flows)).copied().with_context(|| format!("{name} was not measured"))
    };
    for (flows, target) in cases::TARGETS {
        let what = format!("TCP hit, GRE over IPv4, 100 backends, {flows} flows");
        let hit = of(Case::HIT, flows)?;
        part.at_most(&what, target, "ns", hit.median, hit.spread);
    }
    let syn = of(Case::SYN, cases::COMMON)?;
    part.at_most("SYN miss with insert", 60.0, "ns", syn.median, syn.spread);
    let (v4, v6) = (of(Case::HIT, cases::COMMON)?, of(Case::HIT_V6, cases::COMMON)?);
    let (ratio, spread) = (v6.median / v4.median, v4.spread + v6.spread);
    part.at_most("IPv6 over IPv4 packets", 1.5, "", ratio, spread);
    Ok(())
}
