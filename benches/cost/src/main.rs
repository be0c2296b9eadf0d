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
use cost::clock::cycle;
use cost::part::{Part, progress};
use cost::sample::{Measured, repeat_in_turns, try_repeat};
use cost::stage;
use cost::subject::Subject;
use guideway::dpdk::{Eal, Mempool};
use serde_json::{Value, json};

use cases::{CASES, Case, Limit};

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
    let mut plain = subject(&eal, &pool, "plain", &Case::PLAIN)?;
    let mut results = Vec::new();
    for (n, case) in CASES.iter().filter(|case| case.title().contains(only)).enumerate() {
        progress(&case.title());
        let mut subject = subject(&eal, &pool, &format!("case{n}"), case)?;
        let cost = measure(case, &mut subject, &mut plain).context(case.name)?;
        let outcome = subject.outcome(case.bursts).context(case.name)?;
        results.push((case, cost, outcome.hits));
    }
    let rows = results.iter().map(|&(case, cost, hits)| row(case, cost, hits, &accepted));
    part.table(
        ("packet", "A packet in a worker's hands"),
        &[
            "case",
            "flows",
            "median",
            "spread",
            "cycles",
            "of plain GRE",
            "its spread",
            "instructions",
            "hits",
        ],
        rows.collect::<Result<_>>()?,
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
        for (case, cost, _) in &results {
            claim(&mut part, case, cost).context(case.name)?;
        }
    }
    part.print();
    Ok(())
}

fn subject(eal: &Eal, pool: &Mempool, name: &str, case: &Case) -> Result<Subject> {
    Subject::new(eal, pool, name, case.kind, case.flows, case.entries()).context(case.name)
}

/// What a packet costs.
#[derive(Clone, Copy)]
struct Cost {
    nanoseconds: Measured,
    /// The same in cycles of the CPU's clock.
    cycles: Measured,
    /// Over the cost of plain GRE, if that is measured with it.
    ratio: Option<Measured>,
}

/// Measures a case, in turns with plain GRE if it is to be compared with that.
fn measure(case: &Case, subject: &mut Subject, plain: &mut Subject) -> Result<Cost> {
    let mut cycles = Vec::new();
    let mut once = |subject: &mut Subject| -> Result<f64> {
        let cycle = cycle();
        let nanoseconds = subject.measure(case.bursts)?;
        cycles.push(nanoseconds / cycle);
        Ok(nanoseconds)
    };
    let (nanoseconds, ratio) = if case.is_compared() {
        let (nanoseconds, ratio) = repeat_in_turns(|| {
            plain.warm_up(Case::PLAIN.bursts)?;
            let base = plain.measure(Case::PLAIN.bursts)?;
            subject.warm_up(case.bursts)?;
            Ok((base, once(subject)?))
        })?;
        (nanoseconds, Some(ratio))
    } else {
        (try_repeat(|| once(subject))?, None)
    };
    Ok(Cost { nanoseconds, cycles: Measured::of(&cycles), ratio })
}

/// The row of a case.
fn row(case: &Case, cost: Cost, hits: f64, accepted: &BTreeMap<String, f64>) -> Result<Vec<Value>> {
    let instructions = match case.instructions {
        Some(name) => format!("{:.0}", accepted.get(name).with_context(|| name.to_owned())?),
        None => String::new(),
    };
    let ratio = |text: fn(&Measured) -> String| cost.ratio.as_ref().map_or(String::new(), text);
    Ok(vec![
        json!(case.name),
        json!(case.flows),
        json!(cost.nanoseconds.ns()),
        json!(cost.nanoseconds.percent()),
        json!(format!("{:.0}", cost.cycles.median)),
        json!(ratio(|ratio| format!("{:.2}", ratio.median))),
        json!(ratio(Measured::percent)),
        json!(instructions),
        json!(format!("{hits:.1} %")),
    ])
}

/// Checks a case against its limit, if it has one.
fn claim(part: &mut Part, case: &Case, cost: &Cost) -> Result<()> {
    match case.limit {
        Some(Limit::Nanoseconds(limit, claim)) => {
            let Measured { median, spread } = cost.nanoseconds;
            part.at_most(claim, limit, "ns", median, spread);
        }
        Some(Limit::OfPlain(limit)) => {
            let Measured { median, spread } = cost.ratio.context("it was measured alone")?;
            part.at_most(&format!("{}, over plain GRE", case.name), limit, "", median, spread);
        }
        None => {}
    }
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
