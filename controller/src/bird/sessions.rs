//! The sessions as peers of the API: what BIRD shows, with what is remembered of before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use guideway_api::{BgpPeer, BgpState};

use super::Plan;
use super::configuration::{local_as, session};
use super::counters::Counters;
use super::status::{self, Shown};
use super::words::{Case, why};

/// How long a session may take until silence is the peer's fault.
const ANSWER: Duration = Duration::from_secs(6);

/// BIRD reckons times from their ages, so that the same time differs by some milliseconds.
const EQUAL: Duration = Duration::from_millis(1500);

/// What is remembered of a session.
#[derive(Clone, Debug)]
struct Memory {
    state: BgpState,
    /// Whether it is established, since this time.
    since: SystemTime,
    /// Since when it has not been established.
    trying: Instant,
    /// The counters when it was last established, or first seen.
    counters: Counters,
    /// Why it last was not established.
    error: Option<String>,
}

/// What is remembered of all sessions, by the peer's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    memory: BTreeMap<String, Memory>,
}

/// What of a state tells since when it is so.
fn kind(state: BgpState) -> (bool, bool) {
    (state == BgpState::Established, state == BgpState::Unknown)
}

/// What is known of BIRD.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    /// It does not answer.
    Nothing {
        /// Why.
        error: &'a str,
    },
    /// What it shows.
    Shown {
        /// The sessions, by BIRD's name.
        sessions: &'a status::Sessions,
        /// Whether BFD says that an address is alive.
        bfd: &'a status::Alive,
    },
}

impl Sessions {
    /// The peers of a plan, in its order.
    pub(super) fn peers(
        &mut self,
        plan: &Plan,
        seen: Seen<'_>,
        counters: Counters,
        now: Instant,
    ) -> Vec<BgpPeer> {
        self.memory.retain(|name, _| plan.bgp.peers.iter().any(|peer| peer.name == *name));
        let nothing = Shown::default();
        let shown = |name: &str| match seen {
            Seen::Shown { sessions, .. } => sessions.get(&session(name)),
            Seen::Nothing { .. } => None,
        };
        let state =
            |name: &str| shown(name).and_then(|shown| shown.state).unwrap_or(BgpState::Unknown);
        let is_open = |name: &str| state(name) != BgpState::Established;
        let open = plan.bgp.peers.iter().filter(|peer| is_open(&peer.name)).count();

        let mut peers = Vec::new();
        for peer in &plan.bgp.peers {
            let (name, is_known) = (&peer.name, shown(&peer.name).is_some());
            let (state, shown) = (state(name), shown(name).unwrap_or(&nothing));
            let memory = self.remember(name, state, shown.since, counters, now);
            let words = match seen {
                Seen::Nothing { error } => Some(error.to_owned()),
                Seen::Shown { .. } if !is_known => {
                    Some("BIRD does not have this session yet".to_owned())
                }
                Seen::Shown { .. } => why(&Case {
                    peer,
                    local_as: local_as(plan, peer),
                    error: shown.error.as_deref(),
                    message: shown.message.as_deref(),
                    dropped: match state {
                        BgpState::Established => Counters::default(),
                        _ => counters.since(memory.counters),
                    },
                    others: open > 1,
                    is_late: state != BgpState::Established
                        && now.saturating_duration_since(memory.trying) >= ANSWER,
                }),
            };
            // That BIRD was silent is nothing that the session has to tell later.
            if is_known && state != BgpState::Established {
                memory.error.clone_from(&words);
            }
            let error = words.or_else(|| memory.error.clone());
            let bfd_up = peer.bfd.then(|| match seen {
                Seen::Shown { bfd, .. } => bfd.get(&peer.address) == Some(&true),
                Seen::Nothing { .. } => false,
            });
            peers.push(BgpPeer {
                name: name.clone(),
                address: peer.address,
                remote_as: peer.remote_as,
                local_as: local_as(plan, peer),
                state,
                since: humantime::format_rfc3339_millis(memory.since).to_string(),
                error,
                routes: if state == BgpState::Established { shown.routes } else { 0 },
                bfd_up,
                notes: Vec::new(),
            });
        }
        peers
    }

    /// Takes note of a session's state.
    fn remember(
        &mut self,
        name: &str,
        state: BgpState,
        since: Option<SystemTime>,
        counters: Counters,
        now: Instant,
    ) -> &mut Memory {
        let time = since.unwrap_or_else(SystemTime::now);
        let fresh = Memory { state, since: time, trying: now, counters, error: None };
        let memory = self.memory.entry(name.to_owned()).or_insert(fresh);
        let apart = |one: SystemTime, two: SystemTime| {
            one.duration_since(two).or_else(|_| two.duration_since(one)).unwrap_or_default()
        };
        // Each try begins anew for BIRD. Here a session is not established since it last was.
        let has_changed = match (memory.state, state) {
            (BgpState::Established, BgpState::Established) => apart(time, memory.since) > EQUAL,
            (before, after) => kind(before) != kind(after),
        };
        if has_changed {
            memory.since = time;
            memory.trying = now;
        }
        if state == BgpState::Established {
            memory.counters = counters;
            memory.trying = now;
        }
        memory.state = state;
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bird::configuration::tests::{peer, plan};
    use guideway_config::BgpPeer as Peer;

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn shown(state: BgpState, since: u64) -> Shown {
        Shown { state: Some(state), since: at(since), routes: 4, ..Shown::default() }
    }

    /// One look at one session.
    fn look(sessions: &mut Sessions, shown: Shown, far: u64, now: Instant) -> BgpPeer {
        let all = BTreeMap::from([("to_a".to_owned(), shown)]);
        let bfd = BTreeMap::from([("192.0.2.254".parse().unwrap(), true)]);
        let seen = Seen::Shown { sessions: &all, bfd: &bfd };
        let counters = Counters { far, ..Counters::default() };
        sessions.peers(&plan(vec![peer("a")]), seen, counters, now).remove(0)
    }

    #[test]
    fn the_time_is_that_of_the_last_change() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let mut since = |state, time| look(&mut sessions, shown(state, time), 0, now).since;
        assert_eq!(since(BgpState::Active, 100), "1970-01-01T00:01:40.000Z");
        // Each try is a new beginning for BIRD.
        assert_eq!(since(BgpState::OpenSent, 110), "1970-01-01T00:01:40.000Z");
        assert_eq!(since(BgpState::Established, 120), "1970-01-01T00:02:00.000Z");
        // BIRD's arithmetic.
        assert_eq!(since(BgpState::Established, 121), "1970-01-01T00:02:00.000Z");
        // Lost and established again between two looks.
        assert_eq!(since(BgpState::Established, 130), "1970-01-01T00:02:10.000Z");
        assert_eq!(since(BgpState::Idle, 140), "1970-01-01T00:02:20.000Z");
    }

    #[test]
    fn errors_are_those_of_the_time_since_it_was_established() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        // What was counted before is somebody else's.
        assert_eq!(look(&mut sessions, shown(BgpState::Connect, 1), 7, now).error, None);
        let early = look(&mut sessions, shown(BgpState::Connect, 1), 7, later(5));
        assert_eq!(early.error, None);
        let late = look(&mut sessions, shown(BgpState::Connect, 1), 7, later(6));
        assert!(late.error.unwrap().starts_with("no answer"));
        let up = look(&mut sessions, shown(BgpState::Established, 9), 8, later(9));
        // Why it last was not.
        assert!(up.error.unwrap().starts_with("no answer"));
        assert_eq!((up.routes, up.bfd_up), (4, Some(true)));
        let down = look(&mut sessions, shown(BgpState::Active, 30), 8, later(30));
        assert_eq!((down.error, down.routes), (None, 0));
        let down = look(&mut sessions, shown(BgpState::Active, 31), 9, later(31));
        assert!(down.error.unwrap().contains("dropped 1 segment from farther"));
    }

    #[test]
    fn a_bird_that_is_not_there_says_nothing() {
        let plan = plan(vec![peer("a"), Peer { bfd: false, ..peer("b") }]);
        let mut sessions = Sessions::default();
        let seen = Seen::Nothing { error: "gone" };
        let peers = sessions.peers(&plan, seen, Counters::default(), Instant::now());
        let state = |peer: &BgpPeer| (peer.state, peer.error.clone(), peer.bfd_up);
        assert_eq!(state(&peers[0]), (BgpState::Unknown, Some("gone".to_owned()), Some(false)));
        assert_eq!(state(&peers[1]), (BgpState::Unknown, Some("gone".to_owned()), None));
        // BIRD is there, and has not read the configuration with the peers yet.
        let none = BTreeMap::new();
        let seen = Seen::Shown { sessions: &none, bfd: &BTreeMap::new() };
        let peers = sessions.peers(&plan, seen, Counters::default(), Instant::now());
        assert!(peers[0].error.as_ref().unwrap().contains("does not have this session"));
    }
}
