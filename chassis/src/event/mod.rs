//! Events: what happens is recorded, logged, and read by clients.
//!
//! A [`Recorder`] numbers what happened, keeps it in the [`Ring`] and logs it. Any thread of the daemon may record
//! and none waits: the lock is held for a few moves of memory. No worker records; workers count.
//!
//! The ring gets every event but attempts of clients beyond a limit, the log a limited number of each kind. An
//! event's line in the log is a sentence for people, with these fields for logs that have fields:
//!
//! | field | what |
//! |---|---|
//! | `event` | the kind |
//! | `sequence` | the number of the event |
//! | `fields` | a JSON object of the event's own fields; the program's log shows each by its name |
//! | `left_out` | how many lines of this kind were left out before; none if it is 0 |
//!
//! Lines of the audit trail have the target [`AUDIT`], by which the log takes them at every level. Otherwise a client
//! could lower the level first, and nothing would say so.

mod announcing;
mod checking;
mod level;
mod limit;
mod ring;
mod sentence;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use guideway_api::{ChangeOutcome, Happening, KEPT_EVENTS, Severity};
use serde_json::Value;

use crate::peer::{Access, Peer};

use limit::{Attempts, Limits};

pub use level::Level;
pub(crate) use limit::Attempt;
pub use ring::{Batch, Bell, Ring};
pub use sentence::sentence;

/// The target of the audit trail's lines.
pub const AUDIT: &str = "audit";

/// Records what happens. Clones record into the same ring.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Records>);

/// A request that has changed something, or was to.
#[derive(Debug)]
pub struct Attempted<'a> {
    /// The name of the request.
    pub request: &'a str,
    /// Why, in the client's words.
    pub reason: Option<String>,
    /// What was in force before, in a few words.
    pub before: String,
    /// What is in force after.
    pub after: String,
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Why nothing was changed, or why the change is late.
    pub error: Option<String>,
}

#[derive(Debug)]
struct Records {
    ring: Arc<Ring>,
    limits: Limits,
    attempts: Attempts,
}

impl Default for Recorder {
    fn default() -> Recorder {
        let ring = Arc::new(Ring::new(KEPT_EVENTS));
        Recorder(Arc::new(Records {
            ring,
            limits: Limits::default(),
            attempts: Attempts::default(),
        }))
    }
}

impl Recorder {
    /// Records what has happened just now, and logs it.
    pub fn record(&self, happening: Happening) {
        let words = sentence(&happening);
        self.explain(happening, &words);
    }

    /// Records an attempt of a client with this access, unless there were many just now. `happening` gets the number of
    /// those before it that were not recorded. Returns whether this one was.
    pub(crate) fn record_attempt(
        &self,
        attempt: Attempt,
        access: Access,
        happening: impl FnOnce(u64) -> Happening,
    ) -> bool {
        let taken = self.0.attempts.take(attempt, access, Instant::now());
        if let Some(unrecorded) = taken {
            self.record(happening(unrecorded));
        }
        taken.is_some()
    }

    /// Records a request of `peer` that has changed something, or was to. Of refused ones a limited number is recorded,
    /// and the next says how many were not.
    pub fn record_change(&self, peer: &Peer, attempted: Attempted<'_>) {
        let Attempted { request, reason, before, after, outcome, error } = attempted;
        let changed = |unrecorded| Happening::Changed {
            uid: peer.uid,
            pid: peer.pid,
            process: peer.process.clone(),
            request: request.to_owned(),
            before,
            after,
            outcome,
            reason,
            error,
            unrecorded,
        };
        match outcome {
            ChangeOutcome::Refused => {
                self.record_attempt(Attempt::Change, peer.access, changed);
            }
            ChangeOutcome::Applied | ChangeOutcome::Late => self.record(changed(0)),
        }
    }

    /// Records what has happened just now, and logs it in other words: those say more than the event.
    pub fn explain(&self, happening: Happening, words: &str) {
        let left_out = self.0.limits.take(&happening, Instant::now());
        let line = left_out.map(|left_out| Line::new(&happening, words, left_out));
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let sequence = self.0.ring.push(time, happening);
        if let Some(line) = line {
            line.log(sequence);
        }
    }

    /// What was recorded.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.0.ring
    }
}

/// The line of an event in the log.
struct Line {
    event: &'static str,
    severity: Severity,
    is_audit: bool,
    words: String,
    fields: String,
    left_out: Option<u64>,
}

impl Line {
    fn new(happening: &Happening, words: &str, left_out: u64) -> Line {
        let mut fields = serde_json::to_value(happening).unwrap_or_default();
        fields.as_object_mut().map(|fields| fields.remove("event"));
        let mut words = words.to_owned();
        if left_out > 0 {
            let more = if left_out == 1 { "event" } else { "events" };
            words += &format!(" ({left_out} more {more} {} not logged)", happening.name());
        }
        Line {
            event: happening.name(),
            severity: happening.severity(),
            is_audit: matches!(happening, Happening::Changed { .. }),
            words,
            fields: Value::to_string(&fields),
            left_out: (left_out > 0).then_some(left_out),
        }
    }

    fn log(self, sequence: u64) {
        let Line { event, severity, is_audit, words, fields, left_out } = self;
        match severity {
            Severity::Error => tracing::error!(event, sequence, fields, left_out, "{words}"),
            Severity::Warning => tracing::warn!(event, sequence, fields, left_out, "{words}"),
            Severity::Info if is_audit => {
                tracing::info!(target: AUDIT, event, sequence, fields, left_out, "{words}");
            }
            Severity::Info => tracing::info!(event, sequence, fields, left_out, "{words}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_fields_of_its_event_and_how_many_were_left_out() {
        let happening = Happening::LinkDown { port: "edge0".into() };
        let line = Line::new(&happening, "port edge0: link down", 0);
        assert_eq!(
            (line.event, &*line.fields, line.left_out),
            ("link_down", r#"{"port":"edge0"}"#, None)
        );
        assert_eq!(line.words, "port edge0: link down");
        let line = Line::new(&happening, "port edge0: link down", 3);
        assert_eq!(line.words, "port edge0: link down (3 more events link_down not logged)");
        assert_eq!(line.left_out, Some(3));
    }

    /// [`Line::log`] has one statement for it.
    #[test]
    fn the_audit_trail_has_one_severity() {
        let of = |kind: &str| Happening::KINDS.iter().find(|(name, ..)| *name == kind).unwrap().1;
        assert_eq!(of("changed"), Severity::Info);
    }

    #[test]
    fn the_ring_gets_what_the_log_does_not() {
        let events = Recorder::default();
        (0..500).for_each(|_| events.record(Happening::LinkDown { port: "edge0".into() }));
        assert_eq!(events.ring().next(), 501);
    }
}
