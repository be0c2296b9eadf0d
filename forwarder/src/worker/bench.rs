//! A worker without a thread and without devices, for benchmarks. The caller puts packets into its
//! burst and finds them where its outputs lead. It processes a burst as [`super::Worker`] does.

use super::clock::Clock;
use super::io::Output;
use super::kernel::Punts;
use super::outputs::Outputs;
use super::owners::Owners;
use super::rounds::process;
use super::{Batch, Exceptions, Pipeline, Round};
use crate::dpdk::{BURST, Burst, ring};
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::{Balancer, Tables};
use guideway_core::stats::Writer;

/// The part of a worker that processes bursts.
pub struct BenchWorker {
    pipeline: Pipeline,
    batch: Batch,
    passed: [Passed; BURST],
    clock: Clock,
    outputs: Vec<Output>,
    owners: Option<Owners>,
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
        let (batch, punts) = (Batch::new(), Punts::default());
        let passed = [Passed::default(); BURST];
        BenchWorker { pipeline, batch, passed, clock, outputs, owners: None, punts }
    }

    /// Passes packets on to the owners of their flows from here on.
    pub fn divide_among(&mut self, owners: Owners) {
        self.owners = Some(owners);
    }

    /// The burst that is processed next.
    pub fn burst(&mut self) -> &mut Burst {
        &mut self.batch.burst
    }

    /// Processes the burst, whose packets arrived by `port`; it is empty afterwards.
    #[inline(never)]
    pub fn process(&mut self, tables: &Tables, port: PortIndex) {
        self.process_as(tables, port, false);
    }

    #[inline(always)]
    fn process_as(&mut self, tables: &Tables, port: PortIndex, is_passed: bool) {
        self.clock.begin_round();
        let actions = Outputs {
            ports: &mut self.outputs,
            siblings: &mut [],
            owners: self.owners.as_mut(),
            punts: &mut self.punts,
        };
        let mut round = Round { tables, now: self.clock.now(), actions };
        let passed = is_passed.then_some(&self.passed);
        process(&mut self.pipeline, &mut round, port, &mut self.batch, passed, &mut self.clock);
    }

    /// Processes a burst of packets that another worker has passed on. Returns how many there were.
    #[inline(never)]
    pub fn process_passed(
        &mut self,
        tables: &Tables,
        port: PortIndex,
        ring: &mut ring::Receiver<Passed>,
    ) -> usize {
        let received = ring.receive_with(&mut self.batch.burst, &mut self.passed);
        if received > 0 {
            self.process_as(tables, port, true);
        }
        received
    }

    /// Replaces the balancer, as a restart would.
    pub fn restart(&mut self, balancer: Balancer) {
        self.pipeline.restart(balancer);
    }
}
