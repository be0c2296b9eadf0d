//! The code under measurement: the function with which a worker processes a burst of mbufs, with all counters.
//!
//! The mbufs that the worker sends come back over a ring, and are filled with new headers. Ring and filling
//! are also measured without the worker, and subtracted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guideway::dpdk::clock::tsc_hz;
use guideway::dpdk::{BURST, Eal, Mempool, ring};
use guideway::worker::{BenchWorker, Clock, Exceptions, Output, OutputKind, RingQueue};
use guideway_core::balancer::fragment;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::{self, Event, Reader};

use crate::source::Source;
use crate::traffic::{self, Kind, Transport};

/// After this time a packet confirms a flow that began without a SYN.
const CONFIRMED: Duration = Duration::from_millis(1100);

/// A worker and its packets.
pub struct Subject {
    kind: Kind,
    tables: Tables,
    worker: BenchWorker,
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
    /// A worker with a flow table of `entries`. If `kind.known`, the table has all flows.
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
            reader,
            source,
            flows,
            entries,
            back,
            forth,
            forth_back,
        };
        if kind.known {
            subject.begin_flows(usize::try_from(flows.div_ceil(BURST as u64))?)?;
        }
        Ok(subject)
    }

    /// Puts every flow in the table: for TCP with a SYN and a segment, for UDP with two datagrams that are
    /// apart in time.
    fn begin_flows(&mut self, bursts: usize) -> Result<()> {
        if self.kind.transport == Transport::Udp {
            self.take(bursts)?;
            thread::sleep(CONFIRMED);
        } else {
            let mut syns = Source::new(Kind { transport: Transport::Syn, ..self.kind }, self.flows);
            std::mem::swap(&mut self.source, &mut syns);
            let taken = self.take(bursts);
            std::mem::swap(&mut self.source, &mut syns);
            taken?;
        }
        self.take(bursts)?;
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
            came += self.back.receive(self.worker.burst());
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
            self.forth.send(self.worker.burst());
            came += self.forth_back.receive(self.worker.burst());
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
            std::mem::swap(&mut self.source, other);
            let taken = self.take(1);
            std::mem::swap(&mut self.source, other);
            taken?;
        }
        Ok(start.elapsed())
    }

    /// Nanoseconds that the worker needs for a packet, on average over `bursts` bursts.
    ///
    /// # Errors
    /// A packet did not come back.
    pub fn measure(&mut self, bursts: usize) -> Result<f64> {
        if !self.kind.known {
            self.worker.restart(Balancer::new(self.entries, LocalSeed::new(traffic::SEED)));
        }
        let nothing = self.take_nothing(bursts)?;
        let all = self.take(bursts)?;
        Ok((all.as_nanos() as f64 - nothing.as_nanos() as f64) / (bursts * BURST) as f64)
    }

    /// How the packets of `bursts` bursts are processed.
    ///
    /// # Errors
    /// A packet did not come back, or was not counted.
    pub fn outcome(&mut self, bursts: usize) -> Result<Outcome> {
        let count = |reader: &Reader| -> (u64, u64) {
            let all = [
                Event::FlowHit,
                Event::FlowNew,
                Event::FlowDisplaced,
                Event::FlowTableFull,
                Event::FlowMoved,
            ]
            .map(|event| reader.event(event));
            (reader.event(Event::FlowHit), all.iter().sum())
        };
        if !self.kind.known {
            self.worker.restart(Balancer::new(self.entries, LocalSeed::new(traffic::SEED)));
        }
        let before = count(&self.reader);
        self.take(bursts)?;
        let after = count(&self.reader);
        let (hits, all) = (after.0 - before.0, after.1 - before.1);
        ensure!(all == (bursts * BURST) as u64, "{all} events of {} packets", bursts * BURST);
        let served: u64 =
            (0..self.kind.services as usize).map(|n| self.reader.service(n).packets).sum();
        let sent: u64 =
            (0..self.kind.backends as usize).map(|n| self.reader.backend(n).packets).sum();
        ensure!(served == after.1 && sent == after.1, "{served} and {sent} counted of {}", after.1);
        let is_known = self.kind.known && self.kind.transport != Transport::Syn;
        ensure!(!is_known || hits > 0, "no packet was of a known flow");
        Ok(Outcome { hits: 100.0 * hits as f64 / all as f64 })
    }
}
