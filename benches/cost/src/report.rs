//! The object that a part of the benchmark prints; `benches/report.py` tells what is in it.

use std::fs;

use serde_json::{Value, json};

use crate::sample::Measured;

/// A claim and what was measured of it.
pub fn claim(claim: &str, bound: &str, target: f64, unit: &str, measured: Measured) -> Value {
    let met = match bound {
        "at most" => measured.median <= target,
        _ => measured.median >= target,
    };
    json!({
        "claim": claim, "bound": bound, "target": target, "unit": unit,
        "measured": measured.median, "spread": measured.spread, "met": met,
    })
}

/// A table.
pub fn table(name: &str, title: &str, columns: &[&str], rows: &[Value], note: &str) -> Value {
    json!({ "name": name, "title": title, "columns": columns, "rows": rows, "note": note })
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Says what is being measured.
pub fn progress(what: &str) {
    eprintln!("  {what}");
}
