//! What was collected at one time: a table for each group of metrics.
//!
//! The groups that are as long as the configuration have [`Long`] tables. The labels of a row are written once, as
//! the text format has them, into one text for all rows; all metrics of the row copy them. The other groups have
//! [`Short`] tables, of rows with at most one label.
//!
//! A snapshot is filled again and again, so that it allocates only when it grows.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::ops::Range;

use guideway_api::PortCounters;
use guideway_chassis::metrics::Process;
use guideway_core::stats::Traffic;
use prometheus::proto;

use crate::daemon::InterfaceCounters;

/// The labels of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels<'s> {
    /// None.
    None,
    /// The value of the only label.
    One(&'s str),
    /// All labels as the text format has them between braces.
    Text(&'s str),
}

/// A table of few rows.
#[derive(Debug)]
pub(super) struct Short<T>(Vec<(Option<Cow<'static, str>>, T)>);

impl<T> Default for Short<T> {
    fn default() -> Short<T> {
        Short(Vec::new())
    }
}

impl<T> Short<T> {
    /// Makes a row without labels the only one.
    pub(super) fn set(&mut self, row: T) {
        self.0.clear();
        self.0.push((None, row));
    }

    /// Removes all rows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Replaces all rows.
    pub(super) fn fill(&mut self, rows: impl IntoIterator<Item = (Cow<'static, str>, T)>) {
        self.0.clear();
        self.0.extend(rows.into_iter().map(|(label, row)| (Some(label), row)));
    }

    pub(super) fn each<'s>(&'s self, _: &'s Snapshot, mut f: impl FnMut(Labels<'s>, &'s T)) {
        for (label, row) in &self.0 {
            f(label.as_deref().map_or(Labels::None, Labels::One), row);
        }
    }
}

/// A table of many rows, and which of them a page shows.
#[derive(Debug)]
pub(super) struct Long<T> {
    rows: Vec<Row<T>>,
    /// The rows that have one of the wanted names; `None` for all.
    named: Option<Vec<u32>>,
    /// How many of these are shown.
    shown: usize,
}

#[derive(Debug)]
struct Row<T> {
    labels: Range<u32>,
    value: T,
}

impl<T> Default for Long<T> {
    fn default() -> Long<T> {
        Long { rows: Vec::new(), named: None, shown: 0 }
    }
}

impl<T> Long<T> {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(super) fn push(&mut self, labels: Range<u32>, value: T) {
        self.rows.push(Row { labels, value });
    }

    /// Shows the rows whose first label is one of these, each written as `LABEL="NAME"`; all rows without any.
    fn show(&mut self, text: &str, firsts: &[String]) {
        let is_named = |row: &Row<T>| {
            let labels = &text[range(&row.labels)];
            let rest = firsts.iter().filter_map(|first| labels.strip_prefix(first.as_str()));
            rest.into_iter().any(|rest| rest.is_empty() || rest.starts_with(','))
        };
        self.named = (!firsts.is_empty()).then(|| {
            (0..).zip(&self.rows).filter(|(_, row)| is_named(row)).map(|(index, _)| index).collect()
        });
        self.shown = self.named.as_ref().map_or(self.rows.len(), Vec::len);
    }

    /// Shows no more than so many of the rows that are shown.
    fn bound(&mut self, most: usize) {
        self.shown = self.shown.min(most);
    }

    fn shown(&self) -> impl Iterator<Item = &Row<T>> {
        let index = move |n: usize| self.named.as_ref().map_or(n, |named| named[n] as usize);
        (0..self.shown).map(move |n| &self.rows[index(n)])
    }

    pub(super) fn each<'s>(&'s self, all: &'s Snapshot, mut f: impl FnMut(Labels<'s>, &'s T)) {
        for row in self.shown() {
            f(Labels::Text(&all.text[range(&row.labels)]), &row.value);
        }
    }
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// A table for each group. Their fields have the names of the list's groups.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The labels of all rows of the long tables.
    text: String,

    pub(super) build: Short<()>,
    pub(super) process: Short<TheProcess>,
    pub(super) packets: Short<Packets>,
    pub(super) verdicts: Short<Count>,
    pub(super) drops: Short<Count>,
    pub(super) events: Short<Count>,
    pub(super) punts: Short<Punts>,
    pub(super) neighbors: Short<Count>,
    pub(super) routes: Short<Count>,
    pub(super) kernel: Short<Kernel>,
    pub(super) announcing: Short<Announcing>,
    pub(super) probes: Short<Count>,
    pub(super) buffers: Short<Buffers>,
    pub(super) config: Short<Config>,
    pub(super) applies: Short<Count>,
    pub(super) settings: Short<Count>,
    pub(super) workers: Short<Worker>,
    pub(super) ports: Short<Port>,
    pub(super) interfaces: Short<InterfaceCounters>,
    pub(super) pools: Long<Pool>,
    pub(super) pool_states: Long<Count>,
    pub(super) services: Long<Service>,
    pub(super) backends: Long<Backend>,
    pub(super) backend_states: Long<()>,
    pub(super) left_out: Short<Count>,
    pub(super) scrape: Short<Scrape>,
}

/// A number of packets, or of anything else.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) count: u64,
}

#[derive(Debug)]
pub(super) struct TheProcess {
    /// Seconds since 1970.
    pub(super) started: f64,
    pub(super) process: Process,
}

#[derive(Debug)]
pub(super) struct Packets {
    pub(super) received: u64,
    pub(super) transmitted: u64,
    pub(super) fragments_waiting: u64,
    pub(super) punt_queue_full: u64,
}

#[derive(Debug)]
pub(super) struct Punts {
    pub(super) punted: u64,
    pub(super) limited: u64,
}

#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) is_followed: bool,
    pub(super) overruns: u64,
    pub(super) errors: u64,
}

#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) is_up: bool,
    pub(super) dropped: u64,
}

#[derive(Debug)]
pub(super) struct Buffers {
    pub(super) total: u32,
    pub(super) free: u32,
}

#[derive(Debug)]
pub(super) struct Config {
    pub(super) generation: u64,
    pub(super) generation_in_force: u64,
    /// Seconds.
    pub(super) waiting: Option<f64>,
    pub(super) last_apply_success: bool,
    /// Seconds since 1970.
    pub(super) last_apply: f64,
    pub(super) differs_from_file: Option<bool>,
    pub(super) is_stored: bool,
    pub(super) compile: proto::Histogram,
    pub(super) publish: proto::Histogram,
    pub(super) manager_restarts: u64,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) received: u64,
    pub(super) transmitted: u64,
    pub(super) dropped: u64,
    pub(super) polls: u64,
    pub(super) busy_polls: u64,
    pub(super) busy_seconds: f64,
    pub(super) idle_seconds: f64,
    pub(super) burst_packets: proto::Histogram,
    pub(super) burst_cycles: proto::Histogram,
    pub(super) generation: u64,
    /// Seconds.
    pub(super) heartbeat_age: Option<f64>,
    pub(super) flows: u64,
    pub(super) flow_capacity: u64,
    pub(super) flows_refused: u64,
    pub(super) flows_displaced: u64,
    pub(super) flows_expired: u64,
}

#[derive(Debug)]
pub(super) struct Port {
    pub(super) counters: PortCounters,
    pub(super) is_up: bool,
    /// Bytes a second.
    pub(super) speed: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) traffic: Traffic,
    pub(super) backends: usize,
    pub(super) active: usize,
    pub(super) needed: usize,
    /// The level that serves, or -1.
    pub(super) level: f64,
    pub(super) serves_down: bool,
    /// Its rows in `pool_states`, which follow those of the pool before.
    pub(super) states: u32,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) traffic: Traffic,
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) traffic: Traffic,
    pub(super) weight: u32,
    /// The part of the weight that is in force, in thousandths.
    pub(super) share: u32,
}

#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) series: u64,
}

/// How many series a row of each long table has, apart from those of `pool_states`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub(super) pool: usize,
    pub(super) service: usize,
    pub(super) backend: usize,
}

/// What a page shows of the long tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'q> {
    pub(super) pools: bool,
    pub(super) services: bool,
    pub(super) backends: bool,
    /// Names of pools and services; all without any.
    pub(super) names: &'q [String],
}

impl Snapshot {
    /// Forgets all rows of the long tables, and their labels.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.pools.clear();
        self.pool_states.clear();
        self.services.clear();
        self.backends.clear();
        self.backend_states.clear();
    }

    /// Writes the labels of a row; returns where they are.
    pub(super) fn labels(&mut self, labels: &[(&str, &dyn fmt::Display)]) -> Range<u32> {
        let start = self.at();
        for (n, (name, value)) in labels.iter().enumerate() {
            // A String takes all of it.
            let _ = write!(self.text, "{}{name}=\"", if n == 0 { "" } else { "," });
            let _ = write!(Escaped(&mut self.text), "{value}");
            self.text.push('"');
        }
        start..self.at()
    }

    /// Writes labels again, and one more.
    pub(super) fn labels_and(&mut self, of: Range<u32>, label: (&str, &str)) -> Range<u32> {
        let start = self.at();
        self.text.extend_from_within(range(&of));
        let _ = write!(self.text, ",{}=\"{}\"", label.0, label.1);
        start..self.at()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 200 MB, by the limits of ids and names"
    )]
    fn at(&self) -> u32 {
        self.text.len() as u32
    }

    /// Shows what is asked for, within so many series: pools first, then services, then backends. Returns how many
    /// series of each are left out.
    pub(super) fn show(&mut self, shown: Shown<'_>, widths: Widths, mut room: usize) -> [usize; 3] {
        let firsts = |label| {
            let first = |name: &String| {
                let mut text = format!("{label}=\"");
                let _ = write!(Escaped(&mut text), "{name}");
                text + "\""
            };
            shown.names.iter().map(first).collect::<Vec<_>>()
        };
        let (of_pool, of_service) = (firsts("pool"), firsts("service"));
        self.pools.show(&self.text, &of_pool);
        self.pool_states.show(&self.text, &of_pool);
        self.services.show(&self.text, &of_service);
        self.backends.show(&self.text, &of_pool);
        self.backend_states.show(&self.text, &of_pool);

        let mut left_out = [0; 3];
        if shown.pools {
            let (mut pools, mut states, mut series) = (0, 0, 0);
            for row in self.pools.shown() {
                let more = widths.pool + row.value.states as usize;
                if series + more > room {
                    break;
                }
                (pools, states, series) =
                    (pools + 1, states + row.value.states as usize, series + more);
            }
            let all = self.pools.shown * widths.pool + self.pool_states.shown;
            self.pools.bound(pools);
            self.pool_states.bound(states);
            left_out[0] = all - series;
            // A service does not take the room of a pool.
            room = if series < all { 0 } else { room - series };
        }
        if shown.services {
            let services = self.services.shown.min(room / widths.service);
            left_out[1] = (self.services.shown - services) * widths.service;
            self.services.bound(services);
            room -= services * widths.service;
        }
        if shown.backends {
            let backends = self.backends.shown.min(room / widths.backend);
            left_out[2] = (self.backends.shown - backends) * widths.backend;
            self.backends.bound(backends);
            self.backend_states.bound(backends);
        }
        left_out
    }
}

/// Escapes the value of a label by the rules of the text format.
struct Escaped<'t>(&'t mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, value: &str) -> fmt::Result {
        let mut rest = value;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            self.0.push_str(&rest[..at]);
            self.0.push_str(match rest.as_bytes()[at] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            });
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        Ok(())
    }
}
