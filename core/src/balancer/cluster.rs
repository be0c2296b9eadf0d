//! The owner of a datagram's fragments: which forwarder of the cluster and which of its workers handles them all
//! (Maglev paper, section 4.3).
//!
//! The owner follows from what all fragments have in common: source and destination, and over IPv4 the protocol.
//! Over IPv6 only the first fragment's next header counts; those of the others may differ (RFC 8200 section 4.5).
//! SipHash-1-3 of these bytes under the fleet's key chooses a slot in a Maglev table of the members.
//!
//! All nodes share this definition, as they share that of the backends' tables: the hashed bytes ([`ThreeTuple`]),
//! the table's size ([`SLOTS`]), equal weights, and a member's identity ([`maglev::identity`]). A member that is
//! down leaves the table, and little else in it changes.

use std::net::IpAddr;

use super::hash::{FleetKey, LocalSeed};
use super::maglev;
use crate::wire::fragment::FragmentFields;
use crate::wire::{Family, Packet};

/// Slots of the members' table: a prime, and so many that the shares of 40 nodes differ by a percent at most.
pub const SLOTS: u32 = 4099;

/// What all fragments of a datagram have in common, as it is hashed: source, destination and, over IPv4, protocol,
/// in this order. The families differ in length and cannot be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreeTuple {
    /// IPv4: 4 + 4 + 1 bytes.
    V4([u8; 9]),
    /// IPv6: 16 + 16 bytes.
    V6([u8; 32]),
}

impl ThreeTuple {
    /// The three-tuple of a fragment that was parsed from this same frame; `None` if this is another frame.
    pub fn of(packet: &Packet, fields: &FragmentFields, frame: &[u8]) -> Option<ThreeTuple> {
        let l3 = usize::from(packet.l3);
        match packet.family {
            Family::V4 => {
                let mut bytes = [fields.protocol; 9];
                bytes[..8].copy_from_slice(frame.get(l3 + 12..l3 + 20)?);
                Some(ThreeTuple::V4(bytes))
            }
            Family::V6 => {
                let bytes = frame.get(l3 + 8..l3 + 40)?;
                Some(ThreeTuple::V6(bytes.try_into().ok()?))
            }
        }
    }

    /// The bytes that are hashed.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ThreeTuple::V4(bytes) => bytes,
            ThreeTuple::V6(bytes) => bytes,
        }
    }

    /// The hash of the three-tuple in this process.
    pub fn hash(&self, seed: &LocalSeed) -> u64 {
        seed.hash_bytes(self.as_bytes())
    }

    /// Which of this node's workers owns the datagram's fragments.
    #[expect(clippy::cast_possible_truncation, reason = "the product is below the workers' number")]
    pub fn worker(&self, seed: &LocalSeed, workers: usize) -> usize {
        ((u128::from(self.hash(seed)) * workers as u128) >> 64) as usize
    }
}

/// A forwarder of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its tunnel address.
    pub address: IpAddr,
    /// Whether it is this node.
    pub is_own: bool,
    /// Whether it is down and must own no fragments.
    pub is_down: bool,
}

/// The forwarder that owns a datagram's fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This node.
    Own,
    /// The member of this index, in the order of [`Cluster::new`].
    Member(usize),
}

/// The forwarders that share the virtual addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// The key and the table, whose values are indices of members; `None` if this node owns everything.
    table: Option<(FleetKey, maglev::Table)>,
    own: Box<[bool]>,
}

impl Cluster {
    /// A cluster of members with distinct addresses, in any order. If no member is up, this node owns all fragments.
    pub fn new(key: &FleetKey, members: &[Member]) -> Cluster {
        let up = (0u32..).zip(members).filter(|(_, member)| !member.is_down);
        let up: Vec<maglev::Candidate> = up
            .map(|(value, member)| maglev::Candidate {
                identity: maglev::identity(member.address),
                weight: 1,
                value,
            })
            .collect();
        Cluster {
            table: Some((*key, maglev::Table::build(key, SLOTS, &up))),
            own: members.iter().map(|member| member.is_own).collect(),
        }
    }

    /// The owner of the fragments of a three-tuple.
    pub fn owner(&self, tuple: &ThreeTuple) -> Owner {
        let Some((key, table)) = &self.table else { return Owner::Own };
        match table.choose(key.hash_bytes(tuple.as_bytes())) {
            Some(index) if !self.own[index as usize] => Owner::Member(index as usize),
            _ => Owner::Own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FleetKey = FleetKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    fn member(last: u8) -> Member {
        Member { address: [192, 0, 2, last].into(), is_own: false, is_down: false }
    }

    fn tuples() -> impl Iterator<Item = ThreeTuple> {
        (0u32..5000).map(|i| {
            let [.., a, b] = i.to_be_bytes();
            ThreeTuple::V4([198, 51, a, b, 203, 0, 113, 10, 17])
        })
    }

    fn addresses(members: &[Member]) -> Vec<Option<IpAddr>> {
        let cluster = Cluster::new(&KEY, members);
        let owner = |tuple| match cluster.owner(&tuple) {
            Owner::Own => None,
            Owner::Member(index) => Some(members[index].address),
        };
        tuples().map(owner).collect()
    }

    /// Known owners, which the model of the replay tests confirms. If they change, the protocol between nodes changes.
    #[test]
    fn the_fleet_shares_these_owners() {
        let cluster = Cluster::new(&KEY, &[member(1), member(2), member(3)]);
        let owners: Vec<Owner> = tuples().take(12).map(|tuple| cluster.owner(&tuple)).collect();
        assert_eq!(owners, [0, 2, 2, 0, 1, 2, 0, 2, 2, 2, 1, 2].map(Owner::Member));
    }

    #[test]
    #[cfg_attr(miri, ignore = "thousands of hashes: slow under Miri")]
    fn without_members_this_node_owns_all() {
        for cluster in [
            Cluster::default(),
            Cluster::new(&KEY, &[]),
            Cluster::new(&KEY, &[Member { is_down: true, ..member(2) }]),
        ] {
            assert!(tuples().all(|tuple| cluster.owner(&tuple) == Owner::Own));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a table of 4099 slots and thousands of hashes: minutes under Miri")]
    fn nodes_agree_whatever_the_order() {
        let own = |last| Member { is_own: true, ..member(last) };
        let seen = addresses(&[member(1), member(2), member(3)]);
        let by_1 = addresses(&[member(3), member(2), own(1)]);
        let by_2 = addresses(&[own(2), member(3), member(1)]);
        for ((seen, by_1), by_2) in seen.into_iter().zip(by_1).zip(by_2) {
            let known = |own, by: Option<IpAddr>| by.or(Some(member(own).address));
            assert_eq!((seen, seen), (known(1, by_1), known(2, by_2)));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a table of 4099 slots and thousands of hashes: minutes under Miri")]
    fn a_member_that_is_down_takes_little_with_it() {
        let all: Vec<Member> = (1..=5).map(member).collect();
        let before = addresses(&all);
        let mut without = all.clone();
        without[2].is_down = true;
        let after = addresses(&without);
        let gone = Some(all[2].address);
        assert!(after.iter().all(|&owner| owner != gone));
        let others = before.iter().zip(&after).filter(|&(b, a)| *b != gone && b != a).count();
        assert!(others < 5000 / 50, "{others} of 5000 moved without need");
        assert_eq!(addresses(&all), before, "and back");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a table of 4099 slots and thousands of hashes: minutes under Miri")]
    fn shares_are_equal() {
        let owners = addresses(&[member(1), member(2), member(3), member(4)]);
        for last in 1..=4 {
            let share = owners.iter().filter(|&&o| o == Some(member(last).address)).count();
            assert!((1100..1400).contains(&share), "{share} of 5000");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "statistics over thousands of hashes: slow under Miri")]
    fn workers_share_and_one_has_all() {
        let seed = LocalSeed::new(3);
        let mut shares = [0; 3];
        for tuple in tuples() {
            assert_eq!(tuple.worker(&seed, 1), 0);
            shares[tuple.worker(&seed, 3)] += 1;
        }
        assert!(shares.iter().all(|share| (1500..1850).contains(share)), "{shares:?}");
    }

    #[test]
    fn the_bytes_are_source_destination_protocol() {
        let frame = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0\
            \x45\0\0\x1c\x12\x34\x00\x01\x40\x11\x02\x5d\xc6\x33\x64\x01\xcb\0\x71\x0aeight...";
        let packet = Packet::parse(frame).unwrap();
        let fields = FragmentFields::of(&packet, frame).unwrap();
        let tuple = ThreeTuple::of(&packet, &fields, frame).unwrap();
        assert_eq!(tuple.as_bytes(), b"\xc6\x33\x64\x01\xcb\0\x71\x0a\x11");
    }

    #[test]
    fn over_ipv6_the_next_header_does_not_count() {
        let frame = |next| {
            let link = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x86\xdd\x60\0\0\0\0\x10\x2c\x40";
            let fragment = [next, 0, 0, 9, 0, 0, 0, 7];
            [&link[..], &[0xfd; 16], &[0xfc; 16], &fragment, b"eight..."].concat()
        };
        for next in [17, 58, 59] {
            let frame = frame(next);
            let packet = Packet::parse(&frame).unwrap();
            let fields = FragmentFields::of(&packet, &frame).unwrap();
            let tuple = ThreeTuple::of(&packet, &fields, &frame).unwrap();
            assert_eq!(tuple.as_bytes(), [[0xfd; 16], [0xfc; 16]].concat());
        }
    }
}
