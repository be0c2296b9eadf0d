//! A handoff as it travels: in the metadata of the packet, beside its bytes.

use crate::dpdk::Metadata;
use guideway_core::balancer::handoff::{Arrival, Handoff, OwnerQuery};
use guideway_core::balancer::id::{BackendId, PortIndex};
use guideway_core::balancer::verdict::Verdict;

/// The metadata that says `handoff`.
pub(super) fn encode(handoff: Handoff) -> Metadata {
    let word = |kind: u64, port: PortIndex, a: u16, b: u16| {
        kind << 48 | u64::from(port.0) << 32 | u64::from(a) << 16 | u64::from(b)
    };
    match handoff {
        Handoff::Deliver(Arrival { port, inner, redirected }) => {
            [word(0, port, inner.into(), redirected.into()), 0]
        }
        Handoff::IcmpError(OwnerQuery { port, origin, left }) => [word(1, port, origin, left), 0],
        Handoff::FirstFragment(OwnerQuery { port, origin, left }) => {
            [word(2, port, origin, left), 0]
        }
        Handoff::FragmentBackend(port, backend) => {
            [word(3, port, 0, 0), backend.map_or(u64::MAX, |id| id.get().into())]
        }
        Handoff::FragmentRefused(port, reason) => {
            [word(4, port, 0, 0), Verdict::Dropped(reason).index() as u64]
        }
    }
}

/// The handoff that [`encode`] wrote.
#[expect(clippy::cast_possible_truncation, reason = "the fields of metadata have 16 bits each")]
pub(super) fn decode([word, content]: Metadata) -> Option<Handoff> {
    let port = PortIndex((word >> 32) as u16);
    let (a, b) = ((word >> 16) as u16, word as u16);
    let query = OwnerQuery { port, origin: a, left: b };
    Some(match word >> 48 {
        0 => Handoff::Deliver(Arrival { port, inner: a != 0, redirected: b != 0 }),
        1 => Handoff::IcmpError(query),
        2 => Handoff::FirstFragment(query),
        3 => {
            let backend = u32::try_from(content).ok().filter(|&id| id <= BackendId::MAX);
            Handoff::FragmentBackend(port, backend.map(BackendId::new))
        }
        4 => match Verdict::all().nth(usize::try_from(content).ok()?)? {
            Verdict::Dropped(reason) => Handoff::FragmentRefused(port, reason),
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use guideway_core::balancer::verdict::DropReason;
    use guideway_core::wire::Error;

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
            Handoff::FragmentRefused(port, DropReason::DrainOver),
            Handoff::FragmentRefused(port, DropReason::Malformed(Error::NotIp)),
        ] {
            assert_eq!(decode(encode(handoff)), Some(handoff));
        }
        assert_eq!(decode([u64::MAX, 0]), None);
        let forwarded = Verdict::Forwarded.index() as u64;
        assert_eq!(decode([4 << 48, forwarded]), None, "no reason to drop");
        assert_eq!(decode([4 << 48, u64::MAX]), None);
    }
}
