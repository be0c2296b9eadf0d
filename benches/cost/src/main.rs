//! What a packet costs a worker, without I/O: see [`cost::subject`]. One object on standard output, as
//! `benches/report.py` describes.
//!
//!     cargo run --release -p guideway-cost [-- --case NAME]
//!
//! `--case` measures the cases only that have this in their title (`TCP hit, 1 flows`), and makes no claims.

#![expect(clippy::print_stdout, reason = "the report is the program's purpose")]

mod cases;
mod stages;

use std::collections::BTreeMap;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use cost::report::{claim, load, progress, table};
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
    let before = load();
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
        let count = case.counted.and_then(|name| accepted.get(name));
        rows.push(json!([
            case.name,
            case.flows,
            cost.ns(),
            cost.percent(),
            count.map_or_else(|| "-".to_owned(), |count| format!("{count:.0}")),
            format!("{:.1} %", outcome.hits),
        ]));
        measured.insert((case.name, case.flows), cost);
    }
    let mut tables = vec![table(
        "packet",
        "A packet in a worker's hands",
        &["case", "flows", "median", "spread", "instructions", "hits"],
        &rows,
        "",
    )];
    let mut claims = Vec::new();
    if only.is_empty() {
        progress("stages");
        tables.push(table(
            "stages",
            "Where the time goes: TCP segments of 1,024 known flows, IPv4 in IPv4, in plain buffers",
            &["step", "median", "spread"],
            &stages::rows(),
            "",
        ));
        claims = claimed(&measured)?;
    }
    let part =
        json!({ "part": "cost", "load": [before, load()], "tables": tables, "claims": claims });
    println!("{part}");
    Ok(())
}

/// Instructions per packet, by the names of `benches/instructions.json`.
fn instructions() -> Result<BTreeMap<String, f64>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json");
    let accepted: Value = serde_json::from_str(&fs::read_to_string(file).context(file)?)?;
    let packets = accepted["packets"].as_f64().context("instructions.json: no `packets`")?;
    let counts = accepted["instructions"].as_object().context("instructions.json: no counts")?;
    let each = |(name, count): (&String, &Value)| Some((name.clone(), count.as_f64()? / packets));
    Ok(counts.iter().filter_map(each).collect())
}

/// What is claimed of these measurements.
fn claimed(measured: &BTreeMap<(&str, u64), Measured>) -> Result<Vec<Value>> {
    let of = |name, flows| {
        measured.get(&(name, flows)).copied().with_context(|| format!("{name} was not measured"))
    };
    let mut claims = Vec::new();
    for (flows, target) in cases::TARGETS {
        let what = format!("TCP hit, GRE over IPv4, 100 backends, {flows} flows");
        claims.push(claim(&what, "at most", target, "ns", of(Case::HIT, flows)?));
    }
    let syn = of(Case::SYN, cases::COMMON)?;
    claims.push(claim("SYN miss with insert", "at most", 60.0, "ns", syn));
    let (v4, v6) = (of(Case::HIT, cases::COMMON)?, of(Case::HIT_V6, cases::COMMON)?);
    let ratio = Measured { median: v6.median / v4.median, spread: v4.spread + v6.spread };
    claims.push(claim("IPv6 over IPv4 packets", "at most", 1.5, "", ratio));
    Ok(claims)
}
