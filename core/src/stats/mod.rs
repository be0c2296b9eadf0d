//! Statistics: what a worker counts, for others to read.
//!
//! [`channel`] makes the two ends of one worker's block: a [`Writer`], which only that worker has and
//! which adds without a lock or a locked instruction, and a [`Reader`], of which there may be many.
//! Each number is exact by itself; numbers read together may be a few packets apart while the worker
//! runs, and agree when it rests.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crossbeam_utils::CachePadded;

mod cell;
mod histogram;
mod metric;
mod traffic;
pub mod verdict;

pub use histogram::{BUCKETS, Distribution};
pub use metric::{Counter, Event, Gauge, Histogram, Kind, Metric, metrics};
pub use traffic::{Counting, Traffic};
pub use verdict::{DropReason, Reply, Verdict};

use cell::Cell;
use histogram::HistogramCells;
use traffic::TrafficCells;

#[derive(Debug)]
struct Block {
    counters: CachePadded<[Cell; Counter::ALL.len()]>,
    gauges: CachePadded<[Cell; Gauge::ALL.len()]>,
    verdicts: CachePadded<[Cell; Verdict::COUNT]>,
    events: CachePadded<[Cell; Event::ALL.len()]>,
    histograms: CachePadded<[HistogramCells; Histogram::ALL.len()]>,
    services: Box<[TrafficCells]>,
    backends: Box<[TrafficCells]>,
}

/// The end that counts.
#[derive(Debug)]
pub struct Writer(Arc<Block>);

/// An end that reads.
#[derive(Clone, Debug)]
pub struct Reader(Arc<Block>);

/// A block with counters for so many services and backends.
pub fn channel(services: usize, backends: usize) -> (Writer, Reader) {
    let block = Arc::new(Block {
        counters: CachePadded::default(),
        gauges: CachePadded::default(),
        verdicts: CachePadded::new(std::array::from_fn(|_| Cell::default())),
        events: CachePadded::default(),
        histograms: CachePadded::new(std::array::from_fn(|_| HistogramCells::new())),
        services: traffic::table(services),
        backends: traffic::table(backends),
    });
    (Writer(block.clone()), Reader(block))
}

impl Writer {
    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.0.counters[counter.index()].add(n);
    }

    /// Sets a gauge. Whoever reads this value also reads what was counted before.
    #[inline]
    pub fn set(&mut self, gauge: Gauge, value: u64) {
        self.0.gauges[gauge.index()].publish(value);
    }

    /// Counts packets that ended in a verdict.
    #[inline]
    pub fn verdict(&mut self, verdict: Verdict, packets: u64) {
        self.0.verdicts[verdict.index()].add(packets);
    }

    /// Counts an event.
    #[inline]
    pub fn event(&mut self, event: Event, packets: u64) {
        self.0.events[event.index()].add(packets);
    }

    /// Counts a value of a histogram.
    #[inline]
    pub fn observe(&mut self, histogram: Histogram, value: u64) {
        self.0.histograms[histogram.index()].count(histogram, value);
    }

    /// The counters of services and backends, to count many packets.
    #[inline]
    pub fn traffic(&mut self) -> Counting<'_> {
        Counting { services: &self.0.services, backends: &self.0.backends }
    }

    /// Counts a flow that begins, of a service and for a backend.
    pub fn begins(&mut self, service: usize, backend: usize) {
        if let Some(traffic) = self.0.services.get(service) {
            traffic.flows.add(1);
        }
        if let Some(traffic) = self.0.backends.get(backend) {
            traffic.flows.add(1);
        }
    }

    /// The end by which the worker's only flow table counts. It stays on this worker's thread, and writes cells that
    /// the writer itself does not.
    pub(crate) fn flow_writer(&self) -> FlowWriter {
        FlowWriter(Arc::clone(&self.0))
    }
}

/// The end by which a worker's flow table counts its entries. The default counts where nobody reads.
#[derive(Debug)]
pub struct FlowWriter(Arc<Block>);

impl FlowWriter {
    /// Counts an entry that is recorded, of a service and for a backend.
    #[inline]
    pub(crate) fn recorded(&mut self, service: usize, backend: usize) {
        self.each(service, backend, |live| live.add(1));
    }

    /// Counts an entry that is there no more.
    #[inline]
    pub(crate) fn removed(&mut self, service: usize, backend: usize) {
        self.each(service, backend, |live| live.add(u64::MAX));
    }

    /// Counts entries that were removed because their time was over.
    #[inline]
    pub(crate) fn expired(&mut self, entries: u64) {
        self.0.events[Event::FlowExpired.index()].add(entries);
    }

    /// The entries of a backend.
    #[inline]
    pub(crate) fn live(&self, backend: usize) -> u64 {
        self.0.backends.get(backend).map_or(0, |traffic| traffic.live.read())
    }

    #[inline]
    fn each(&mut self, service: usize, backend: usize, count: impl Fn(&Cell)) {
        if let Some(traffic) = self.0.services.get(service) {
            count(&traffic.live);
        }
        if let Some(traffic) = self.0.backends.get(backend) {
            count(&traffic.live);
        }
    }
}

impl Default for FlowWriter {
    fn default() -> FlowWriter {
        let (writer, _) = channel(0, 0);
        writer.flow_writer()
    }
}

impl Reader {
    /// The value of a counter.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.counters[counter.index()].read()
    }

    /// The value of a gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.0.gauges[gauge.index()].read_published()
    }

    /// Packets that ended in a verdict.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        self.0.verdicts[verdict.index()].read()
    }

    /// Packets that ended in any verdict.
    pub fn verdicts(&self) -> u64 {
        self.0.verdicts.iter().map(Cell::read).sum()
    }

    /// Packets that were dropped, for any reason.
    pub fn dropped(&self) -> u64 {
        let is_drop = |verdict: &Verdict| matches!(verdict, Verdict::Dropped(_));
        Verdict::all().filter(is_drop).map(|verdict| self.verdict(verdict)).sum()
    }

    /// Packets that this happened to.
    pub fn event(&self, event: Event) -> u64 {
        self.0.events[event.index()].read()
    }

    /// A time in ticks of the CPU's counter, in seconds; `hz` is the ticks in a second.
    pub fn seconds(&self, counter: Counter, hz: u64) -> f64 {
        self.counter(counter) as f64 / hz.max(1) as f64
    }

    /// What a histogram has counted.
    pub fn histogram(&self, histogram: Histogram) -> Distribution {
        self.0.histograms[histogram.index()].read(histogram)
    }

    /// What was forwarded for a service, by its index.
    pub fn service(&self, index: usize) -> Traffic {
        read(&self.0.services, index)
    }

    /// What was forwarded to a backend, by its number.
    pub fn backend(&self, index: usize) -> Traffic {
        read(&self.0.backends, index)
    }
}

fn read(counters: &[TrafficCells], index: usize) -> Traffic {
    counters.get(index).map_or_else(Traffic::default, |traffic| Traffic {
        packets: traffic.packets.read(),
        bytes: traffic.bytes.read(),
        flows: traffic.flows.read(),
        live: traffic.live.read(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_the_writer_counts() {
        let (mut writer, reader) = channel(1, 2);
        writer.add(Counter::Received, 4);
        writer.set(Gauge::SweptGeneration, 9);
        writer.verdict(Verdict::Forwarded, 2);
        writer.verdict(Verdict::Dropped(DropReason::NoVip), 1);
        writer.verdict(Verdict::Replied(Reply::Echo), 1);
        writer.event(Event::FlowMoved, 1);
        writer.event(Event::FragmentWaited, 1);
        writer.traffic().count(7, 1, 60);
        writer.traffic().count(7, 1, 40);
        writer.traffic().count(0, 7, 100);
        writer.begins(7, 1);
        let reader = reader.clone();
        assert_eq!(reader.counter(Counter::Received), reader.verdicts());
        assert_eq!(reader.gauge(Gauge::SweptGeneration), 9);
        assert_eq!(reader.verdict(Verdict::Dropped(DropReason::NoVip)), 1);
        assert_eq!(reader.dropped(), 1);
        assert_eq!(
            Event::ALL.iter().map(|&event| reader.event(event)).collect::<Vec<_>>(),
            [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let none = Traffic::default();
        assert_eq!(reader.backend(1), Traffic { packets: 2, bytes: 100, flows: 1, ..none });
        assert_eq!(reader.backend(0), none);
        assert_eq!(reader.service(0), Traffic { packets: 1, bytes: 100, ..none });
    }

    #[test]
    fn live_flows_rise_and_fall_and_are_never_a_difference() {
        let (writer, reader) = channel(1, 2);
        let mut flows = writer.flow_writer();
        flows.recorded(0, 0);
        flows.recorded(0, 1);
        let earlier = reader.service(0);
        flows.removed(0, 1);
        flows.expired(1);
        assert_eq!([earlier.live, reader.service(0).live, reader.backend(1).live], [2, 1, 0]);
        assert_eq!((reader.service(0) - earlier).live, 1);
        assert_eq!((reader.service(0) + reader.backend(0)).live, 2);
        assert_eq!(reader.event(Event::FlowExpired), 1);
    }

    /// Blocks of odd sizes, made one after the other, as those of workers are.
    #[test]
    fn no_two_workers_count_on_one_line() {
        /// Bytes that a CPU may fetch together: two cache lines.
        const PAIR: usize = 128;
        let sizes = (0..60).map(|n| (n % 7, n % 11));
        let blocks: Vec<_> = sizes.map(|(a, b)| (a, b, channel(a, b).0)).collect();
        let mut owners = std::collections::HashMap::new();
        for (worker, (services, backends, Writer(block))) in blocks.iter().enumerate() {
            let all = std::ptr::from_ref::<Block>(block).addr();
            let used = |cells: &[TrafficCells], n: usize| {
                assert!((cells.len() - n) * size_of::<TrafficCells>() >= PAIR);
                cells[..n].as_ptr_range().start.addr()..cells[..n].as_ptr_range().end.addr()
            };
            for bytes in [
                all..all + size_of::<Block>(),
                used(&block.services, *services),
                used(&block.backends, *backends),
            ] {
                if bytes.is_empty() {
                    continue;
                }
                for line in (bytes.start / PAIR)..bytes.end.div_ceil(PAIR) {
                    let other = owners.insert(line, worker).unwrap_or(worker);
                    assert_eq!(other, worker, "{line:#x} of {bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn ticks_are_read_as_seconds() {
        let (mut writer, reader) = channel(0, 0);
        writer.add(Counter::BusyTicks, 3_000_000_000);
        assert_eq!(reader.seconds(Counter::BusyTicks, 2_000_000_000), 1.5);
    }

    #[test]
    fn a_place_out_of_range_is_not_counted_and_no_panic() {
        let (mut writer, reader) = channel(0, 0);
        writer.traffic().count(7, 7, 1);
        writer.begins(7, 7);
        writer.flow_writer().recorded(7, 7);
        assert_eq!(reader.backend(7), Traffic::default());
    }
}
