//! What one worker asks of another when it hands a packet over, and which worker owns a flow.

use super::id::{BackendId, PortIndex};
use super::verdict::DropReason;

/// Why a packet comes from another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// The packet belongs to this worker: an inner packet to the owner of its flow, a fragment to
    /// the owner of its datagram.
    Deliver(Arrival),
    /// An ICMP error, which looks for the worker that has its flow.
    IcmpError(OwnerQuery),
    /// A first fragment, which looks for the worker that has its flow.
    FirstFragment(OwnerQuery),
    /// A first fragment that returns to the owner of its datagram, with the port by which it
    /// arrived and the backend of its flow. The backend is `None` if no worker has the flow.
    FragmentBackend(PortIndex, Option<BackendId>),
    /// A first fragment that returns to the owner of its datagram, with the port by which it
    /// arrived: the worker that has its flow refuses it for this reason.
    FragmentRefused(PortIndex, DropReason),
}

/// How a packet came to this appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The port by which the packet arrived.
    pub port: PortIndex,
    /// The packet was encapsulated, and must not be decapsulated again.
    pub inner: bool,
    /// The packet must not be redirected to another member of the cluster.
    pub redirected: bool,
}

impl Arrival {
    /// A frame from a device.
    pub fn by(port: PortIndex) -> Arrival {
        Arrival { port, inner: false, redirected: false }
    }
}

/// A packet that asks sibling workers for the worker that has its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerQuery {
    /// The port by which the packet arrived.
    pub port: PortIndex,
    /// The worker that sent the packet.
    pub origin: u16,
    /// Workers that the packet has yet to visit after this one.
    pub left: u16,
}

/// The worker, of `workers`, that owns the flow with this hash. The hash's high half chooses the worker, because its
/// low half chooses the bucket of the flow table.
#[inline]
pub fn owner(tag: u64, workers: usize) -> usize {
    (((tag >> 32) * workers as u64) >> 32) as usize
}
