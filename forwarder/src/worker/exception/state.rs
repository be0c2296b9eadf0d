//! What a worker keeps for exceptions.

use crate::balancer::DropReason;
use crate::balancer::fragment::{self, Reason};
use crate::balancer::hash::LocalSeed;
use crate::balancer::id::BackendId;
use crate::balancer::reply::Identifications;
use crate::balancer::services::Service;
use crate::dpdk::{Mempool, OwnedMbuf};
use crate::wire::protocol;

use super::reply_limits::ReplyLimits;

/// What a worker has for exceptions.
pub struct Exceptions {
    /// This worker, and how many there are.
    pub(super) index: u16,
    pub(super) workers: u16,
    /// The worker that has a flow follows from its hash.
    pub(super) owners_known: bool,
    pub(super) fragments: fragment::Table<OwnedMbuf, DatagramAction>,
    /// Where pieces of packets come from.
    pub(super) pool: Mempool,
    pub(super) limits: ReplyLimits,
    /// Of answers that are cut.
    pub(super) identifications: Identifications,
    /// Fragments that a first one has released: room for all that can wait.
    pub(super) released: Vec<(OwnedMbuf, Option<Reason>)>,
}

/// What was chosen for a datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DatagramAction {
    /// It goes to a backend.
    Forward {
        backend: BackendId,
        service: Service,
        /// Of the flow, so that all packets of it travel alike.
        entropy: u64,
        /// Of the first fragment.
        protocol: u8,
        /// Of the tables that it was chosen by.
        generation: u64,
        /// The flow begins with this datagram.
        begins: bool,
    },
    /// It is turned into a reply, fragment by fragment.
    Echo,
    /// Nothing listens there: the first is answered with an error, and the others are dropped.
    Unreachable,
    /// It is dropped.
    Drop(DropReason),
}

impl DatagramAction {
    /// The protocol of a datagram over IPv6, where it has consequences.
    pub(super) fn protocol(self) -> Option<u8> {
        match self {
            DatagramAction::Forward { protocol, .. } => Some(protocol),
            DatagramAction::Echo => Some(protocol::ICMPV6),
            DatagramAction::Unreachable | DatagramAction::Drop(_) => None,
        }
    }
}

impl Exceptions {
    /// For worker `me` of so many. `owners_known` tells that the owner of every flow follows from its
    /// hash, because no device deals flows by a hash of its own.
    pub fn new(
        index: u16,
        workers: u16,
        owners_known: bool,
        fragments: fragment::Capacity,
        seed: LocalSeed,
        pool: Mempool,
    ) -> Exceptions {
        Exceptions {
            index,
            workers,
            owners_known,
            fragments: fragment::Table::new(fragments, seed),
            pool,
            limits: ReplyLimits::new((0, 0)),
            identifications: Identifications::new(seed, index),
            released: Vec::with_capacity(fragments.packets),
        }
    }

    /// Packets that wait for a first fragment.
    pub(in crate::worker) fn waiting(&self) -> u64 {
        self.fragments.usage().packets as u64
    }

    /// The next worker.
    pub(super) fn next(&self) -> u16 {
        (self.index + 1) % self.workers
    }
}
