//! What a worker hands to each step of a round: the tables, the outputs and the time.

use crate::balancer::{Tables, Time};
use crate::stats::Writer;

use super::io::Output;

/// What surrounds a packet on its way.
pub(super) struct Round<'a> {
    pub(super) tables: &'a Tables,
    /// The ways out, by port.
    pub(super) outputs: &'a mut [Output],
    /// The ways to the other workers; none to this one.
    pub(super) siblings: &'a mut [Option<Output>],
    pub(super) now: Time,
}

impl Round<'_> {
    /// Sends all that was gathered.
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        self.siblings.iter_mut().flatten().for_each(|peer| peer.flush(stats));
        self.outputs.iter_mut().for_each(|output| output.flush(stats));
    }
}
