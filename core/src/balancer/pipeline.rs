//! What a worker keeps to process packets, and what it is given for each round.
//!
//! [`Pipeline::process`] (`burst.rs`) takes a burst; [`Pipeline::receive_handoff`] (`exception/dispatch.rs`) takes a
//! packet from another worker. Both say by [`Actions`](super::action::Actions) where packets go. They count each
//! packet's verdict, unless the device has to take the packet first.

use std::ops::DerefMut;

use super::exception::Exceptions;
use super::frame::Frame;
use super::id::BackendId;
use super::services::Service;
use super::tables::Tables;
use super::time::Time;
use super::worker_state::Balancer;
use crate::stats::Writer;
use crate::stats::verdict::{DropReason, Verdict};

/// The state that a packet's processing reads and writes. `F` owns one frame, and `A` makes new ones.
pub struct Pipeline<F, A> {
    /// The flow table, and what decides and encapsulates packets.
    pub balancer: Balancer,
    /// The worker's counters.
    pub stats: Writer,
    /// What the worker keeps for exceptions.
    pub(super) exceptions: Exceptions<F, A>,
}

/// What each step of a worker's round needs besides the packet.
pub struct Round<'a, S> {
    /// The tables in force.
    pub tables: &'a Tables,
    /// The time.
    pub now: Time,
    /// Where packets go.
    pub actions: S,
}

impl<F, A> Pipeline<F, A> {
    /// A pipeline that has processed nothing.
    pub fn new(
        mut balancer: Balancer,
        stats: Writer,
        exceptions: Exceptions<F, A>,
    ) -> Pipeline<F, A> {
        balancer.count_by(stats.flow_writer());
        Pipeline { balancer, stats, exceptions }
    }

    /// Replaces the balancer by an empty one, for benchmarks. The live flows of the one before stay counted.
    pub fn restart(&mut self, mut balancer: Balancer) {
        balancer.count_by(self.stats.flow_writer());
        self.balancer = balancer;
    }
}

impl<F: DerefMut<Target: Frame>, A> Pipeline<F, A> {
    /// Counts a packet of a service for a backend, with the length that it had when received. `begins` says that the
    /// Maglev table chose the backend for this packet.
    pub(super) fn count_traffic(
        &mut self,
        service: Service,
        backend: BackendId,
        length: usize,
        begins: bool,
    ) {
        let (service, backend) = (service.id.0 as usize, backend.index());
        // Adding 0 costs less than asking twice.
        self.stats.traffic().count_with_flows(service, backend, length as u64, begins.into());
    }

    /// Drops a packet and counts the reason.
    pub(super) fn drop(&mut self, frame: F, reason: DropReason) {
        self.stats.verdict(Verdict::Dropped(reason), 1);
        std::mem::drop(frame);
    }
}
