//! What a worker keeps for exceptions: fragments that wait, limits on replies and punts,
//! buffers for fragments.

use crate::balancer::DropReason;
use crate::balancer::fragment::{self, Reason};
use crate::balancer::hash::LocalSeed;
use crate::balancer::id::{BackendId, PortIndex};
use crate::balancer::punt::PuntLimits;
use crate::balancer::reply::Identifications;
use crate::balancer::services::Service;
use crate::wire::protocol;

use super::reply_limits::ReplyLimits;

/// A worker's state for exceptions. `F` owns one frame, and `A` makes new ones.
pub struct Exceptions<F, A> {
    /// The index of this worker.
    pub(super) index: u16,
    /// The number of workers.
    pub(super) workers: u16,
    /// The owner of a flow by its hash is the worker that has it.
    pub(super) owners_known: bool,
    pub(super) fragments: fragment::Table<Waiting<F>, DatagramAction>,
    /// Where the frames of fragments that are made here come from.
    pub(super) allocator: A,
    pub(super) reply_limits: ReplyLimits,
    pub(super) punt_limits: PuntLimits,
    /// Identifications of replies that are fragmented.
    pub(super) identifications: Identifications,
    /// Fragments that a first fragment has released. There is room for all that can wait.
    pub(super) released: Vec<(Waiting<F>, Option<Reason>)>,
}

/// A fragment that waits for the first of its datagram, and the port by which it arrived.
pub(super) type Waiting<F> = (F, PortIndex);

/// What is done with the fragments of a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DatagramAction {
    /// Forward them to a backend.
    Forward {
        backend: BackendId,
        service: Service,
        /// The flow's hash, so that all its packets take the same route.
        entropy: u64,
        /// The protocol of the first fragment.
        protocol: u8,
        /// The generation of the tables that chose the backend.
        generation: u64,
        /// The datagram is the first packet of a flow.
        begins: bool,
    },
    /// Turn each into a fragment of an echo reply.
    Echo,
    /// Reply to the first with an error, and drop the others: nothing listens on the port, or no backend takes them.
    Unreachable,
    /// Drop them.
    Drop(DropReason),
}

impl DatagramAction {
    /// The protocol of a datagram over IPv6, where later fragments need it.
    pub(super) fn protocol(self) -> Option<u8> {
        match self {
            DatagramAction::Forward { protocol, .. } => Some(protocol),
            DatagramAction::Echo => Some(protocol::ICMPV6),
            DatagramAction::Unreachable | DatagramAction::Drop(_) => None,
        }
    }
}

impl<F, A> Exceptions<F, A> {
    /// The state of worker `index` of `workers`. `owners_known` means that no device spreads flows
    /// by a hash of its own, so that every flow's owner follows from Guideway's hash.
    pub fn new(
        index: u16,
        workers: u16,
        owners_known: bool,
        fragments: fragment::Capacity,
        seed: LocalSeed,
        allocator: A,
    ) -> Exceptions<F, A> {
        Exceptions {
            index,
            workers,
            owners_known,
            fragments: fragment::Table::new(fragments, seed),
            allocator,
            reply_limits: ReplyLimits::new((0, 0)),
            punt_limits: PuntLimits::new(),
            identifications: Identifications::new(seed, index),
            released: Vec::with_capacity(fragments.packets),
        }
    }

    /// The number of packets that wait for a first fragment.
    pub(super) fn waiting(&self) -> u64 {
        self.fragments.usage().packets as u64
    }

    /// The worker after this one.
    pub(super) fn next(&self) -> u16 {
        (self.index + 1) % self.workers
    }
}
