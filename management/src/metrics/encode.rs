//! A snapshot as a page in Prometheus's text format.
//!
//! The families of the long tables are written line by line: among 20,000 backends that takes an eighth of the time
//! of the crate's data model, which owns a string for every label of every sample (docs/performance.md). All others
//! go through the crate. A test holds both to the same text.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};
use guideway_chassis::metrics as chassis;
use prometheus::proto;

use super::families::{Metric, Scope, Value};
use super::list::METRICS;
use super::request::Wanted;
use super::snapshot::{Count, Labels, Scrape, Shown, Snapshot, Widths};

/// The groups that stand at the end of each page, whatever is asked for.
const LAST: [&str; 2] = ["left_out", "scrape"];

/// Writes a page of at most so many series, but always with those of short tables. Returns how many series are left
/// out.
pub(super) fn page(
    snapshot: &mut Snapshot,
    wanted: &Wanted,
    max_series: usize,
    page: &mut BytesMut,
) -> usize {
    let of = |is_large: bool| {
        METRICS.iter().filter(move |metric| {
            wanted.has(metric.scope)
                && metric.scope.is_large() == is_large
                && !LAST.contains(&metric.group)
        })
    };
    let large = || Scope::ALL.into_iter().filter(|&scope| scope.is_large() && wanted.has(scope));
    let mut series: usize = of(false).map(|metric| by_crate(metric, snapshot, page)).sum();
    let last = large().count() + 1;
    let shown = Shown {
        pools: wanted.has(Scope::Pools),
        services: wanted.has(Scope::Services),
        backends: wanted.has(Scope::Backends),
        names: &wanted.names,
    };
    let left_out = snapshot.show(shown, widths(), max_series.saturating_sub(series + last));
    series += of(true).map(|metric| line_by_line(metric, snapshot, page)).sum::<usize>();

    let rows = [Scope::Pools, Scope::Services, Scope::Backends].into_iter().zip(left_out);
    let rows = rows.filter(|&(scope, _)| wanted.has(scope));
    snapshot
        .left_out
        .fill(rows.map(|(scope, count)| (scope.name().into(), Count { count: count as u64 })));
    snapshot.scrape.set(Scrape { series: (series + last) as u64 });
    METRICS.iter().filter(|metric| LAST.contains(&metric.group)).for_each(|metric| {
        by_crate(metric, snapshot, page);
    });
    left_out.iter().sum()
}

/// How many metrics the rows of the long tables have.
fn widths() -> Widths {
    let of = |groups: &[&str]| METRICS.iter().filter(|m| groups.contains(&m.group)).count();
    Widths {
        pool: of(&["pools"]),
        service: of(&["services"]),
        backend: of(&["backends", "backend_states"]),
    }
}

/// Writes a family without the crate. Returns the number of its series. A family without any is not written.
fn line_by_line(metric: &Metric, snapshot: &Snapshot, page: &mut BytesMut) -> usize {
    let start = page.len();
    for text in [
        "# HELP ",
        metric.name,
        " ",
        metric.help,
        "\n# TYPE ",
        metric.name,
        " ",
        metric.kind.name(),
        "\n",
    ] {
        page.put_slice(text.as_bytes());
    }
    let mut series = 0;
    let (mut digits, mut text) = (Digits::default(), String::new());
    (metric.samples)(snapshot, &mut |labels, value| {
        let Labels::Text(labels) = labels else {
            unreachable!("the long tables have rendered labels")
        };
        let value = match value {
            Value::Integer(value) => digits.of(value),
            Value::Float(value) => {
                text.clear();
                // A String takes all of it.
                let _ = write!(text, "{value}");
                text.as_bytes()
            }
            Value::Histogram(_) | Value::Absent => unreachable!("the long tables have numbers"),
        };
        // At once, for one check of the room.
        page.reserve(metric.name.len() + labels.len() + value.len() + 4);
        page.put_slice(metric.name.as_bytes());
        page.put_u8(b'{');
        page.put_slice(labels.as_bytes());
        page.put_slice(b"} ");
        page.put_slice(value);
        page.put_u8(b'\n');
        series += 1;
    });
    if series == 0 {
        page.truncate(start);
    }
    series
}

/// The decimal digits of a number.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn of(&mut self, mut value: u64) -> &[u8] {
        let mut start = self.0.len();
        loop {
            start -= 1;
            let digit = (value % 10) as u8;
            self.0[start] = b'0' + digit;
            value /= 10;
            if value == 0 {
                return &self.0[start..];
            }
        }
    }
}

/// Writes a family by the crate. Returns the number of its series. A family without any is not written.
fn by_crate(metric: &Metric, snapshot: &Snapshot, page: &mut BytesMut) -> usize {
    let mut samples = Vec::new();
    let mut series = 0;
    (metric.samples)(snapshot, &mut |labels, value| {
        let Some(sample) = sample(metric, labels, value) else { return };
        series += match value {
            // With the bucket of all, the sum and the count.
            Value::Histogram(histogram) => histogram.get_bucket().len() + 3,
            _ => 1,
        };
        samples.push(sample);
    });
    chassis::write(metric.kind, metric.name, metric.help, samples, page);
    series
}

fn sample(metric: &Metric, labels: Labels<'_>, value: Value<'_>) -> Option<proto::Metric> {
    let labels = match labels {
        Labels::One(value) => &[(metric.labels[0], value)][..],
        _ => &[],
    };
    let number = match value {
        Value::Integer(value) => value as f64,
        Value::Float(value) => value,
        Value::Histogram(_) => 0.0,
        Value::Absent => return None,
    };
    let mut sample = chassis::sample(metric.kind, labels, number);
    if let Value::Histogram(histogram) = value {
        sample.set_histogram(histogram.clone());
    }
    Some(sample)
}
