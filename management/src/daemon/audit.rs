//! The audit trail: each request that changes something ends in one event, also if nothing was changed. Of refused ones
//! a limited number is recorded, and the next event says how many were not.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use guideway_api as api;
use guideway_api::{ChangeOutcome, ErrorKind, Request, Response};

use super::differences::differences;
use super::{Answered, Daemon};
use crate::manager::{Published, Replaced};
use guideway_chassis::event::Attempted;
use guideway_chassis::peer::{Access, Peer};

impl Daemon {
    /// Carries out a request of `peer`, if it may, and records the change or the attempt.
    pub fn serve(&self, peer: &Peer, request: Request) -> Response {
        let Peer { uid, pid, process, .. } = peer;
        tracing::debug!(uid, pid, process, "request {}", request.name());
        // Pins come by thousands at each start of the controller, and an operator sets none.
        let is_pins = matches!(request, Request::PinSet { .. }) && peer.access == Access::Full;
        if !request.is_change() || is_pins {
            return self.handle(request);
        }
        let (name, reason) = (request.name(), request.reason().map(str::to_owned));
        let summary = |daemon: &Daemon| match name {
            "log_level" => format!("level {}", daemon.level.now().name()),
            _ => describe(&daemon.overview.published.load()),
        };
        let before = summary(self);
        let answered = match peer.access {
            Access::Full => catch_unwind(AssertUnwindSafe(|| self.change(request))),
            Access::Read => Ok(Answered::refused(forbidden(name))),
        };
        let (response, outcome, replaced, words) = match answered {
            Ok(Answered { response, outcome, replaced, words }) => {
                (Ok(response), outcome, replaced, words)
            }
            Err(panic) => (Err(panic), ChangeOutcome::Refused, None, None),
        };
        // Others may have changed something meanwhile.
        let (before, after) = match (words, replaced) {
            (Some(words), _) => words,
            (None, Some(Replaced { before, after })) => (
                describe(&before),
                match differences(&before.configuration, &after.configuration) {
                    text if text.is_empty() => describe(&after),
                    text => format!("{} ({text})", describe(&after)),
                },
            ),
            _ if outcome == ChangeOutcome::Refused => (before.clone(), before),
            _ => (before, summary(self)),
        };
        let error = match &response {
            Ok(Response::Error(error)) => Some(error.message.clone()),
            Ok(_) => None,
            Err(_) => Some("the daemon failed on this request".to_owned()),
        };
        let attempted = Attempted { request: name, reason, before, after, outcome, error };
        self.events.record_change(peer, attempted);
        response.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Carries out a request, and says what became of the change.
    fn change(&self, request: Request) -> Answered {
        match request {
            Request::ConfigApply { text, .. } => self.apply_text(text),
            Request::ConfigReload { .. } => self.apply_file(),
            Request::BackendSet { changes, source, reason, for_seconds } => {
                self.set_backends(&changes, source, reason, for_seconds)
            }
            request => match self.handle(request) {
                error @ Response::Error(_) => Answered::refused(error),
                response => {
                    let outcome = ChangeOutcome::Applied;
                    Answered { response, outcome, replaced: None, words: None }
                }
            },
        }
    }
}

/// What is published, in a few words.
fn describe(published: &Published) -> String {
    let configuration = &published.configuration;
    let count = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let backends = configuration.pools.iter().map(|pool| pool.backends.len()).sum();
    let services = count(configuration.services.len(), "service");
    format!("generation {}, {services}, {}", published.generation, count(backends, "backend"))
}

fn forbidden(name: &str) -> Response {
    let message = format!(
        "{name} changes something, and at this socket clients may only read; control.socket of the \
         configuration is the path of the socket at which they may"
    );
    Response::Error(api::Error::new(ErrorKind::Forbidden, message))
}
