//! Floods: whatever comes, flows under way stay, and new ones come in again.

use super::*;

const ENTRIES: usize = 1 << 10;

/// A table with as many flows under way as are wanted, of all kinds, and their tags.
fn under_way(percent: usize) -> (Table, Vec<u64>) {
    let mut table = Table::new(ENTRIES);
    let kinds = [State::Established, State::Udp, State::HalfClosed, State::Closing, State::Reset];
    let mut present = Vec::new();
    for n in 0..ENTRIES * percent / 100 {
        let (tag, state) = (tag(n as u64), kinds[n % kinds.len()]);
        if insert(&mut table, tag, backend(1), state, 0) == Insertion::Stored {
            present.push(tag);
        }
    }
    (table, present)
}

/// Sends 32 unknown flows for each entry within 4 seconds, so that connections that ended still linger.
fn flood(table: &mut Table, states: &[State], from: u64) {
    for n in 0..32 * ENTRIES as u64 {
        let state = states[usize::try_from(n).unwrap() % states.len()];
        insert(table, tag(from + n), backend(2), state, n / 8);
    }
}

#[test]
#[cfg_attr(miri, ignore = "millions of flows: hours under Miri")]
fn no_flood_displaces_flows_under_way() {
    let floods: [&[State]; 3] =
        [&[State::Syn], &[State::Unconfirmed], &[State::Syn, State::Unconfirmed]];
    for percent in [25, 50, 75, 90, 95, 99, 100] {
        for states in floods {
            let (mut table, present) = under_way(percent);
            flood(&mut table, states, 1 << 32);
            let now = at(32 * ENTRIES as u64 / 8);
            for &tag in &present {
                let (_, entry) = table.get(tag, now, &TIMEOUTS).unwrap();
                assert_eq!(entry.backend(), backend(1), "{percent} %, {states:?}");
            }
        }
    }
}

/// A flood that fills the table does not fill it beyond the part up to which room is made, except where slots are free
/// anyway: searches for room stop there.
#[test]
#[cfg_attr(miri, ignore = "a million flows: hours under Miri")]
fn a_flood_soon_meets_a_table_that_is_not_searched() {
    for states in [&[State::Syn][..], &[State::Syn, State::Unconfirmed]] {
        let (mut table, _) = under_way(60);
        flood(&mut table, states, 1 << 32);
        assert!(!table.is_worth_a_search(), "{} of {ENTRIES}", table.len());
    }
}

/// When the flood's flows have expired, others find room again.
#[test]
#[cfg_attr(miri, ignore = "a million flows: hours under Miri")]
fn a_table_recovers_from_a_flood() {
    let (mut table, present) = under_way(80);
    flood(&mut table, &[State::Syn, State::Unconfirmed], 1 << 32);
    let later = 32 * ENTRIES as u64 / 8 + 60_001;
    let refused = (0..ENTRIES as u64 / 10).filter(|n| {
        let tag = tag(n + (1 << 40));
        insert(&mut table, tag, backend(3), State::Established, later) == Insertion::Full
    });
    assert_eq!(refused.count(), 0);
    // Connections that had ended may have been displaced.
    let kept = present.iter().filter(|&&tag| table.get(tag, at(later), &TIMEOUTS).is_some());
    assert!(kept.count() >= present.len() * 3 / 5);
}
