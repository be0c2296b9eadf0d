//! What the metrics of every daemon have in common: how a metric moves, who watches it, its text, its row in
//! `docs/metrics.md`, and what is known of the process.
//!
//! | file | what |
//! |---|---|
//! | `process.rs` | what the kernel says about the process |

mod process;

use bytes::{BufMut, BytesMut};
use prometheus::{Encoder, TextEncoder, proto};

pub use process::{Process, now};

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts values by their size.
    Histogram,
}

impl Kind {
    /// The word for it in the text format.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Who watches a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// These alert rules.
    Alerts(&'static [&'static str]),
    /// No alert rule. The dashboard shows it.
    Dashboard,
    /// It is for whoever asks for it.
    Nobody,
}

/// What begins the controller's part of `docs/metrics.md`, behind the forwarder's.
pub const CONTROLLER: &str = "\n## The controller\n";

/// The columns of [`row`], as the head of a table in Markdown.
pub const HEAD: &str = "| metric | type | labels | meaning | watched by |\n|---|---|---|---|---|\n";

/// The row of a metric in a table of all.
pub fn row(kind: Kind, name: &str, labels: &[&str], help: &str, watch: Watch) -> String {
    let quoted =
        |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
    let watched = match watch {
        Watch::Alerts(alerts) => quoted(alerts),
        Watch::Dashboard => "dashboard".to_owned(),
        Watch::Nobody => String::new(),
    };
    format!("| `{name}` | {} | {} | {help} | {watched} |\n", kind.name(), quoted(labels))
}

/// A sample of a counter or a gauge.
pub fn sample(kind: Kind, labels: &[(&str, &str)], value: f64) -> proto::Metric {
    let mut sample = proto::Metric::default();
    match kind {
        Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            sample.set_counter(counter);
        }
        Kind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            sample.set_gauge(gauge);
        }
        Kind::Histogram => {}
    }
    let label = |&(name, value): &(&str, &str)| {
        let mut label = proto::LabelPair::default();
        label.set_name(name.to_owned());
        label.set_value(value.to_owned());
        label
    };
    sample.set_label(labels.iter().map(label).collect());
    sample
}

/// A sample of a histogram: of each bucket the upper bound, and how many values lie between the bound before it and that;
/// then the number of all values, and their sum.
pub fn histogram(
    labels: &[(&str, &str)],
    buckets: impl IntoIterator<Item = (f64, u64)>,
    (count, sum): (u64, f64),
) -> proto::Metric {
    let mut below = 0;
    let buckets = buckets.into_iter().map(|(bound, values)| {
        below += values;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum);
    let mut sample = sample(Kind::Histogram, labels, 0.0);
    sample.set_histogram(histogram);
    sample
}

/// Writes a metric with its samples. One without samples is not written.
///
/// # Panics
/// If the name is empty.
pub fn write(kind: Kind, name: &str, help: &str, samples: Vec<proto::Metric>, page: &mut BytesMut) {
    if samples.is_empty() {
        return;
    }
    let mut family = proto::MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(match kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    family.set_metric(samples);
    TextEncoder::new().encode(&[family], &mut page.writer()).expect("a name, a sample, and room");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_up() {
        let mut page = BytesMut::new();
        let sample = histogram(&[("check", "web")], [(0.5, 2), (1.0, 3)], (6, 7.5));
        write(Kind::Histogram, "guideway_x_seconds", "Words.", vec![sample], &mut page);
        assert_eq!(
            String::from_utf8(page.to_vec()).unwrap(),
            "# HELP guideway_x_seconds Words.\n# TYPE guideway_x_seconds histogram\n\
             guideway_x_seconds_bucket{check=\"web\",le=\"0.5\"} 2\n\
             guideway_x_seconds_bucket{check=\"web\",le=\"1\"} 5\n\
             guideway_x_seconds_bucket{check=\"web\",le=\"+Inf\"} 6\n\
             guideway_x_seconds_sum{check=\"web\"} 7.5\nguideway_x_seconds_count{check=\"web\"} 6\n"
        );
    }

    #[test]
    fn a_metric_is_written_with_its_labels_and_its_row() {
        let mut page = BytesMut::new();
        let samples = vec![
            sample(Kind::Gauge, &[("peer", "tor\"1")], 1.0),
            sample(Kind::Gauge, &[("peer", "b")], 0.5),
        ];
        write(Kind::Gauge, "guideway_x", "Words.", samples, &mut page);
        write(Kind::Counter, "guideway_none", "Words.", Vec::new(), &mut page);
        assert_eq!(
            String::from_utf8(page.to_vec()).unwrap(),
            "# HELP guideway_x Words.\n# TYPE guideway_x gauge\n\
             guideway_x{peer=\"tor\\\"1\"} 1\nguideway_x{peer=\"b\"} 0.5\n"
        );
        assert_eq!(
            row(
                Kind::Counter,
                "guideway_x_total",
                &["a", "b"],
                "Words.",
                Watch::Alerts(&["A", "B"])
            ),
            "| `guideway_x_total` | counter | `a` `b` | Words. | `A` `B` |\n"
        );
        assert_eq!(
            row(Kind::Gauge, "guideway_x", &[], "Words.", Watch::Nobody),
            "| `guideway_x` | gauge |  | Words. |  |\n"
        );
    }
}
