//! What one worker asks of another when it hands a packet over. The request travels in the packet's
//! metadata.

use crate::dpdk::Metadata;
use guideway_core::balancer::id::{BackendId, PortIndex};

/// Why a packet comes from another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handoff {
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
}

/// How a packet came to this appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The port by which the packet arrived.
    pub(super) port: PortIndex,
    /// The packet was encapsulated, and must not be decapsulated again.
    pub(super) inner: bool,
    /// The packet must not be redirected to another member of the cluster.
    pub(super) redirected: bool,
}

impl Arrival {
    /// A frame from a device.
    pub(super) fn by(port: PortIndex) -> Arrival {
        Arrival { port, inner: false, redirected: false }
    }
}

/// A packet that asks sibling workers for the worker that has its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnerQuery {
    /// The port by which the packet arrived.
    pub(super) port: PortIndex,
    /// The worker that sent the packet.
    pub(super) origin: u16,
    /// Workers that the packet has yet to visit after this one.
    pub(super) left: u16,
}

impl Handoff {
    pub(super) fn metadata(self) -> Metadata {
        let word = |kind: u64, port: PortIndex, a: u16, b: u16| {
            kind << 48 | u64::from(port.0) << 32 | u64::from(a) << 16 | u64::from(b)
        };
        match self {
            Handoff::Deliver(Arrival { port, inner, redirected }) => {
                [word(0, port, inner.into(), redirected.into()), 0]
            }
            Handoff::IcmpError(OwnerQuery { port, origin, left }) => {
                [word(1, port, origin, left), 0]
            }
            Handoff::FirstFragment(OwnerQuery { port, origin, left }) => {
                [word(2, port, origin, left), 0]
            }
            Handoff::FragmentBackend(port, backend) => {
                [word(3, port, 0, 0), backend.map_or(u64::MAX, |id| id.get().into())]
            }
        }
    }

    /// The handoff that [`Handoff::metadata`] wrote.
    #[expect(clippy::cast_possible_truncation, reason = "the fields of metadata have 16 bits each")]
    pub(super) fn of([word, backend]: Metadata) -> Option<Handoff> {
        let port = PortIndex((word >> 32) as u16);
        let (a, b) = ((word >> 16) as u16, word as u16);
        let query = OwnerQuery { port, origin: a, left: b };
        Some(match word >> 48 {
            0 => Handoff::Deliver(Arrival { port, inner: a != 0, redirected: b != 0 }),
            1 => Handoff::IcmpError(query),
            2 => Handoff::FirstFragment(query),
            3 => {
                let backend = u32::try_from(backend).ok().filter(|&id| id <= BackendId::MAX);
                Handoff::FragmentBackend(port, backend.map(BackendId::new))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_the_handoff() {
        let port = PortIndex(u16::MAX);
        let query = OwnerQuery { port, origin: 3, left: u16::MAX };
        for handoff in [
            Handoff::Deliver(Arrival { port, inner: true, redirected: false }),
            Handoff::Deliver(Arrival { port: PortIndex(0), inner: false, redirected: true }),
            Handoff::IcmpError(query),
            Handoff::FirstFragment(query),
            Handoff::FragmentBackend(port, None),
            Handoff::FragmentBackend(port, Some(BackendId::new(BackendId::MAX))),
        ] {
            assert_eq!(Handoff::of(handoff.metadata()), Some(handoff));
        }
        assert_eq!(Handoff::of([u64::MAX, 0]), None);
    }
}
