//! New flows: how many per second, and how they affect established flows.

use anyhow::Result;
use cost::part::{Part, progress};
use cost::sample::{Measured, repeat};
use cost::source::Source;
use cost::subject::Subject;
use cost::traffic::{Kind, Transport};
use guideway::dpdk::{BURST, Eal, Mempool};
use serde_json::json;

/// Entries of the table.
const ENTRIES: usize = 1 << 20;
/// Established flows.
const FLOWS: u64 = 1 << 16;
/// SYNs of a flood: each begins a flow, sixteen for each entry.
const FLOOD: usize = 16 * ENTRIES;
const BURSTS: usize = 1000;

const SYN: Kind = Kind { transport: Transport::Syn, known: false, ..Kind::HIT };

/// Measures, and adds the claims.
pub(crate) fn measure(part: &mut Part, eal: &Eal, pool: &Mempool) -> Result<()> {
    progress("new flows");
    let mut syns = Subject::new(eal, pool, "syns", SYN, 10 << 20, ENTRIES)?;
    let new = sampled(|| syns.measure(BURSTS))?;
    let mut under_way = Subject::new(eal, pool, "under-way", Kind::HIT, FLOWS, ENTRIES)?;
    let alone = sampled(|| under_way.measure(BURSTS))?;
    let before = under_way.outcome(BURSTS)?.hits;
    let mut flood = Source::others(SYN, 10 << 20);
    under_way.take_beside(&mut flood, FLOOD / BURST)?;
    let after = under_way.outcome(4 * BURSTS)?.hits;
    let flooded = sampled(|| under_way.measure(BURSTS))?;
    let row = |what: &str, ns: Measured, hits: String| {
        let rate = format!("{:.1}", 1e3 / ns.median);
        vec![json!(what), json!(ns.ns()), json!(ns.percent()), json!(rate), json!(hits)]
    };
    let rows = vec![
        row("SYNs, each of a new flow", new, "-".to_owned()),
        row("flows under way", alone, format!("{before:.2} %")),
        row("flows under way, after 16 million SYNs beside them", flooded, format!("{after:.2} %")),
    ];
    let columns = ["packets", "median", "spread", "million packets per second", "hits"];
    let title = "New flows: 65,536 flows under way, a table of 1,048,576 entries";
    part.table(("new-flows", title), &columns, rows, "");
    part.at_least("Flows under way that a SYN flood leaves alone", 100.0, "%", after, 0.0);
    Ok(())
}

/// Repeats a measurement that may fail.
fn sampled(mut once: impl FnMut() -> Result<f64>) -> Result<Measured> {
    let mut failure = None;
    let measured = repeat(|| match once() {
        Ok(value) => value,
        Err(error) => {
            failure = Some(error);
            f64::NAN
        }
    });
    failure.map_or(Ok(measured), Err)
}
