//! Events: what happened, as the daemon records it, in the response to [`Request::Monitor`].
//!
//! The daemon keeps the last [`KEPT_EVENTS`] events in memory and numbers them from 1 on; a restart
//! begins anew, which [`Events::instance`] shows. A client that reads too slowly loses the oldest
//! and is told how many. The names of events and of their fields are stable: see
//! [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).

#[macro_use]
mod declare;
mod kinds;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::request::Request;

pub use declare::Severity;
pub use kinds::{ChangeOutcome, Happening};

/// Events that the daemon keeps.
pub const KEPT_EVENTS: usize = 10_000;

/// The response to [`Request::Monitor`]: some events, oldest first. A request that follows the
/// events gets any number of these responses; another gets one or several, and `more` says whether
/// another comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The daemon's start, in milliseconds from 1970 on: the instance that numbered these events. 0
    /// of a daemon that does not say it.
    #[serde(default)]
    pub instance: u64,
    /// Events before these that the daemon no longer has.
    pub lost: u64,
    /// The events.
    pub events: Vec<Event>,
    /// Another response follows.
    pub more: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number. The first event after a start has 1, and each later one is the next.
    pub sequence: u64,
    /// When it was recorded: RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub happening: Happening,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object() {
        let happening = Happening::LinkDown { port: "edge0".into() };
        assert_eq!((happening.name(), happening.severity()), ("link_down", Severity::Warning));
        let time = "2026-01-02T03:04:05.678Z".into();
        let event = Event { sequence: 7, time, happening };
        let line = serde_json::to_string(&event).expect("JSON");
        assert_eq!(
            line,
            r#"{"sequence":7,"time":"2026-01-02T03:04:05.678Z","event":"link_down","port":"edge0"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).ok(), Some(event));
    }
}
