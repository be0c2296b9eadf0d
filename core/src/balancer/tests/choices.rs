//! The choices of a backend: their shares, that flows stay where they are, and on what forwarders agree.

use super::super::choice::Choice;
use super::*;
use crate::stats::channel;

/// Tables with a pool of backends of these weights.
fn tables(choice: Choice, weights: &[u32]) -> Tables {
    let before = Config::all(weights.len()).tables();
    let candidates: Vec<_> = (0u32..)
        .zip(weights)
        .map(|(n, &weight)| maglev::Candidate { weight, ..candidate(n) })
        .collect();
    let table = match choice {
        Choice::RoundRobin => maglev::Table::turns(65_537, &candidates),
        _ => maglev::Table::build(&FLEET, 65_537, &candidates),
    };
    let backends = (0..).zip(weights).map(|(n, &weight)| {
        let id = BackendId::new(n);
        (id, Backend { weight, ..before.backend(id).clone() })
    });
    before.changed(TableChange {
        generation: 1,
        backends: backends.collect(),
        pools: vec![(PoolIndex(0), Pool { maglev: Arc::new(table), choice, resets: false })],
        members: Vec::new(),
        pins: None,
    })
}

fn choices() -> impl Iterator<Item = Choice> {
    Choice::NAMES.iter().map(|&(_, choice)| choice)
}

/// A rig whose flows are counted.
fn counted(flow_entries: usize, seed: u64) -> Rig {
    let mut balancer = Balancer::new(flow_entries, LocalSeed::new(seed));
    balancer.count_by(channel(4, 16).0.flow_writer());
    Rig { balancer, now: 5 }
}

fn from(n: u32, port: u16, flags: u8) -> Sample {
    let [_, a, b, c] = n.to_be_bytes();
    Sample::tcp(&format!("10.{a}.{b}.{c}:{port}"), "203.0.113.10:80", flags)
}

#[test]
#[cfg_attr(miri, ignore = "a million flows: hours under Miri")]
fn every_choice_gives_each_backend_the_share_of_its_weight() {
    const FLOWS: u32 = 100_000;
    for choice in choices() {
        for weights in [&[1, 1, 1, 1][..], &[10, 20, 30, 40]] {
            let tables = tables(choice, weights);
            let mut rig = counted(1 << 18, 7);
            let mut chosen = vec![0; weights.len()];
            for n in 0..FLOWS {
                chosen[rig.send(&tables, &from(n, 1024, SYN)).unwrap().0.index()] += 1;
            }
            let sum: u32 = weights.iter().sum();
            for (&had, &weight) in chosen.iter().zip(weights) {
                let ideal = f64::from(FLOWS) * f64::from(weight) / f64::from(sum);
                let off = (f64::from(had) / ideal - 1.0).abs();
                assert!(off < 0.02, "{choice:?} {weights:?}: {chosen:?}");
            }
        }
    }
}

/// Turns and loads are exact: no backend is more than a flow or a few away from its share.
#[test]
#[cfg_attr(miri, ignore = "thousands of flows: minutes under Miri")]
fn turns_and_loads_leave_little_to_chance() {
    for (choice, slack) in [(Choice::RoundRobin, 1), (Choice::LeastFlows, 12)] {
        let tables = tables(choice, &[1, 2, 3]);
        let mut rig = counted(1 << 14, 7);
        let mut chosen = [0i64; 3];
        for n in 0..6000 {
            chosen[rig.send(&tables, &from(n, 1024, SYN)).unwrap().0.index()] += 1;
        }
        for (had, ideal) in chosen.into_iter().zip([1000, 2000, 3000]) {
            assert!((had - ideal).abs() <= slack, "{choice:?}: {chosen:?}");
        }
    }
}

/// A backend whose flows end gets more of the new ones.
#[test]
#[cfg_attr(miri, ignore = "thousands of flows: minutes under Miri")]
fn the_least_loaded_backend_catches_up() {
    let (both, first) = (tables(Choice::LeastFlows, &[1, 1]), tables(Choice::Maglev, &[1, 0]));
    let mut rig = counted(1 << 14, 7);
    for n in 0..1000 {
        assert_eq!(rig.send(&first, &from(n, 1024, SYN)).unwrap().0, BackendId::new(0));
    }
    let mut chosen = [0; 2];
    for n in 1000..2000 {
        chosen[rig.send(&both, &from(n, 1024, SYN)).unwrap().0.index()] += 1;
    }
    // Of two random backends, both are the loaded one in a quarter of the cases.
    assert!((200..300).contains(&chosen[0]), "{chosen:?}");
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn a_flow_stays_with_the_backend_of_any_choice() {
    for choice in choices() {
        let tables = tables(choice, &[1, 2, 3, 4, 5]);
        let mut rig = counted(1 << 12, 7);
        let backends: Vec<_> =
            (0..300).map(|n| rig.send(&tables, &from(n, 1024, SYN)).unwrap().0).collect();
        for flags in [SYN, ACK, tcp::PSH | ACK, FIN, ACK] {
            for (n, &backend) in (0..).zip(&backends) {
                let sent = rig.send(&tables, &from(n, 1024, flags));
                assert_eq!(sent, Ok((backend, FlowEvent::Hit)), "{choice:?}");
            }
        }
    }
}

/// A flow that finds no slot has no entry. Its packets go to one backend all the same, also once there is room.
#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn a_flow_without_a_slot_stays_with_its_backend() {
    for choice in choices() {
        let tables = tables(choice, &[1, 2, 3, 4, 5]);
        let mut rig = counted(4, 7);
        for n in 0..4 {
            rig.connect(&tables, &from(n, 1024, ACK));
        }
        for n in 100..200 {
            let mut backends = Vec::new();
            for flags in [SYN, SYN, ACK, tcp::PSH | ACK, FIN] {
                let (backend, event) = rig.send(&tables, &from(n, 1024, flags)).unwrap();
                assert_eq!(event, FlowEvent::Unrecorded);
                backends.push(backend);
            }
            let mut later = counted(4, 7);
            backends.push(later.send(&tables, &from(n, 1024, ACK)).unwrap().0);
            assert!(backends.iter().all(|&backend| backend == backends[0]), "{choice:?}");
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn forwarders_agree_as_their_choice_says() {
    for choice in choices() {
        let tables = tables(choice, &[1, 2, 3, 4, 5]);
        let (mut one, mut other) = (counted(1 << 12, 1), counted(1 << 12, 2));
        let mut backends = |flags| {
            let both = (0..300).map(|n| {
                let sample = from(n, 1024 + u16::from(flags), flags);
                let ours = one.send(&tables, &sample).unwrap().0;
                (ours, other.send(&tables, &sample).unwrap().0)
            });
            both.filter(|(ours, theirs)| ours == theirs).count()
        };
        // All agree on connections that they have not seen begin.
        assert_eq!(backends(ACK), 300, "{choice:?}");
        assert_eq!(backends(SYN) == 300, choice.agrees(), "{choice:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of flows: minutes under Miri")]
fn a_client_has_one_backend_by_its_address() {
    let tables = tables(Choice::SourceHash, &[1, 2, 3, 4, 5]);
    let mut rig = counted(1 << 12, 7);
    let mut used = [0; 5];
    for n in 0..50 {
        let (backend, _) = rig.send(&tables, &from(n, 1, SYN)).unwrap();
        used[backend.index()] += 1;
        for port in [2, 3, 40_000] {
            for flags in [SYN, ACK] {
                assert_eq!(rig.send(&tables, &from(n, port, flags)).unwrap().0, backend);
            }
        }
    }
    assert!(used.iter().all(|&clients| clients > 0), "{used:?}");
}

/// The example of docs/fleet.md, which another implementation computed: SipHash-1-3 in Python.
#[test]
#[cfg_attr(miri, ignore = "a table of 65,537 slots: minutes under Miri")]
fn the_documented_hash_of_a_source() {
    let key = FleetKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let candidate = |last: u8| maglev::Candidate {
        identity: maglev::identity([192, 0, 2, last].into()),
        weight: 1,
        value: last.into(),
    };
    let table = maglev::Table::build(&key, 65_537, &[candidate(11), candidate(12)]);
    for (source, destination, hash, slot) in [
        ("198.51.100.1:40000", "203.0.113.10:80", 0x7c6a_3003_c580_8d83, 31_850),
        ("198.51.100.1:5", "203.0.113.11:81", 0x7c6a_3003_c580_8d83, 31_850),
        ("[2001:db8:c::2]:5", "[2001:db8::10]:80", 0x70c1_6d9e_3291_046e, 28_865),
    ] {
        let flow = FlowKey::new(source.parse().unwrap(), destination.parse().unwrap(), 6).unwrap();
        assert_eq!(key.hash_source(&flow), hash);
        assert_eq!(table.choose(hash), Some(table.slots()[slot]));
    }
    assert_eq!([31_850, 28_865].map(|slot: usize| table.slots()[slot]), [11, 12]);
}

/// An ICMP error about a flow of which this forwarder has no entry can be forwarded only if all agree on the backend.
#[test]
fn an_unknown_flow_has_a_backend_only_if_forwarders_agree() {
    let sample = from(1, 1024, ACK);
    let frame = sample.frame();
    for choice in choices() {
        let tables = tables(choice, &[1, 2, 3, 4, 5]);
        let rig = counted(64, 7);
        let classified = rig.balancer.classify(&tables, PORT, &frame).unwrap();
        let flow = FlowKey::of(&classified.packet, &frame).unwrap();
        let found = rig.balancer.maglev_backend(&tables, classified.service, &flow);
        match choice.agrees() {
            true => assert_eq!(found, Ok(super::choice(&tables, &sample))),
            false => assert_eq!(found, Err(DropReason::IcmpUnknownFlow)),
        }
    }
}

#[test]
fn no_choice_enters_an_empty_pool_or_a_backend_without_new_flows() {
    for choice in choices() {
        let none = tables(choice, &[0, 0]);
        let draining = {
            let before = tables(choice, &[1]);
            let backend = before.backend(BackendId::new(0)).clone();
            let backend = Backend { serving: Serving::Existing, ..backend };
            before.changed(TableChange {
                generation: 1,
                backends: vec![(BackendId::new(0), backend)],
                pools: Vec::new(),
                members: Vec::new(),
                pins: None,
            })
        };
        for tables in [none, draining] {
            for flags in [SYN, ACK] {
                let sent = counted(64, 7).send(&tables, &client(1, flags));
                assert_eq!(sent, Err(DropReason::NoBackend.into()), "{choice:?}");
            }
        }
    }
}
