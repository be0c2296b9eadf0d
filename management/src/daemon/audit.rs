//! The audit trail: each request that changes something ends in one event, also if nothing was changed. Of refused ones
//! a limited number is recorded, and the next event says how many were not.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use guideway_api as api;
use guideway_api::{ChangeOutcome, ErrorKind, Happening, Request, Response};

use super::Daemon;
use crate::event::Attempt;
use crate::peer::{Access, Peer};

impl Daemon {
    /// Carries out a request of `peer`, if it may, and records the change or the attempt.
    pub fn serve(&self, peer: &Peer, request: Request) -> Response {
        let Peer { uid, pid, process, .. } = peer;
        tracing::debug!(uid, pid, process, "request {}", request.name());
        if !request.is_change() {
            return self.handle(request);
        }
        let (name, reason) = (request.name(), reason(&request).map(str::to_owned));
        let summary = |daemon: &Daemon| match name {
            "log_level" => format!("level {}", daemon.level.now().name()),
            _ => daemon.summary(),
        };
        let before = summary(self);
        let response = match peer.access {
            Access::Full => catch_unwind(AssertUnwindSafe(|| self.change(request))),
            Access::Read => Ok((forbidden(name), ChangeOutcome::Refused)),
        };
        let (response, outcome) = match response {
            Ok((response, outcome)) => (Ok(response), outcome),
            Err(panic) => (Err(panic), ChangeOutcome::Refused),
        };
        let error = match &response {
            Ok(Response::Error(error)) => Some(error.message.clone()),
            Ok(_) => None,
            Err(_) => Some("the daemon failed on this request".to_owned()),
        };
        let changed = |unrecorded| Happening::Changed {
            uid: peer.uid,
            pid: peer.pid,
            process: peer.process.clone(),
            request: name.to_owned(),
            before,
            after: summary(self),
            outcome,
            reason,
            error,
            unrecorded,
        };
        match outcome {
            ChangeOutcome::Refused => {
                self.events.record_attempt(Attempt::Change, peer.access, changed);
            }
            _ => self.events.record(changed(0)),
        }
        response.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Carries out a request, and says what became of the change.
    fn change(&self, request: Request) -> (Response, ChangeOutcome) {
        match request {
            Request::ConfigApply { text, .. } => self.apply_text(text),
            Request::ConfigReload { .. } => self.apply_file(),
            request => match self.handle(request) {
                error @ Response::Error(_) => (error, ChangeOutcome::Refused),
                response => (response, ChangeOutcome::Applied),
            },
        }
    }

    /// What is published, in a few words.
    fn summary(&self) -> String {
        let published = self.overview.published.load();
        let configuration = &published.configuration;
        let count = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        let backends = configuration.pools.iter().map(|pool| pool.backends.len()).sum();
        let services = count(configuration.services.len(), "service");
        format!("generation {}, {services}, {}", published.generation, count(backends, "backend"))
    }
}

fn forbidden(name: &str) -> Response {
    let message = format!(
        "{name} changes something, and at this socket clients may only read; control.socket of the \
         configuration is the path of the socket at which they may"
    );
    Response::Error(api::Error::new(ErrorKind::Forbidden, message))
}

/// Why a client asks for a change.
fn reason(request: &Request) -> Option<&str> {
    match request {
        Request::ConfigApply { reason, .. }
        | Request::ConfigReload { reason }
        | Request::LogLevel { reason, .. } => reason.as_deref(),
        _ => None,
    }
}
