//! Packets of a service that the fast path does not take. They are decided, encapsulated and sent
//! one by one: every SYN and FIN, tagged packets, packets that are not sent as plain GRE.

use std::ops::DerefMut;

use super::action::Actions;
use super::classify::Classified;
use super::frame::{Allocator, Frame};
use super::id::{BackendId, PortIndex};
use super::pipeline::{Pipeline, Round};
use crate::stats::verdict::DropReason;

impl<F: DerefMut<Target: Frame>, A: Allocator<F>> Pipeline<F, A> {
    /// Decides a packet of a service, encapsulates it for its backend and sends it.
    ///
    /// # Errors
    /// The packet, if no backend takes it, and why: give both to [`Pipeline::refuse`]. To call that here would cost
    /// each packet 25 instructions.
    #[inline]
    pub(super) fn forward_one(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        frame: F,
        port: PortIndex,
        classified: &Classified,
    ) -> Result<(), (F, DropReason)> {
        match self.balancer.decide(round.tables, frame.bytes(), classified, round.now) {
            Ok(decision) => {
                self.stats.event(decision.flow.into(), 1);
                let begins = decision.flow.is_choice();
                self.forward_to(round, frame, port, classified, decision.backend, begins);
                Ok(())
            }
            Err(reason) => Err((frame, reason)),
        }
    }

    /// Encapsulates a packet for its backend and sends it. `begins` says that the Maglev
    /// table chose the backend for this packet.
    pub(super) fn forward_to(
        &mut self,
        round: &mut Round<'_, impl Actions<F>>,
        mut frame: F,
        port: PortIndex,
        classified: &Classified,
        backend: BackendId,
        begins: bool,
    ) {
        let length = frame.length();
        let tables = round.tables;
        match self.balancer.encapsulate(tables, classified, backend, &mut *frame) {
            Ok(out) => {
                self.count_traffic(classified.service, backend, length, begins);
                round.actions.transmit(out, frame, &mut self.stats);
            }
            Err(DropReason::HopLimitExceeded) => {
                self.hop_limit_exceeded(round, frame, port, &classified.packet)
            }
            Err(DropReason::ExceedsMtu) => {
                self.oversize(round, frame, port, classified, backend, begins);
            }
            Err(reason) => self.drop(frame, reason),
        }
    }
}
