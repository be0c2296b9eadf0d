//! Neighbours that the kernel keeps resolved for us.
//!
//! The kernel sees none of the traffic to a next hop, so it would let the entry grow old. An entry that is *managed* it
//! probes by itself, and one that is *externally learnt* does not count against the size of its tables. Kernels before
//! 5.16 refuse managed entries: there an entry is asked for every second, which makes the kernel probe.
//!
//! An entry vanishes when its device loses its carrier, or when somebody flushes it. Then it is entered again at once.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::mirror::Mirror;
use super::view::NeighborState;
use crate::routing::Link;
use guideway_netlink::{Error, Refused, Requests, family};

/// A neighbour in use.
pub(super) type Key = (Link, IpAddr);

/// The most entries in one go, so that others have their turn.
const TOGETHER: usize = 4096;
/// How soon an entry is tried again that the kernel refused. The time doubles with each refusal.
const RETRY: Duration = Duration::from_millis(100);
/// The longest time between two tries.
const RETRY_AT_MOST: Duration = Duration::from_secs(10);
/// How often the kernel is asked for an entry that it does not manage.
const PROBE: Duration = Duration::from_secs(1);

/// The entries of neighbours in use.
#[derive(Debug, Default)]
pub(super) struct Managed {
    /// Whether the kernel is not asked to manage any.
    probes: bool,
    entries: FxHashMap<Key, State>,
    /// Entries that must be removed from the kernel.
    unwanted: Vec<Key>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// It will be entered then, after so many refusals.
    Due { at: Instant, refusals: u32 },
    /// The kernel manages it.
    Entered,
    /// An administrator entered it for good: it is left alone.
    Left,
    /// The kernel does not manage it, and is asked for it again then.
    Probed { at: Instant },
}

/// What became of some entries.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many the kernel refused.
    pub(super) refusals: u64,
    /// Why it refused the last of them.
    pub(super) last: Option<String>,
}

impl Managed {
    /// With `probes`, as if the kernel refused managed entries.
    pub(super) fn new(probes: bool) -> Managed {
        Managed { probes, ..Managed::default() }
    }

    /// Sets which neighbours are in use.
    pub(super) fn want(&mut self, wanted: &FxHashSet<Key>, now: Instant) {
        let unwanted = &mut self.unwanted;
        self.entries.retain(|key, state| {
            let is_wanted = wanted.contains(key);
            if !is_wanted && matches!(state, State::Entered | State::Probed { .. }) {
                unwanted.push(*key);
            }
            is_wanted
        });
        self.unwanted.retain(|key| !wanted.contains(key));
        for key in wanted {
            self.entries.entry(*key).or_insert(State::Due { at: now, refusals: 0 });
        }
    }

    /// Enters a neighbour again, if it is in use: its entry is gone, or no longer managed.
    pub(super) fn renew(&mut self, key: Key, now: Instant) {
        if let Some(state @ (State::Entered | State::Left)) = self.entries.get_mut(&key) {
            *state = State::Due { at: now, refusals: 0 };
        }
    }

    /// Enters all neighbours on a device's link again: its carrier is back.
    pub(super) fn renew_all(&mut self, link: Link, now: Instant) {
        for ((of, _), state) in &mut self.entries {
            if *of == link {
                *state = State::Due { at: now, refusals: 0 };
            }
        }
    }

    /// When something is to be done.
    pub(super) fn next(&self) -> Option<Instant> {
        let entries = self.entries.values().filter_map(|state| match state {
            State::Due { at, .. } | State::Probed { at } => Some(*at),
            State::Entered | State::Left => None,
        });
        let next = entries.min();
        if self.unwanted.is_empty() { next } else { Some(Instant::now()) }
    }

    /// Enters what is due and removes what is unwanted.
    pub(super) fn work(
        &mut self,
        requests: &mut Requests,
        mirror: &Mirror,
        now: Instant,
    ) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        self.remove(requests, mirror)?;
        let is_due = |state: &State| match state {
            State::Due { at, .. } | State::Probed { at } => *at <= now,
            State::Entered | State::Left => false,
        };
        let due = self.entries.iter().filter(|(_, state)| is_due(state)).map(|(key, _)| *key);
        let due: Vec<Key> = due.take(TOGETHER).collect();
        let (mut keys, mut messages) =
            (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
        for key in due {
            let state = self.entries.get_mut(&key);
            let (Some(index), Some(state)) = (mirror.index_of(key.0), state) else {
                // Without a device there is nothing to enter. Its return makes it due.
                self.entries.insert(key, State::Due { at: now + RETRY_AT_MOST, refusals: 0 });
                continue;
            };
            let known = mirror.known(key.0, key.1).map(|known| known.entry.state);
            if matches!(known, Some(NeighborState::Permanent | NeighborState::NoArp)) {
                *state = State::Left;
                continue;
            }
            if self.probes {
                *state = State::Probed { at: now };
            }
            let is_managed = !matches!(state, State::Probed { .. });
            messages.push(RouteNetlinkMessage::NewNeighbour(message(index, key.1, is_managed)));
            keys.push(key);
        }
        let answers = requests.change_all(messages, NLM_F_CREATE | NLM_F_REPLACE)?;
        for (key, answer) in keys.into_iter().zip(answers) {
            self.settle(key, answer, now, &mut outcome);
        }
        Ok(outcome)
    }

    /// Takes the kernel's answer to an entry.
    fn settle(
        &mut self,
        key: Key,
        answer: Result<(), Refused>,
        now: Instant,
        outcome: &mut Outcome,
    ) {
        let Some(state) = self.entries.get_mut(&key) else { return };
        *state = match (answer, *state) {
            (Ok(()), State::Probed { .. }) => State::Probed { at: now + PROBE },
            (Ok(()), _) => State::Entered,
            (Err(refused), State::Due { refusals: 0, .. }) if is_not_understood(refused.errno) => {
                // An older kernel: ask at once without the flag that it does not know.
                State::Probed { at: now }
            }
            (Err(refused), before) => {
                outcome.refusals += 1;
                outcome.last = Some(format!("neighbor {}: {refused}", key.1));
                let refusals =
                    if let State::Due { refusals, .. } = before { refusals + 1 } else { 1 };
                let pause = RETRY.saturating_mul(1 << refusals.min(10)).min(RETRY_AT_MOST);
                State::Due { at: now + pause, refusals }
            }
        };
    }

    /// Removes entries that are no longer wanted. Whether the kernel still had them does not matter.
    fn remove(&mut self, requests: &mut Requests, mirror: &Mirror) -> Result<(), Error> {
        let count = self.unwanted.len().saturating_sub(TOGETHER);
        let messages = self.unwanted.drain(count..).filter_map(|(link, address)| {
            let index = mirror.index_of(link)?;
            let mut message = NeighbourMessage::default();
            message.header.family = family(address);
            message.header.ifindex = index;
            message.attributes.push(NeighbourAttribute::Destination(address.into()));
            Some(RouteNetlinkMessage::DelNeighbour(message))
        });
        requests.change_all(messages.collect(), 0)?;
        Ok(())
    }

    /// Removes everything, at the end.
    pub(super) fn clear(&mut self, requests: &mut Requests, mirror: &Mirror) -> Result<(), Error> {
        self.want(&FxHashSet::default(), Instant::now());
        while !self.unwanted.is_empty() {
            self.remove(requests, mirror)?;
        }
        Ok(())
    }
}

/// Whether a kernel refuses with this what it does not know: `EINVAL` or `EOPNOTSUPP`.
fn is_not_understood(errno: i32) -> bool {
    [22, 95].contains(&errno)
}

/// The entry of a neighbour.
fn message(index: u32, address: IpAddr, is_managed: bool) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    if is_managed {
        message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    } else {
        message.header.flags |= NeighbourFlags::Use;
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        (Link::of_port(0), [192, 0, 2, n].into())
    }

    #[test]
    fn what_is_wanted_is_due_and_what_was_entered_is_removed() {
        let (mut managed, now) = (Managed::default(), Instant::now());
        managed.want(&[key(1), key(2)].into_iter().collect(), now);
        assert_eq!(managed.next(), Some(now));
        managed.entries.insert(key(1), State::Entered);
        managed.entries.insert(key(2), State::Entered);
        assert_eq!(managed.next(), None);
        managed.renew(key(1), now);
        managed.renew(key(9), now);
        assert_eq!(managed.next(), Some(now));
        managed.want(&[key(3)].into_iter().collect(), now);
        assert_eq!(managed.unwanted, [key(2)], "the other one is not entered yet");
        managed.want(&[key(2)].into_iter().collect(), now);
        assert!(managed.unwanted.is_empty());
    }

    #[test]
    fn an_older_kernel_is_asked_every_second_and_a_full_table_less_and_less_often() {
        let (mut managed, now) = (Managed::default(), Instant::now());
        managed.want(&[key(1)].into_iter().collect(), now);
        let mut outcome = Outcome::default();
        let refused = |errno| Err(Refused { errno, words: None });
        managed.settle(key(1), refused(22), now, &mut outcome);
        assert_eq!(
            (managed.next(), outcome.refusals),
            (Some(now), 0),
            "it is tried in the other way"
        );
        managed.settle(key(1), Ok(()), now, &mut outcome);
        assert_eq!(managed.next(), Some(now + PROBE));
        // ENOBUFS: the table is full.
        let mut pauses = Vec::new();
        for _ in 0..10 {
            managed.settle(key(1), refused(105), now, &mut outcome);
            pauses.push(managed.next().unwrap() - now);
        }
        assert!(pauses.is_sorted() && pauses[0] == 2 * RETRY && pauses[9] == RETRY_AT_MOST);
        assert_eq!(outcome.refusals, 10);
        assert!(
            outcome
                .last
                .as_ref()
                .unwrap()
                .starts_with("neighbor 192.0.2.1: No buffer space available")
        );
        managed.settle(key(1), Ok(()), now, &mut outcome);
        assert_eq!(managed.next(), None);
    }

    #[test]
    fn a_carrier_renews_what_is_on_its_link() {
        let (mut managed, now) = (Managed::default(), Instant::now());
        let tagged = (Link { port: 0, vlan: Some(7) }, IpAddr::from([192, 0, 2, 1]));
        for key in [key(1), tagged] {
            managed.entries.insert(key, State::Entered);
        }
        managed.renew_all(tagged.0, now);
        assert!(matches!(managed.entries[&key(1)], State::Entered));
        assert!(matches!(managed.entries[&tagged], State::Due { .. }));
    }
}
