//! What the states take in, and what they give back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_api::{CheckCode, CheckResult, CheckState, MAX_REASON, SetState};
use guideway_chassis::wall::Wall;

use crate::check::Member;

/// How a probe ended. The states keep the last of them for each target, in little memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeResult {
    /// In one word.
    pub code: CheckCode,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// The step that failed and why, in words; empty after a success.
    pub detail: Box<str>,
    /// The time from the probe's begin to its end.
    pub latency: Duration,
}

impl ProbeResult {
    /// What the result says of the backend; none if it says nothing, since the fault is the node's own.
    pub(super) fn says(&self) -> Option<CheckState> {
        match self.code {
            CheckCode::SockErr => None,
            CheckCode::L7OkC => Some(CheckState::Draining),
            code if code.is_success() => Some(CheckState::Up),
            _ => Some(CheckState::Down),
        }
    }

    /// The result as requests and events give it.
    pub(in crate::check) fn listed(&self, time: Wall) -> CheckResult {
        CheckResult {
            code: self.code,
            status: self.status,
            detail: self.detail.to_string(),
            latency_us: self.latency_us(),
            time: time.rfc3339(),
        }
    }

    fn latency_us(&self) -> u64 {
        u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX)
    }

    /// Why a backend is set to a state, such as `check web: L7STS 503 in 12 ms: the status is not expected`.
    pub(super) fn reason(&self, check: &str) -> Arc<str> {
        let detail = match (self.code, &*self.detail) {
            (CheckCode::L7OkC, "") => "the server asks to be drained",
            (_, detail) => detail,
        };
        reason(check, &self.code.in_words(self.status, self.latency_us(), detail))
    }
}

/// The begin of the reasons that the controller's checks give for what they set.
const OWN: &str = "check ";

/// A reason that the forwarder accepts: without control characters, and not too long.
pub(super) fn reason(check: &str, what: &str) -> Arc<str> {
    let mut text = format!("{OWN}{check}: {what}").replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(MAX_REASON));
    text.into()
}

/// What a backend is to be set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Down or draining.
    pub state: SetState,
    /// Why, in words that the forwarder accepts.
    pub reason: Arc<str>,
}

impl Wanted {
    /// Whether the controller's checks have made a setting of source controller, by its reason.
    pub fn is_own(reason: &str) -> bool {
        reason.starts_with(OWN)
    }
}

/// Why states do not follow the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FreezeCause {
    /// The checks themselves run late, so that a timeout may be the node's own.
    Late,
    /// The forwarder is gone or silent.
    Forwarder,
    /// The interface for probes through tunnels is missing. The other checks go on.
    Interface,
}

impl FreezeCause {
    /// Whether it freezes only checks through tunnels.
    pub(super) fn is_of_tunnels(self) -> bool {
        self == FreezeCause::Interface
    }

    /// The cause in words.
    pub fn words(self) -> &'static str {
        match self {
            FreezeCause::Late => "the checks run late",
            FreezeCause::Forwarder => "the forwarder is gone or silent",
            FreezeCause::Interface => {
                "the interface for probes through tunnels is missing; direct checks go on"
            }
        }
    }
}

/// What happened, for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A check makes something else of a backend.
    State {
        /// The check.
        check: Arc<str>,
        /// The backend. Each that shares the target has a change of its own.
        member: Member,
        /// The backend's address.
        address: IpAddr,
        /// What it made of it before.
        from: CheckState,
        /// What it makes of it now.
        to: CheckState,
        /// The result that has decided.
        result: CheckResult,
    },
    /// A pool keeps its failing backends, because too many fail at once.
    Panic {
        /// The pool.
        pool: Arc<str>,
        /// How many it keeps although they fail.
        failing: usize,
        /// Of how many checked backends.
        backends: usize,
    },
    /// A pool keeps failing backends no longer. Those that still fail are down.
    Calm {
        /// The pool.
        pool: Arc<str>,
    },
    /// States do not follow the results any more.
    Frozen(FreezeCause),
    /// States follow the results again: the last cause is over.
    Resumed,
    /// Each target has had its first result that says something.
    FirstOver,
}

/// What interval the next probe of a target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// `check.interval`
    Normal,
    /// `check.fast_interval`: the last results speak against the state.
    Fast,
    /// `check.down_interval`
    Down,
}
