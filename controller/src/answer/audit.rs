//! The audit trail: each request that changes something ends in one event, also if nothing was changed. Of refused ones
//! a limited number is recorded, and the next event says how many were not.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use guideway_api::{ChangeOutcome, Error, ErrorKind, Request, Response};
use guideway_chassis::event::Attempted;
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
        let (name, reason) = (request.name(), request.reason().map(str::to_owned));
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
        let attempted = Attempted { request: name, reason, before, after, outcome, error };
        self.events.record_change(peer, attempted);
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
