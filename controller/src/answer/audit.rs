//! The audit trail: each request that changes something ends in one event, also if nothing was changed. Of refused ones
//! a limited number is recorded, and the next event says how many were not.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use guideway_api::{ChangeOutcome, Error, ErrorKind, Happening, Request, Response, VipState};
use guideway_chassis::event::Attempt;
use guideway_chassis::peer::{Access, Peer};

use super::Answers;
use crate::manager::View;

/// Addresses that an event names. Of more it has the numbers.
const NAMED: usize = 5;

/// An answer to a request that changes something.
pub(super) struct Answered {
    response: Response,
    outcome: ChangeOutcome,
    /// What was, and what is, in words.
    words: Option<(String, String)>,
}

impl Answered {
    /// Nothing was changed.
    pub(super) fn refused(response: Response) -> Answered {
        Answered { response, outcome: ChangeOutcome::Refused, words: None }
    }

    /// The change is in force, or will be.
    pub(super) fn applied(
        response: Response,
        outcome: ChangeOutcome,
        words: (String, String),
    ) -> Answered {
        Answered { response, outcome, words: Some(words) }
    }
}

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

/// These addresses, in a few words.
pub(super) fn describe(view: &View, addresses: &[IpAddr]) -> String {
    if addresses.len() <= NAMED {
        let state = |address: &IpAddr| match view.vip(*address) {
            None => format!("{address} not listed"),
            Some(vip) => {
                let of = |peer: &guideway_api::VipPeer| {
                    let next_hop = peer.next_hop.map(|it| format!(" via {it}")).unwrap_or_default();
                    format!("{} {}{next_hop}", peer.peer, peer.state.name())
                };
                let peers: Vec<String> = vip.peers.iter().map(of).collect();
                let but = if peers.is_empty() { "" } else { ", but " };
                format!("{address} {}{but}{}", vip.state.name(), peers.join(", "))
            }
        };
        return addresses.iter().map(state).collect::<Vec<_>>().join("; ");
    }
    let listed = || addresses.iter().filter_map(|&address| view.vip(address));
    let count = |state: VipState| listed().filter(|vip| vip.state == state).count();
    format!(
        "{} addresses: {} announced, {} draining, {} withdrawn",
        addresses.len(),
        count(VipState::Announced),
        count(VipState::Draining),
        addresses.len() - count(VipState::Announced) - count(VipState::Draining)
    )
}

/// The node, in a few words.
pub(super) fn describe_node(view: &View) -> String {
    let peers: Vec<&str> =
        view.drains.iter().map(|drain| drain.peer.as_deref().unwrap_or("all peers")).collect();
    let drains = match peers.is_empty() {
        true => "no drain".to_owned(),
        false => format!("drained for {}", peers.join(", ")),
    };
    let count = |state| view.count(state);
    format!(
        "{drains}; {} announced, {} draining, {} withdrawn",
        count(VipState::Announced),
        count(VipState::Draining),
        count(VipState::Withdrawn)
    )
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
