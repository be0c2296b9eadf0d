//! The audit trail: each request that changes something ends in one event, also if nothing was changed. Of refused ones
//! a limited number is recorded, and the next event says how many were not.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use guideway_api::{ChangeOutcome, Error, ErrorKind, Happening, Request, Response};
use guideway_chassis::event::Attempt;
use guideway_chassis::peer::{Access, Peer};

use super::requests::{Answered, Answers};
use super::words::describe_node;

impl Answers {
    /// Answers a request of `peer`, if it may, and records the change or the attempt.
    pub fn serve(&self, peer: &Peer, request: Request) -> Response {
        let Peer { uid, pid, process, .. } = peer;
        tracing::debug!(uid, pid, process, "request {}", request.name());
        if !request.is_change() {
            return self.read(request);
        }
        let (name, reason) = (request.name(), reason(&request).map(str::to_owned));
        let answered = match peer.access {
            Access::Full => catch_unwind(AssertUnwindSafe(|| self.change(request))),
            Access::Read => Ok(Answered::refused(forbidden(name))),
        };
        let (response, outcome, words) = match answered {
            Ok(Answered { response, outcome, words }) => (Ok(response), outcome, words),
            Err(panic) => (Err(panic), ChangeOutcome::Refused, None),
        };
        let error = match &response {
            Ok(Response::Error(error)) => Some(error.message.clone()),
            Ok(_) => None,
            Err(_) => Some("the daemon failed on this request".to_owned()),
        };
        let (before, after) = words.unwrap_or_else(|| {
            let now = describe_node(&self.view());
            (now.clone(), now)
        });
        let changed = |unrecorded| Happening::Changed {
            uid: peer.uid,
            pid: peer.pid,
            process: peer.process.clone(),
            request: name.to_owned(),
            before,
            after,
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
}

fn forbidden(name: &str) -> Response {
    let message = format!(
        "{name} changes something, and at this socket clients may only read; the controller's --socket is the path \
         of the socket at which they may"
    );
    Response::Error(Error::new(ErrorKind::Forbidden, message))
}

/// Why a client asks for a change.
fn reason(request: &Request) -> Option<&str> {
    match request {
        Request::VipSet { reason, .. }
        | Request::NodeSet { reason, .. }
        | Request::LogLevel { reason, .. } => reason.as_deref(),
        _ => None,
    }
}
