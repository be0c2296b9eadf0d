//! Where packets go: what becomes of each packet that the balancer has processed.
//!
//! | a packet is | by | its verdict is counted |
//! |---|---|---|
//! | sent | [`Actions::transmit`], [`BurstActions::transmit_burst`] | where the device takes it or not |
//! | sent, with a verdict of its own | [`Actions::transmit_decided`] | by the caller, which learns whether it was sent |
//! | given to the kernel | [`Actions::punt`] | by the caller, which learns whether there was room |
//! | handed to a sibling | [`Actions::hand_off`], [`BurstActions::pass`] | by that worker, or as `ring_full` if its ring is full |
//! | held | the fragment table | when it leaves the table |
//! | dropped | dropping the value that owns its frame | by the caller |
//!
//! A worker carries these out with devices and rings, a test records them.

use super::frame::Burst;
use super::handoff::Handoff;
use super::id::PortIndex;
use super::passed::Passed;
use super::punt::Class;
use crate::stats::Writer;
use crate::stats::verdict::DropReason;

/// Where one packet goes. `F` owns its frame.
pub trait Actions<F> {
    /// Sends a packet by a port. What counts as its verdict is whether the device takes it.
    fn transmit(&mut self, port: PortIndex, frame: F, stats: &mut Writer);

    /// Sends a packet by a port, behind all that were sent before. Its verdict is the caller's to count.
    ///
    /// # Errors
    /// The reason why it was dropped.
    fn transmit_decided(
        &mut self,
        port: PortIndex,
        frame: F,
        stats: &mut Writer,
    ) -> Result<(), DropReason>;

    /// Gives a frame, with its tags, to the kernel by the interface of the port that it came by. Its verdict is the
    /// caller's to count.
    ///
    /// # Errors
    /// [`DropReason::PuntQueueFull`]: there was no room, and the packet was dropped.
    fn punt(
        &mut self,
        port: PortIndex,
        class: Class,
        frame: F,
        stats: &mut Writer,
    ) -> Result<(), DropReason>;

    /// Hands a packet to another worker, which counts its verdict; if the ring to it is full, the packet is dropped
    /// and counted here.
    fn hand_off(&mut self, worker: u16, frame: F, handoff: Handoff, stats: &mut Writer);
}

/// Where the packets of a burst go.
pub trait BurstActions<B: Burst>: Actions<B::Owned> {
    /// Sends all packets of a burst by a port, as [`Actions::transmit`] does, and empties it.
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut B, stats: &mut Writer);

    /// Whether the burst came from a device that does not divide flows among the workers, so that
    /// [`BurstActions::pass`] must be asked about each packet of a service.
    fn divides(&self) -> bool;

    /// Passes a packet to the worker that owns its flow by its tag. That worker gives it, and what is known about it,
    /// to [`Pipeline::process_passed`](super::pipeline::Pipeline::process_passed).
    ///
    /// # Errors
    /// The packet, if this worker is the owner.
    fn pass(&mut self, passed: &Passed, frame: B::Owned) -> Result<(), B::Owned>;
}
