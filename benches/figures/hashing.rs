//! Methods that assign a backend to each slot of a table: Guideway's Maglev, and two others for comparison.

use std::net::Ipv4Addr;

use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::maglev;

pub(crate) const BACKENDS: usize = 1000;

/// Points of a backend on the ring, as in the paper, which calls them "views".
pub(crate) const VIRTUAL_NODES: usize = 1000;

/// A method, prepared for one size of table.
pub(crate) trait Method {
    const NAME: &str;
    /// Whether the method changes slots whose backend stays.
    const MOVES_NEEDLESSLY: bool;

    /// The backend of each slot, among the backends present.
    fn table(&self, present: &[bool; BACKENDS]) -> Vec<u16>;
}

/// The finalizer of SplitMix64: well mixed, and different for each number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[expect(clippy::cast_possible_truncation, reason = "a thousand backends")]
fn number(backend: usize) -> u16 {
    backend as u16
}

pub(crate) struct Maglev {
    size: u32,
    members: Vec<maglev::Candidate>,
}

impl Maglev {
    pub(crate) fn new(size: u32) -> Maglev {
        let member = |value| maglev::Candidate {
            identity: maglev::identity(Ipv4Addr::from_bits(0x0a00_0000 + value).into()),
            weight: 1,
            value,
        };
        Maglev { size, members: (0..).take(BACKENDS).map(member).collect() }
    }
}

impl Method for Maglev {
    const NAME: &str = "Maglev";
    const MOVES_NEEDLESSLY: bool = true;

    fn table(&self, present: &[bool; BACKENDS]) -> Vec<u16> {
        let present = self.members.iter().zip(present).filter(|&(_, &is)| is);
        let members: Vec<maglev::Candidate> = present.map(|(&member, _)| member).collect();
        let table = maglev::Table::build(&FleetKey::new([0x5a; 16]), self.size, &members);
        table.slots().iter().map(|&value| number(value as usize)).collect()
    }
}

/// Karger et al., 1997: a slot's backend is that of the next point on a ring. Slots are evenly spaced on the
/// ring: a slot represents the flows that hash near it.
pub(crate) struct Ring {
    /// The backends of the points, in the order of the ring.
    points: Vec<u16>,
    /// Each slot's next point.
    next: Vec<usize>,
}

impl Ring {
    pub(crate) fn new(size: u32) -> Ring {
        let points = |backend: usize| {
            let point = move |node| mix(mix(backend as u64 + 1) ^ node as u64);
            (0..VIRTUAL_NODES).map(move |node| (point(node), number(backend)))
        };
        let mut ring: Vec<(u64, u16)> = (0..BACKENDS).flat_map(points).collect();
        ring.sort_unstable();
        let place = |slot: u32| u64::from(slot) * (u64::MAX / u64::from(size));
        let next = |slot: u32| ring.partition_point(|&(point, _)| point < place(slot));
        let next = (0..size).map(|slot| next(slot) % ring.len()).collect();
        Ring { points: ring.into_iter().map(|(_, backend)| backend).collect(), next }
    }
}

impl Method for Ring {
    const NAME: &str = "ring";
    const MOVES_NEEDLESSLY: bool = false;

    fn table(&self, present: &[bool; BACKENDS]) -> Vec<u16> {
        let backend = |&first: &usize| {
            let around = self.points[first..].iter().chain(&self.points[..first]);
            *around.into_iter().find(|&&backend| present[usize::from(backend)]).expect("a backend")
        };
        self.next.iter().map(backend).collect()
    }
}

/// Thaler and Ravishankar, 1998: a slot's backend is the one whose hash with the slot is the highest.
pub(crate) struct Rendezvous {
    /// Each slot's best backends, best first.
    best: Vec<[u16; Rendezvous::BEST]>,
}

impl Rendezvous {
    /// More than are removed, so that one of them stays.
    const BEST: usize = 8;

    pub(crate) fn new(size: u32) -> Rendezvous {
        Rendezvous { best: (0..size).map(Rendezvous::best).collect() }
    }

    fn hash(slot: u32, backend: u16) -> u64 {
        mix(mix(!u64::from(slot)) ^ mix(u64::from(backend) + 1))
    }

    fn best(slot: u32) -> [u16; Rendezvous::BEST] {
        let mut best = [(0, 0); Rendezvous::BEST];
        for backend in (0..BACKENDS).map(number) {
            let mut rank = (Rendezvous::hash(slot, backend), backend);
            if rank > best[Rendezvous::BEST - 1] {
                for place in &mut best {
                    if rank > *place {
                        std::mem::swap(&mut rank, place);
                    }
                }
            }
        }
        best.map(|(_, backend)| backend)
    }
}

impl Method for Rendezvous {
    const NAME: &str = "rendezvous";
    const MOVES_NEEDLESSLY: bool = false;

    fn table(&self, present: &[bool; BACKENDS]) -> Vec<u16> {
        let is_present = |backend: &&u16| present[usize::from(**backend)];
        let backend = |(slot, best): (u32, &[u16; Rendezvous::BEST])| {
            best.iter().find(is_present).copied().unwrap_or_else(|| {
                let all = (0..BACKENDS).map(number).filter(|backend| is_present(&backend));
                all.max_by_key(|&backend| (Rendezvous::hash(slot, backend), backend))
                    .expect("a backend")
            })
        };
        (0u32..).zip(&self.best).map(backend).collect()
    }
}
