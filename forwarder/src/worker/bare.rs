//! A worker without a thread and without devices, for benchmarks: packets are put into its hands, and
//! found again where its outlets lead. What it does with a burst is what [`super::Worker`] does.

use super::clock::Clock;
use super::exception::{Exceptions, Scene};
use super::exchange::Outlet;
use super::path::{Batch, Path};
use crate::balancer::tables::PortIndex;
use crate::balancer::{Balancer, Tables};
use crate::dpdk::Burst;
use crate::stats::Writer;

/// The part of a worker that takes packets on their way.
pub struct Bare {
    path: Path,
    batch: Batch,
    clock: Clock,
    outlets: Vec<Outlet>,
}

impl Bare {
    /// A worker that sends by these outlets, one for each port.
    pub fn new(
        balancer: Balancer,
        stats: Writer,
        exceptions: Exceptions,
        clock: Clock,
        outlets: Vec<Outlet>,
    ) -> Bare {
        let path = Path::new(balancer, stats, exceptions);
        Bare { path, batch: Batch::new(), clock, outlets }
    }

    /// What it takes next.
    pub fn burst(&mut self) -> &mut Burst {
        &mut self.batch.burst
    }

    /// Takes a burst that came in by `port` all the way; it is empty afterwards.
    #[inline(never)]
    pub fn take(&mut self, tables: &Tables, port: PortIndex) {
        self.clock.begin_round();
        let now = self.clock.now();
        let mut scene = Scene { tables, outlets: &mut self.outlets, peers: &mut [], now };
        self.path.take(&mut scene, port, &mut self.batch, None, &mut self.clock);
    }

    /// Another balancer, as a worker has it that was just started.
    pub fn restart(&mut self, balancer: Balancer) {
        self.path.balancer = balancer;
    }
}
