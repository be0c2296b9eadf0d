//! What each step of a worker's round needs besides the packet: the tables, the outputs and the
//! time.

use guideway_core::balancer::{Tables, Time};
use guideway_core::stats::Writer;

use super::io::Output;

/// The context of a packet.
pub(super) struct Round<'a> {
    pub(super) tables: &'a Tables,
    /// The output of each port.
    pub(super) outputs: &'a mut [Output],
    /// The ring to each sibling; `None` at this worker's own index.
    pub(super) siblings: &'a mut [Option<Output>],
    pub(super) now: Time,
}

impl Round<'_> {
    /// Flushes all outputs.
    pub(super) fn flush(&mut self, stats: &mut Writer) {
        self.siblings.iter_mut().flatten().for_each(|sibling| sibling.flush(stats));
        self.outputs.iter_mut().for_each(|output| output.flush(stats));
    }
}
