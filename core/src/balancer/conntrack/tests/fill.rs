//! How full the table gets, whatever the flows, the worker and the sweep; and that moves lose nothing.

use super::*;

const ENTRIES: usize = 1 << 16;

/// Flows of the entries, in percent, and the greatest part of them that may have no entry.
const TARGETS: [(u64, f64); 4] = [(50, 0.0), (75, 0.000_01), (90, 0.000_1), (95, 0.005)];

/// Inserts established flows up to a part of the entries. Returns how many got none.
fn fill(
    table: &mut Table,
    flows: &mut impl Iterator<Item = (u64, ServiceId)>,
    count: u64,
) -> usize {
    let mut refused = 0;
    for (tag, service) in flows.take(usize::try_from(count).unwrap()) {
        let entry = Entry::new(backend(service.0 + 7), State::Established, at(0));
        match table.insert(tag, service, entry, at(0), &TIMEOUTS, |_, _| true) {
            Insertion::Stored => {}
            Insertion::Full => refused += 1,
            Insertion::Displaced => panic!("an established flow was displaced"),
        }
    }
    refused
}

/// Fills a table to each target in turn. Returns the parts without an entry.
fn parts(table: &mut Table, mut flows: impl Iterator<Item = (u64, ServiceId)>) -> Vec<f64> {
    let (mut offered, mut refused) = (0, 0);
    let mut part = |&(percent, _): &(u64, f64)| {
        let wanted = ENTRIES as u64 * percent / 100;
        refused += fill(table, &mut flows, wanted - offered);
        offered = wanted;
        assert_eq!(table.len() + refused, usize::try_from(offered).unwrap());
        refused as f64 / offered as f64
    };
    TARGETS.iter().map(&mut part).collect()
}

fn assert_met(parts: &[f64], what: &str) {
    for (part, (percent, limit)) in parts.iter().zip(TARGETS) {
        assert!(*part <= limit, "{what}, {percent} %: {part}");
    }
}

fn flows(from: u64) -> impl Iterator<Item = (u64, ServiceId)> {
    (from..).map(|n| (tag(n), SERVICE))
}

#[test]
#[cfg_attr(miri, ignore = "65,536 flows: minutes under Miri")]
fn nearly_every_flow_has_an_entry_until_the_table_is_nearly_full() {
    for seed in 0..4 {
        assert_met(&parts(&mut Table::new(ENTRIES), flows(seed << 32)), "any flows");
    }
}

/// The bits that chose the worker are the same in all its flows.
#[test]
#[cfg_attr(miri, ignore = "65,536 flows: minutes under Miri")]
fn a_worker_of_many_fills_its_table_as_well() {
    for worker in [0, 0x5a, 0xff] {
        let flows = flows(0).map(|(tag, service)| (tag & u64::MAX >> 8 | worker << 56, service));
        assert_met(&parts(&mut Table::new(ENTRIES), flows), "one worker of 256");
    }
}

/// Some flows move to where the sweep has been.
#[test]
#[cfg_attr(miri, ignore = "65,536 flows: minutes under Miri")]
fn a_sweep_under_way_leaves_room_enough() {
    for eighth in 1..8 {
        let mut table = Table::new(ENTRIES);
        for _ in 0..table.buckets.len() / 8 * eighth {
            table.sweep(at(0), &TIMEOUTS, |_, _| true);
        }
        assert_met(&parts(&mut table, flows(0)), &format!("{eighth} eighths swept"));
    }
}

/// Old flows leave and new ones come, so that the table is as full as before but has no more empty buckets.
#[test]
#[cfg_attr(miri, ignore = "a million flows: hours under Miri")]
fn a_table_that_has_been_full_for_long_has_room_as_well() {
    let mut table = Table::new(ENTRIES);
    // The service says which flows leave next.
    let mut flows = (0..).map(|n| (tag(n), ServiceId(u32::try_from(n % 16).unwrap())));
    let wanted = ENTRIES as u64 * 9 / 10;
    let mut offered = wanted;
    let mut refused = fill(&mut table, &mut flows, wanted);
    for round in 0..64 {
        while !table.sweep(at(0), &TIMEOUTS, |service, _| service.0 != round % 16) {}
        let missing = wanted - table.len() as u64;
        refused += fill(&mut table, &mut flows, missing);
        offered += missing;
    }
    assert!(offered > 4 * wanted, "most flows have gone");
    assert!(refused as f64 <= 0.000_1 * offered as f64, "{refused} of {offered}");
}

/// Every flow is there once, with all that it had, and is listed and swept once.
#[test]
#[cfg_attr(miri, ignore = "65,536 flows: minutes under Miri")]
fn flows_that_move_keep_everything() {
    let mut table = Table::new(ENTRIES);
    let of = |n: u64| {
        let n = u32::try_from(n).unwrap();
        let state = [State::Established, State::Udp, State::HalfClosed][n as usize % 3];
        (tag(u64::from(n)), ServiceId(n % 1009), backend(n), state, u64::from(n / 2))
    };
    let mut present = Vec::new();
    for n in 0..ENTRIES as u64 * 95 / 100 {
        let (tag, service, backend, state, ms) = of(n);
        let entry = Entry::new(backend, state, at(ms));
        let insertion = table.insert(tag, service, entry, at(ms), &TIMEOUTS, |_, _| true);
        if insertion == Insertion::Stored {
            present.push(n);
        }
    }
    let now = at(50_000);
    let moved = present.iter().filter(|&&n| {
        let (tag, service, backend, state, ms) = of(n);
        let (slot, entry) = table.get(tag, now, &TIMEOUTS).unwrap();
        assert_eq!((entry.backend(), entry.state()), (backend, state));
        assert_eq!(u64::from(entry.idle_ms(now)), 50_000 - ms);
        assert_eq!(table.services[slot.index][slot.way], service);
        slot.index != table.index(tag)
    });
    // Not all are where a lookup searches first.
    assert!((ENTRIES / 5..ENTRIES / 2).contains(&moved.count()));
    let mut expected: Vec<u64> = present.iter().map(|&n| of(n).0).collect();
    expected.sort_unstable();
    assert_eq!(tags(&table), expected);
    let entries = table.entries(0..usize::MAX, now, &TIMEOUTS);
    let mut listed: Vec<u64> = entries.map(|(tag, _)| tag).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(table.len(), expected.len());
    while !table.sweep(now, &TIMEOUTS, |_, _| false) {}
    assert!(table.is_empty() && tags(&table).is_empty());
}

/// What is removed when a pass begins is gone when it ends, wherever flows move meanwhile.
#[test]
#[cfg_attr(miri, ignore = "a million flows: hours under Miri")]
fn no_flow_escapes_the_sweep() {
    const ENTRIES: usize = 4096;
    const FULL: usize = ENTRIES * 95 / 100;
    let (gone, stays) = (ServiceId(1), ServiceId(2));
    let keep = |service: ServiceId, _| service != gone;
    let insert = |table: &mut Table, tag, service: ServiceId| {
        let entry = Entry::new(backend(service.0), State::Established, at(0));
        table.insert(tag, service, entry, at(0), &TIMEOUTS, keep)
    };
    for seed in 0..20u64 {
        let mut table = Table::new(ENTRIES);
        let mut flows = (seed << 32..).map(tag);
        while table.len() < FULL {
            insert(&mut table, flows.next().unwrap(), gone);
        }
        // As many come as go, so that the table stays full.
        while !table.sweep(at(0), &TIMEOUTS, keep) {
            while table.len() < FULL {
                insert(&mut table, flows.next().unwrap(), stays);
            }
        }
        assert!(table.owners().all(|owner| owner == (stays, backend(2))), "{seed}");
    }
}
