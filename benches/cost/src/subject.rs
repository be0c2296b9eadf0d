//! The code under measurement: the function with which a worker processes a burst of mbufs, with all counters.
//!
//! The mbufs that the worker sends come back over a ring, and are filled with new headers. Ring and filling
//! are also measured without the worker, and subtracted.
//!
//! What the worker drops does not come back. The source takes new mbufs from the pool instead, which keeps the last
//! few hundred at hand as in operation. Returning a burst to the pool and taking one is measured with the filling, and
//! subtracted too. So the cost of a dropped packet is without the return of its buffer, as that of a packet sent is
//! without its device, whose driver returns it.
//!
//! Packets that change flows, such as a FIN, would find them changed the next time. So each measurement of such packets
//! begins with a new table, in which all flows are established, and meets no flow twice.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guideway::dpdk::clock::tsc_hz;
use guideway::dpdk::{BURST, Eal, Mempool, ring};
use guideway::worker::{BenchWorker, Clock, Exceptions, Output, OutputKind, RingQueue};
use guideway_core::balancer::fragment;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::{self, DropReason, Event, Reader, Verdict};

use crate::source::Source;
use crate::traffic::{self, Addressee, Kind, Transport};

/// After this time a packet confirms a flow that began without a SYN.
const CONFIRMED: Duration = Duration::from_millis(1100);

/// A worker and its packets.
pub struct Subject {
    kind: Kind,
    tables: Tables,
    worker: BenchWorker,
    pool: Mempool,
    reader: Reader,
    source: Source,
    flows: u64,
    entries: usize,
    /// Receives the packets that the worker sends.
    back: ring::Receiver,
    /// A second ring, like the worker's, to which no worker sends.
    forth: ring::Sender,
    forth_back: ring::Receiver,
}

/// How packets were processed.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Percentage of packets whose flow was in the table.
    pub hits: f64,
}

impl Subject {
    /// A worker with a flow table of `entries`. If `kind.known`, the table has all flows. If `kind.filled`, it has
    /// other established flows as well.
    ///
    /// # Errors
    /// DPDK's error, or packets that did not come back.
    pub fn new(
        eal: &Eal,
        pool: &Mempool,
        name: &str,
        kind: Kind,
        flows: u64,
        entries: usize,
    ) -> Result<Subject> {
        let (writer, reader) = stats::channel(kind.services as usize, kind.backends as usize);
        let seed = LocalSeed::new(traffic::SEED);
        let limits = fragment::Capacity {
            datagrams: 1,
            packets: 1,
            bytes: 1,
            packets_per_datagram: 1,
            timeout_ms: 1,
        };
        let exceptions = Exceptions::new(0, 1, true, limits, seed, pool.clone());
        let clock = Clock::tsc(tsc_hz(eal) / 1000);
        let (to, back) = ring::channel(eal, &format!("{name}-out"), 64, None)?;
        let (forth, forth_back) = ring::channel(eal, &format!("{name}-alone"), 64, None)?;
        let outputs = vec![Output::new(OutputKind::Ring(RingQueue::new(to, false)))];
        let balancer = Balancer::new(entries, seed);
        let mut worker = BenchWorker::new(balancer, writer, exceptions, clock, outputs);
        ensure!(pool.allocate(worker.burst(), BURST) == BURST, "the pool is too small");
        let (tables, source) = (traffic::tables(kind), Source::new(kind, flows));
        let mut subject = Subject {
            kind,
            tables,
            worker,
            pool: pool.clone(),
            reader,
            source,
            flows,
            entries,
            back,
            forth,
            forth_back,
        };
        subject.begin_flows()?;
        Ok(subject)
    }

    /// An empty flow table.
    fn restart(&mut self) {
        self.worker.restart(Balancer::new(self.entries, LocalSeed::new(traffic::SEED)));
    }

    /// Puts every flow in the table that belongs there: for TCP with a SYN and a segment, for UDP with two datagrams
    /// that are apart in time. The packets' own flows come evenly spread among the others.
    fn begin_flows(&mut self) -> Result<()> {
        let kind = self.kind;
        let own = if kind.known { self.flows } else { 0 };
        let offered = self.entries as u64 * u64::from(kind.filled) / 100;
        let others = offered.saturating_sub(own);
        let bursts = |flows: u64| flows.div_ceil(BURST as u64);
        let (own_bursts, other_bursts) = (bursts(own), bursts(others));
        if own_bursts + other_bursts == 0 {
            return Ok(());
        }
        if kind.transport == Transport::Udp {
            // All of a kind wait together.
            ensure!(others == 0, "only flows of TCP fill a table");
            let mut sources = kind.beginnings().map(|kind| Source::new(kind, self.flows));
            self.take_from(&mut sources[0], usize::try_from(own_bursts)?)?;
            thread::sleep(CONFIRMED);
            return self.take_from(&mut sources[1], usize::try_from(own_bursts)?);
        }
        let mut own = kind.beginnings().map(|kind| Source::new(kind, self.flows));
        let mut other = kind.beginnings().map(|kind| Source::others(kind, others.max(1)));
        let (mut own_done, all) = (0, own_bursts + other_bursts);
        for n in 1..=all {
            let is_own = own_done < n * own_bursts / all;
            own_done += u64::from(is_own);
            for source in if is_own { &mut own } else { &mut other } {
                self.take_from(source, 1)?;
            }
        }
        Ok(())
    }

    /// Processes `bursts` bursts of another source.
    fn take_from(&mut self, source: &mut Source, bursts: usize) -> Result<()> {
        std::mem::swap(&mut self.source, source);
        let taken = self.take(bursts);
        std::mem::swap(&mut self.source, source);
        taken?;
        Ok(())
    }

    /// Processes `bursts` bursts: source, worker, ring and back.
    ///
    /// # Errors
    /// A packet did not come back.
    #[inline(never)]
    pub fn take(&mut self, bursts: usize) -> Result<Duration> {
        let start = Instant::now();
        let mut came = 0;
        for _ in 0..bursts {
            self.source.fill(self.worker.burst());
            self.worker.process(&self.tables, traffic::PORT);
            came += if self.kind.is_served() {
                self.back.receive(self.worker.burst())
            } else {
                self.pool.allocate(self.worker.burst(), BURST)
            };
        }
        let spent = start.elapsed();
        ensure!(came == bursts * BURST, "{came} of {} packets came back", bursts * BURST);
        Ok(spent)
    }

    /// As [`Subject::take`], without the worker.
    ///
    /// # Errors
    /// A packet did not come back.
    #[inline(never)]
    pub fn take_nothing(&mut self, bursts: usize) -> Result<Duration> {
        let start = Instant::now();
        let mut came = 0;
        for _ in 0..bursts {
            self.source.fill(self.worker.burst());
            came += if self.kind.is_served() {
                self.forth.send(self.worker.burst());
                self.forth_back.receive(self.worker.burst())
            } else {
                self.worker.burst().clear();
                self.pool.allocate(self.worker.burst(), BURST)
            };
        }
        let spent = start.elapsed();
        ensure!(came == bursts * BURST, "{came} of {} packets came back", bursts * BURST);
        Ok(spent)
    }

    /// Processes `bursts` bursts, each followed by a burst of `other`.
    ///
    /// # Errors
    /// A packet did not come back.
    pub fn take_beside(&mut self, other: &mut Source, bursts: usize) -> Result<Duration> {
        let start = Instant::now();
        for _ in 0..bursts {
            self.take(1)?;
            self.take_from(other, 1)?;
        }
        Ok(start.elapsed())
    }

    /// Nanoseconds that the worker needs for a packet, on average over `bursts` bursts.
    ///
    /// # Errors
    /// A packet did not come back.
    pub fn measure(&mut self, bursts: usize) -> Result<f64> {
        self.restore(bursts)?;
        let nothing = self.take_nothing(bursts)?;
        let all = self.take(bursts)?;
        Ok((all.as_nanos() as f64 - nothing.as_nanos() as f64) / (bursts * BURST) as f64)
    }

    /// Brings packets and tables into the caches, after another subject. Packets that change flows need that not: what
    /// restores their flows does it.
    ///
    /// # Errors
    /// A packet did not come back.
    pub fn warm_up(&mut self, bursts: usize) -> Result<()> {
        if !self.kind.changes_flows() {
            self.take(bursts)?;
        }
        Ok(())
    }

    /// The flow table as it was at first, if packets have changed it since.
    fn restore(&mut self, bursts: usize) -> Result<()> {
        if self.kind.changes_flows() {
            let packets = (bursts * BURST) as u64;
            ensure!(packets <= self.flows, "{packets} packets would meet a flow twice");
            self.restart();
            self.begin_flows()?;
        }
        Ok(())
    }

    /// How the packets of `bursts` bursts are processed.
    ///
    /// # Errors
    /// A packet did not come back, or was not counted, or not as its kind should be.
    pub fn outcome(&mut self, bursts: usize) -> Result<Outcome> {
        self.restore(bursts)?;
        let before = self.counts();
        self.take(bursts)?;
        let after = self.counts();
        let packets = (bursts * BURST) as u64;
        let decided = after.decided - before.decided;
        if !self.kind.is_served() {
            let dropped = after.dropped - before.dropped;
            ensure!(
                dropped == packets,
                "{dropped} of {packets} packets were dropped as they should"
            );
            ensure!(decided == 0, "{decided} of {packets} packets had a backend");
            return Ok(Outcome { hits: 0.0 });
        }
        ensure!(decided == packets, "{decided} of {packets} packets had a backend");
        let served: u64 =
            (0..self.kind.services as usize).map(|n| self.reader.service(n).packets).sum();
        let sent: u64 =
            (0..self.kind.backends as usize).map(|n| self.reader.backend(n).packets).sum();
        let all = after.decided;
        ensure!(served == all && sent == all, "{served} and {sent} counted of {all}");
        let hits = after.hits - before.hits;
        ensure!((hits > 0) == self.kind.known, "{hits} of {packets} packets were of known flows");
        Ok(Outcome { hits: 100.0 * hits as f64 / packets as f64 })
    }

    /// What was counted so far.
    fn counts(&self) -> Counts {
        let all = [
            Event::FlowHit,
            Event::FlowNew,
            Event::FlowDisplaced,
            Event::FlowTableFull,
            Event::FlowMoved,
        ];
        let reason = match self.kind.addressee {
            Addressee::ClosedPort => DropReason::NoService,
            Addressee::Service | Addressee::Nobody => DropReason::NoVip,
        };
        Counts {
            hits: self.reader.event(Event::FlowHit),
            decided: all.iter().map(|&event| self.reader.event(event)).sum(),
            dropped: self.reader.verdict(Verdict::Dropped(reason)),
        }
    }
}

struct Counts {
    /// Packets of known flows.
    hits: u64,
    /// Packets with a backend.
    decided: u64,
    /// Packets that were dropped for the reason that their kind implies.
    dropped: u64,
}
