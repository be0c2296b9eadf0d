//! The time of a scrape among 10,000 services and 20,000 backends, beside that of the crate `prometheus`, which would
//! own a string for each label of each sample.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_chassis::http::Query;
use guideway_config as config;
use guideway_core::stats;
use guideway_management::daemon::{Daemon, Worker};
use guideway_management::health::Health;
use guideway_management::ids::{BACKEND_IDS, SERVICE_IDS};
use guideway_management::manager::Manager;
use guideway_management::metrics::{Exporter, METRICS};
use prometheus::{Encoder, TextEncoder, proto};
use serde_json::json;

use crate::apply::{Link, ports, text};
use crate::part::{Effort, Part, grouped, milliseconds, percent, repeat, timed};

/// Pools, each with a service, and backends of each. Small Maglev tables: no scrape reads them.
const SHAPE: (u32, u32, u32) = (10_000, 2, 211);
const WORKERS: usize = 2;

/// Milliseconds at the most for the whole page.
const MOST: f64 = 150.0;

const CASES: [&str; 4] = [
    "the whole page",
    "the whole page, from the crate's data model",
    "the services alone",
    "a page of the same second again",
];

pub(crate) fn measure(part: &mut Part, effort: Effort) {
    eprintln!("scraping {} services and {} backends:", SHAPE.0, SHAPE.0 * SHAPE.1);
    let exporter = exporter();
    let second = Duration::from_secs(1);
    let mut now = Instant::now();
    let (all, services) =
        (Query::default(), Query { scope: vec!["services".to_owned()], ..Query::default() });
    let page = |query: &Query, now| exporter.page_at(query, now).expect("a valid query");
    let whole = page(&all, now);
    let series = Series::of(std::str::from_utf8(&whole).expect("text"));
    let sizes = [whole.len(), series.by_crate().len(), page(&services, now).len(), whole.len()];
    let counts = [&all, &all, &services, &all].map(|query| {
        let page = page(query, now);
        page.split(|&byte| byte == b'\n')
            .filter(|line| line.first().is_some_and(|&b| b != b'#'))
            .count()
    });
    let times = repeat::<4>(effort, |times| {
        now += second;
        times[0].push(timed(|| page(&all, now)).0);
        times[3].push(timed(|| page(&all, now)).0);
        times[1].push(timed(|| series.by_crate()).0);
        now += second;
        times[2].push(timed(|| page(&services, now)).0);
    });
    let rows = CASES.iter().zip(&times).zip(sizes.iter().zip(counts));
    let rows = rows.map(|((case, times), (&bytes, series))| {
        vec![
            json!(case),
            json!(grouped(u32::try_from(series).expect("less than 2^32"))),
            json!(format!("{:.1} MB", bytes as f64 / 1e6)),
            json!(milliseconds(times.median())),
            json!(percent(times.spread())),
        ]
    });
    part.table(
        ("scrape", "A scrape of 10,000 services and 20,000 backends"),
        &["what", "series", "text", "median", "spread"],
        rows.collect(),
        "The crate's share is building its data model of known values, encoding and freeing it; a page also collects them.",
    );
    part.at_most(
        "a scrape of 10,000 services and 20,000 backends",
        MOST,
        "ms",
        times[0].median(),
        times[0].spread(),
    );
}

fn exporter() -> Exporter {
    let text = text(SHAPE, 1, Link::Gateway);
    let configuration = config::parse(&text).expect("a valid configuration").configuration;
    let manager = Manager::new(configuration, text, ports()).expect("what fits");
    let worker = |_| Worker {
        // Nobody counts: zeros are read in the same time.
        stats: stats::channel(SERVICE_IDS as usize, BACKEND_IDS as usize).1,
        cpu: None,
        queues: Vec::new(),
        flow_capacity: 1 << 20,
        tick_hz: 1_000_000_000,
        scan: Box::new(|_| None),
    };
    let workers = (0..WORKERS).map(worker).collect();
    let daemon = Daemon::new(
        PathBuf::from("/nonexistent"),
        manager,
        workers,
        Vec::new(),
        Default::default(),
    );
    Exporter::new(Arc::new(daemon), Arc::new(Health::default()))
}

/// The series of a page by family, without histograms.
struct Series<'p>(Vec<(&'static str, Vec<Sample<'p>>)>);

/// The labels and the value of a sample.
type Sample<'p> = (Vec<(&'p str, &'p str)>, f64);

impl<'p> Series<'p> {
    fn of(page: &'p str) -> Series<'p> {
        let families = METRICS.iter().map(|metric| {
            let samples = page.lines().filter_map(|line| line.strip_prefix(metric.name));
            (metric.name, samples.filter_map(sample).collect())
        });
        Series(families.collect())
    }

    /// Builds the crate's data model, and has it encoded.
    fn by_crate(&self) -> Vec<u8> {
        let mut page = Vec::new();
        for (name, samples) in self.0.iter().filter(|(_, samples)| !samples.is_empty()) {
            let mut family = proto::MetricFamily::default();
            family.set_name((*name).to_owned());
            family.set_help("Some help.".to_owned());
            family.set_field_type(proto::MetricType::COUNTER);
            family.set_metric(samples.iter().map(metric).collect());
            TextEncoder::new().encode(&[family], &mut page).expect("a family with samples");
        }
        page
    }
}

/// What follows the name: labels without escaped characters, and a value.
fn sample(rest: &str) -> Option<Sample<'_>> {
    let (labels, value) = rest.rsplit_once(' ')?;
    let labels = match labels.strip_prefix('{') {
        Some(labels) => labels
            .strip_suffix("\"}")?
            .split("\",")
            .map(|label| label.split_once("=\""))
            .collect::<Option<_>>()?,
        None if labels.is_empty() => Vec::new(),
        // The name of another metric, or a part of a histogram.
        None => return None,
    };
    Some((labels, value.parse().ok()?))
}

fn metric((labels, value): &Sample<'_>) -> proto::Metric {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let mut metric = proto::Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    let mut counter = proto::Counter::default();
    counter.set_value(*value);
    metric.set_counter(counter);
    metric
}
