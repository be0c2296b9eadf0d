//! A worker without a thread and without devices, for benchmarks: packets are put into its hands, and
//! found again where its outlets lead. What it does with a burst is what [`super::Worker`] does.

use super::clock::Clock;
use super::exception::Exceptions;
use super::io::Output;
use super::pipeline::{Batch, Pipeline};
use super::round::Round;
use crate::balancer::id::PortIndex;
use crate::balancer::{Balancer, Tables};
use crate::dpdk::Burst;
use crate::stats::Writer;

/// The part of a worker that takes packets on their way.
pub struct BenchWorker {
    pipeline: Pipeline,
    batch: Batch,
    clock: Clock,
    outputs: Vec<Output>,
}

impl BenchWorker {
    /// A worker that sends by these outlets, one for each port.
    pub fn new(
        balancer: Balancer,
        stats: Writer,
        exceptions: Exceptions,
        clock: Clock,
        outputs: Vec<Output>,
    ) -> BenchWorker {
        let pipeline = Pipeline::new(balancer, stats, exceptions);
        BenchWorker { pipeline, batch: Batch::new(), clock, outputs }
    }

    /// What it takes next.
    pub fn burst(&mut self) -> &mut Burst {
        &mut self.batch.burst
    }

    /// Takes a burst that came in by `port` all the way; it is empty afterwards.
    #[inline(never)]
    pub fn process(&mut self, tables: &Tables, port: PortIndex) {
        self.clock.begin_round();
        let now = self.clock.now();
        let mut round = Round { tables, outputs: &mut self.outputs, siblings: &mut [], now };
        self.pipeline.process(&mut round, port, &mut self.batch, None, &mut self.clock);
    }

    /// Another balancer, as a worker has it that was just started.
    pub fn restart(&mut self, balancer: Balancer) {
        self.pipeline.balancer = balancer;
    }
}
