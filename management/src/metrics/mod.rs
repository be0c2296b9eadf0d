//! Metrics for Prometheus: what is counted, observed and in force, as the page `/metrics`.
//!
//! | file | what |
//! |---|---|
//! | `list.rs` | every metric, in one list |
//! | `families.rs` | what a metric is, and the macro of the list |
//! | `snapshot.rs` | what was collected at one time |
//! | `collect.rs` | collecting, from what is published and counted |
//! | `file.rs` | whether the configuration is that of its file |
//! | `request.rs` | what a scrape asks for |
//! | `encode.rs` | the page |
//! | `documentation.rs` | `docs/metrics.md` |
//!
//! Metrics are collected when a page is asked for, and from then on for a second all pages are made of the same
//! values. Scrapes wait for each other, and nobody else waits for them: they take no lock of the manager and
//! none of the workers.

mod collect;
mod documentation;
mod encode;
mod families;
mod file;
mod list;
mod request;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

pub use documentation::reference;
pub use families::{Metric, Scope};
pub use guideway_chassis::metrics::{Kind, Watch};
pub use list::METRICS;

use crate::daemon::Daemon;
use crate::health::Health;
use collect::Collector;
use guideway_chassis::http::Query;
use request::Wanted;
use snapshot::Snapshot;

/// How long pages are made of the same values.
const SHARED: Duration = Duration::from_secs(1);
/// Pages of the same values that are kept, and their bytes in total. Another page is made again each time.
const KEPT_PAGES: usize = 8;
const KEPT_BYTES: usize = 64 << 20;
/// Buffers of old pages that are kept for new ones.
const SPARE: usize = 2;

/// Makes the pages.
pub struct Exporter {
    daemon: Arc<Daemon>,
    state: Mutex<State>,
}

struct State {
    collector: Collector,
    /// The values and when they were collected; none before the first, and none if collecting failed.
    current: Option<(Instant, Snapshot)>,
    max_series: usize,
    /// The pages of these values.
    pages: Vec<(Wanted, Bytes)>,
    spare: Vec<BytesMut>,
    is_bounded: bool,
}

impl Exporter {
    /// For the pages of a daemon.
    pub fn new(daemon: Arc<Daemon>, health: Arc<Health>) -> Exporter {
        let state = State {
            collector: Collector::new(&daemon, health),
            current: None,
            max_series: 0,
            pages: Vec::new(),
            spare: Vec::new(),
            is_bounded: false,
        };
        Exporter { daemon, state: Mutex::new(state) }
    }

    /// The page for a query.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn page(&self, query: &Query) -> Result<Bytes, String> {
        self.page_at(query, Instant::now())
    }

    /// The page for a query at a time, which is not before that of an earlier page.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn page_at(&self, query: &Query, now: Instant) -> Result<Bytes, String> {
        let wanted = Wanted::of(query)?;
        let mut state = self.state.lock();
        // Another scrape may have collected values while this one waited for it.
        let is_current = |begun: Instant| now.saturating_duration_since(begun) < SHARED;
        if !state.current.as_ref().is_some_and(|(begun, _)| is_current(*begun)) {
            state.collect(&self.daemon, now);
        }
        Ok(state.page(wanted))
    }
}

impl State {
    fn collect(&mut self, daemon: &Daemon, now: Instant) {
        for (_, page) in self.pages.drain(..) {
            // A page that somebody still sends is freed by them.
            if let Ok(buffer) = page.try_into_mut() {
                self.spare.push(buffer);
            }
        }
        self.spare.sort_unstable_by_key(|buffer| std::cmp::Reverse(buffer.capacity()));
        self.spare.truncate(SPARE);
        let mut snapshot = self.current.take().map_or_else(Snapshot::default, |(_, old)| old);
        self.max_series = self.collector.collect(daemon, &mut snapshot);
        self.current = Some((now, snapshot));
    }

    fn page(&mut self, wanted: Wanted) -> Bytes {
        if let Some((_, page)) = self.pages.iter().find(|(of, _)| *of == wanted) {
            return page.clone();
        }
        // The first is the largest.
        let spare = (!self.spare.is_empty()).then(|| self.spare.remove(0));
        let mut buffer = spare.unwrap_or_default();
        buffer.clear();
        let Some((_, snapshot)) = &mut self.current else { return Bytes::new() };
        let left_out = encode::page(snapshot, &wanted, self.max_series, &mut buffer);
        if wanted.is_all() {
            if left_out > 0 && !self.is_bounded {
                tracing::warn!(
                    "metrics.max_series: {left_out} series are left out of a page of {}",
                    self.max_series
                );
            }
            self.is_bounded = left_out > 0;
        }
        let page = buffer.freeze();
        let kept: usize = self.pages.iter().map(|(_, page)| page.len()).sum();
        if self.pages.len() < KEPT_PAGES && kept + page.len() <= KEPT_BYTES {
            self.pages.push((wanted, page.clone()));
        }
        page
    }
}
