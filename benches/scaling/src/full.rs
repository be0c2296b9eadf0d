//! What a fuller flow table costs: lookups of known flows, and new flows, by how many of the entries are in use.
//!
//! The table alone, in bursts, with the prefetches of a worker: the buckets of all packets; then the lookups, and what
//! those that find nothing will need; then the new flows. One table for each fill, in turns. After a measurement the
//! sweep takes the new flows away.

use std::time::Instant;

use cost::part::{Part, progress};
use cost::sample::{Measured, ns_of_each};
use cost::traffic::TIMEOUTS;
use guideway::dpdk::{BURST, prefetch};
use guideway_core::balancer::Time;
use guideway_core::balancer::conntrack::{Entry, Insertion, State, Table};
use guideway_core::balancer::id::{BackendId, ServiceId};
use serde_json::json;

use crate::memory::{ENTRIES, tag};

const PERCENT: [usize; 4] = [25, 50, 75, 90];
/// Flows of a measurement: 1 % of the entries.
const FLOWS: usize = ENTRIES / 100 / BURST * BURST;
const ROUNDS: usize = 41;

const KNOWN: ServiceId = ServiceId(0);
const NEW: ServiceId = ServiceId(1);
const BACKEND: BackendId = BackendId::new(7);
const NOW: Time = Time::from_millis(1);

/// Measures, and adds the claim.
pub(crate) fn measure(part: &mut Part) {
    progress("fuller tables");
    let mut rigs = PERCENT.map(Rig::new);
    let mut times = PERCENT.map(|_| (Vec::new(), Vec::new()));
    // The first round warms up the caches.
    for round in 0..=ROUNDS {
        for (rig, (finds, inserts)) in rigs.iter_mut().zip(&mut times) {
            let (find, insert) = (rig.find(), rig.insert());
            if round > 0 {
                finds.push(find);
                inserts.push(insert);
            }
        }
    }
    let mut rows = Vec::new();
    for ((percent, rig), (finds, inserts)) in PERCENT.iter().zip(&mut rigs).zip(&times) {
        let (find, insert) = (Measured::of(finds), Measured::of(inserts));
        rows.push(vec![
            json!(format!("{percent} %")),
            json!(format!("{:.1} %", rig.first())),
            json!(find.ns()),
            json!(find.percent()),
            json!(insert.ns()),
            json!(insert.percent()),
        ]);
    }
    let columns =
        ["entries in use", "found in the first bucket", "a hit", "spread", "a new flow", "spread"];
    let title = "A fuller flow table: 1,048,576 entries, the table alone, in bursts of 32";
    let note = "A new flow is looked up, and then recorded.";
    part.table(("full", title), &columns, rows, note);
    let (first, last) = (&times[0].1, &times[PERCENT.len() - 1].1);
    let ratios: Vec<f64> = last.iter().zip(first).map(|(last, first)| last / first).collect();
    let Measured { median, spread } = Measured::of(&ratios);
    let claim = "A new flow in a table 90 percent full over one in a table 25 percent full";
    part.at_most(claim, 2.0, "", median, spread);
}

/// A table that is full to a part, and the flows that come.
struct Rig {
    table: Table,
    /// Flows in the table.
    known: Vec<u64>,
    /// The known flow that comes next.
    next: usize,
    /// The number of the new flow that comes next.
    new: u64,
}

impl Rig {
    fn new(percent: usize) -> Rig {
        let mut table = Table::new(ENTRIES);
        let mut known = Vec::new();
        let mut tags = (0..).map(tag);
        while table.len() < ENTRIES / 100 * percent - FLOWS / 2 {
            let Some(tag) = tags.next() else { break };
            let entry = Entry::new(BACKEND, State::Established, NOW);
            let insertion = table.insert(tag, KNOWN, entry, NOW, &TIMEOUTS, |_, _| true);
            if insertion == Insertion::Stored {
                known.push(tag);
            }
        }
        // By other bits than those that choose the bucket, so that no order is left.
        known.sort_unstable_by_key(|tag| tag.rotate_left(20));
        Rig { table, known, next: 0, new: 1 << 32 }
    }

    /// The percentage of known flows that are in the first of their buckets.
    fn first(&mut self) -> f64 {
        let Rig { table, known, .. } = self;
        let is_first = |tag: &&u64| table.homes().find(**tag, NOW, u32::MAX).is_some();
        100.0 * known.iter().filter(is_first).count() as f64 / known.len() as f64
    }

    /// Nanoseconds of a lookup of a known flow.
    fn find(&mut self) -> f64 {
        let start = Instant::now();
        let mut found = 0;
        for _ in 0..FLOWS / BURST {
            let end = self.next + BURST;
            let tags = match self.known.get(self.next..end) {
                Some(tags) => tags,
                None => &self.known[..BURST],
            };
            self.next = if end < self.known.len() { end } else { BURST };
            for &tag in tags {
                prefetch(self.table.bucket(tag));
            }
            let mut missed = [0; BURST];
            let mut count = 0;
            for &tag in tags {
                if let Some(entry) = self.table.homes().find(tag, NOW, u32::MAX) {
                    entry.touch(NOW);
                    found += 1;
                } else {
                    prefetch(self.table.alternate_bucket(tag));
                    missed[count] = tag;
                    count += 1;
                }
            }
            for &tag in &missed[..count] {
                if let Some((slot, _)) = self.table.get(tag, NOW, &TIMEOUTS) {
                    self.table.touch(slot, NOW);
                    found += 1;
                }
            }
        }
        let ns = ns_of_each(start.elapsed(), FLOWS);
        assert_eq!(found, FLOWS, "every known flow is in the table");
        ns
    }

    /// Nanoseconds of a new flow.
    fn insert(&mut self) -> f64 {
        let tags: Vec<u64> = (self.new..).take(FLOWS).map(tag).collect();
        self.new += FLOWS as u64;
        let start = Instant::now();
        for tags in tags.chunks(BURST) {
            for &tag in tags {
                prefetch(self.table.bucket(tag));
            }
            for &tag in tags {
                if self.table.homes().find(tag, NOW, u32::MAX).is_none() {
                    prefetch(self.table.alternate_bucket(tag));
                }
            }
            for &tag in tags {
                if !self.table.is_in_alternate(tag) {
                    self.table.prefetch_insert(tag);
                }
            }
            for &tag in tags {
                if self.table.get(tag, NOW, &TIMEOUTS).is_none() {
                    let entry = Entry::new(BACKEND, State::Syn, NOW);
                    self.table.insert(tag, NEW, entry, NOW, &TIMEOUTS, |_, _| true);
                }
            }
        }
        let ns = ns_of_each(start.elapsed(), FLOWS);
        while !self.table.sweep(NOW, &TIMEOUTS, |service, _| service == KNOWN) {}
        ns
    }
}
