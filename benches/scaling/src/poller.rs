//! A worker between a driver's two ends: its packets come from a pool that other workers use too, and go back there.
//!
//! [`Poller::poll`] takes a burst of buffers from the pool, writes the headers of the next flows, as a NIC would, and
//! has the worker process them. What the worker sends is freed. Without I/O that is all that a driver does to the
//! memory that workers share.

use std::sync::atomic::{Ordering, fence};

use anyhow::{Result, ensure};
use cost::source::Source;
use cost::traffic::{self, Kind, Transport};
use guideway::dpdk::clock::{tsc, tsc_hz};
use guideway::dpdk::{BURST, Burst, Eal, Mempool, ring};
use guideway::worker::{BenchWorker, Clock, Exceptions, Output, OutputKind, Owners, RingQueue};
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::{Balancer, Tables, fragment};
use guideway_core::stats::{self, DropReason, Reader, Verdict};

/// Flows of each worker.
const FLOWS: usize = 1 << 16;
/// Entries of each worker's flow table.
const ENTRIES: usize = 1 << 18;
/// Bursts that have a packet of each flow.
pub(crate) const ALL_FLOWS: usize = FLOWS / BURST;

/// What a worker did: packets, and the ticks of the CPU's counter that they took, without those for writing headers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) packets: u64,
    pub(crate) ticks: u64,
}

impl Work {
    /// Ticks beyond which something has interrupted a burst: ten times and more what the worst of them takes.
    const INTERRUPTED: u64 = 100_000;

    /// Adds a burst, with the average of the others in place of its time if something has interrupted it.
    pub(crate) fn add(&mut self, burst: Work) {
        let is_whole = burst.ticks < Work::INTERRUPTED || self.packets == 0;
        self.ticks +=
            if is_whole { burst.ticks } else { self.ticks * burst.packets / self.packets };
        self.packets += burst.packets;
    }
}

/// A worker, the pool of its packets, and the tables by which it forwards them.
pub(crate) struct Poller {
    worker: BenchWorker,
    reader: Reader,
    tables: Tables,
    pool: Mempool,
    source: Source,
    /// Receives what the worker sends.
    sent: ring::Receiver,
    freed: Burst,
}

impl Poller {
    /// A worker for TCP segments. With `owners`, it passes packets on to the owners of their flows.
    ///
    /// # Errors
    /// DPDK's error.
    pub(crate) fn new(
        eal: &Eal,
        pool: &Mempool,
        name: &str,
        owners: Option<Owners>,
    ) -> Result<Poller> {
        let (writer, reader) = stats::channel(1, Kind::HIT.backends as usize);
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
        let (to, sent) = ring::channel(eal, name, 64, None)?;
        let outputs = vec![Output::new(OutputKind::Ring(RingQueue::new(to, false)))];
        let balancer = Balancer::new(ENTRIES, seed);
        let mut worker = BenchWorker::new(balancer, writer, exceptions, clock, outputs);
        if let Some(owners) = owners {
            worker.divide_among(owners);
        }
        let (tables, source) = (traffic::tables(Kind::HIT), Source::new(Kind::HIT, FLOWS as u64));
        let freed = Burst::new();
        Ok(Poller { worker, reader, tables, pool: pool.clone(), source, sent, freed })
    }

    /// The packets of the polls to come: the SYNs that begin all flows, or segments of these.
    pub(crate) fn begin_flows(&mut self, begin: bool) {
        let transport = if begin { Transport::Syn } else { Transport::Ack };
        self.source = Source::new(Kind { transport, ..Kind::HIT }, FLOWS as u64);
    }

    /// Processes a burst of new packets. Returns the work, and how many of them this worker has sent itself.
    ///
    /// # Errors
    /// The pool is empty.
    #[inline(never)]
    pub(crate) fn poll(&mut self) -> Result<(Work, u64)> {
        let begin = tsc();
        let taken = self.pool.allocate(self.worker.burst(), BURST);
        let taken_at = tsc();
        ensure!(taken == BURST, "the pool is empty");
        self.source.fill(self.worker.burst());
        // What is written is in the cache before the worker begins, as it is when a driver shows a packet.
        fence(Ordering::SeqCst);
        let filled_at = tsc();
        self.worker.process(&self.tables, traffic::PORT);
        let sent = self.free_sent();
        let end = tsc();
        let ticks = (taken_at - begin) + (end - filled_at);
        Ok((Work { packets: BURST as u64, ticks }, sent))
    }

    /// Processes a burst that another worker has passed on, if any waits.
    #[inline(never)]
    pub(crate) fn take_passed(&mut self, ring: &mut ring::Receiver<Passed>) -> Work {
        let begin = tsc();
        let packets = self.worker.process_passed(&self.tables, traffic::PORT, ring);
        if packets == 0 {
            return Work::default();
        }
        self.free_sent();
        Work { packets: packets as u64, ticks: tsc() - begin }
    }

    /// Frees what the worker has sent, as a driver does, and returns the number.
    fn free_sent(&mut self) -> u64 {
        let sent = self.sent.receive(&mut self.freed);
        self.freed.clear();
        sent as u64
    }

    /// Packets dropped because the ring to another worker was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.reader.verdict(Verdict::Dropped(DropReason::RingFull))
    }

    /// Packets of known flows so far.
    pub(crate) fn hits(&self) -> u64 {
        self.reader.event(stats::Event::FlowHit)
    }
}
