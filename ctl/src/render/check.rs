//! Tables of checks.

use std::time::SystemTime;

use guideway_api::{
    CheckDetails, CheckResult, CheckRow, CheckRun, CheckTotals, CheckVia, Checks, Pin,
};

use super::age::age;
use super::tint;
use crate::table::{Table, key, left, right};

/// What holds for all checks, before their table.
pub(super) fn notes(checks: &Checks) -> Vec<String> {
    let frozen = checks.frozen.iter();
    let frozen = frozen.map(|cause| format!("warning: states do not follow the results: {cause}"));
    let warnings = checks.warnings.iter().map(|warning| format!("warning: {warning}"));
    frozen.chain(warnings).collect()
}

pub(super) fn table(checks: &Checks) -> Table<8> {
    let mut table = Table::new([
        key("CHECK"),
        key("POOL"),
        key("BACKEND"),
        left("VIA"),
        left("TARGET"),
        left("STATE"),
        right("SINCE"),
        left("RESULT"),
    ]);
    let now = SystemTime::now();
    for row in &checks.rows {
        table.row([
            &row.check,
            &row.pool,
            &row.backend,
            &row.via.name(),
            &row.target,
            &row.state.name(),
            &age(&row.since, now),
            &result(row),
        ]);
        table.tint("STATE", tint::check(row));
    }
    table
}

/// The last result, and what else there is to know of the state.
fn result(row: &CheckRow) -> String {
    let result = row.result.as_ref().map(ToString::to_string);
    let kept = row.kept.then(|| "the pool keeps it".to_owned());
    let icmp = row.icmp.as_ref().map(|icmp| format!("ICMP: {icmp}"));
    result.into_iter().chain(kept).chain(icmp).collect::<Vec<_>>().join("; ")
}

/// All about one check of one backend. Each of the last results has a row.
pub(super) fn detail_table(details: &CheckDetails) -> Table<2> {
    let row = &details.row;
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    table.row([&"check", &row.check]);
    table.row([&"pool", &row.pool]);
    table.row([&"backend", &row.backend]);
    table.row([&"address", &row.address]);
    table.row([&"via", &row.via.name()]);
    table.row([&"target", &row.target]);
    table.row([&"state", &row.state.name()]);
    table.tint("VALUE", tint::check(row));
    table.row([&"since", &row.since]);
    table.row([&"against", &row.against]);
    table.row([&"kept", &row.kept]);
    table.row([&"pools", &details.pools.join(",")]);
    let sources: Vec<String> = details.sources.iter().map(ToString::to_string).collect();
    table.row([&"sources", &sources.join(",")]);
    let next = match details.next_ms {
        Some(next_ms) => format!("in {next_ms} ms"),
        None => "under way".to_owned(),
    };
    table.row([&"next", &next]);
    table.row([&"certificate_ends", &details.certificate_ends.as_deref().unwrap_or_default()]);
    table.row([&"icmp", &row.icmp.as_deref().unwrap_or_default()]);
    for result in &details.results {
        table.row([&"result", &format!("{} {result}", result.time)]);
        table.tint("VALUE", tint_of(result));
    }
    table
}

fn tint_of(result: &CheckResult) -> crate::terminal::Tint {
    tint::result(result.code.is_success())
}

/// A single probe: where it went, its steps with the time of each, and how it ended.
pub(super) fn run_table(run: &CheckRun) -> Table<3> {
    let way = match run.via {
        CheckVia::Tunnel => "through its tunnel",
        CheckVia::Direct => "directly",
    };
    let mut table = Table::headless([left("STEP"), right("TIME"), left("DETAIL")]);
    let place =
        format!("{}/{} of pool {}, {way}, to {}", run.check, run.backend, run.pool, run.target);
    table.row([&"probe", &"0.0 ms", &place]);
    for step in &run.steps {
        table.row([&step.step, &milliseconds(step.at_us), &step.detail]);
    }
    let CheckResult { code, status, detail, latency_us, .. } = &run.result;
    let status = status.map(|status| format!("status {status}"));
    let detail = (!detail.is_empty()).then(|| detail.clone());
    let words: Vec<String> = status.into_iter().chain(detail).collect();
    table.row([&code.name(), &milliseconds(*latency_us), &words.join(": ")]);
    table.tint("STEP", tint_of(&run.result));
    table
}

/// A time within a probe.
fn milliseconds(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

/// Backends with their checks by state, each with its name.
pub(super) fn totals(totals: &CheckTotals) -> [(&'static str, usize); 5] {
    [
        ("checks_up", totals.up),
        ("checks_draining", totals.draining),
        ("checks_down", totals.down),
        ("checks_unknown", totals.unknown),
        ("checks_kept", totals.kept),
    ]
}

/// Which backend probes find from which source.
pub(super) fn pin_table(pins: &[Pin]) -> Table<3> {
    let mut table = Table::new([key("SOURCE"), left("POOL"), left("BACKEND")]);
    for pin in pins {
        table.row([&pin.source, &pin.pool, &pin.backend]);
    }
    table
}
