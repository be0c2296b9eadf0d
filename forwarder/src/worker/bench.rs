//! A worker without a thread and without devices, for benchmarks. The caller puts packets into its
//! burst and finds them where its outputs lead. It processes a burst as [`super::Worker`] does.

use super::clock::Clock;
use super::io::Output;
use super::kernel::Punts;
use super::outputs::Outputs;
use super::rounds::process;
use super::{Batch, Exceptions, Pipeline, Round};
use crate::dpdk::Burst;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::Writer;

/// The part of a worker that processes bursts.
pub struct BenchWorker {
    pipeline: Pipeline,
    batch: Batch,
    clock: Clock,
    outputs: Vec<Output>,
    punts: Punts,
}

impl BenchWorker {
    /// A worker with one output for each port.
    pub fn new(
        balancer: Balancer,
        stats: Writer,
        exceptions: Exceptions,
        clock: Clock,
        outputs: Vec<Output>,
    ) -> BenchWorker {
        let pipeline = Pipeline::new(balancer, stats, exceptions);
        BenchWorker { pipeline, batch: Batch::new(), clock, outputs, punts: Punts::default() }
    }

    /// The burst that is processed next.
    pub fn burst(&mut self) -> &mut Burst {
        &mut self.batch.burst
    }

    /// Processes the burst, whose packets arrived by `port`; it is empty afterwards.
    #[inline(never)]
    pub fn process(&mut self, tables: &Tables, port: PortIndex) {
        self.clock.begin_round();
        let actions = Outputs {
            ports: &mut self.outputs,
            siblings: &mut [],
            owners: None,
            punts: &mut self.punts,
        };
        let mut round = Round { tables, now: self.clock.now(), actions };
        process(&mut self.pipeline, &mut round, port, &mut self.batch, &mut self.clock);
    }

    /// Replaces the balancer, as a restart would.
    pub fn restart(&mut self, balancer: Balancer) {
        self.pipeline.restart(balancer);
    }
}
