//! Answers to requests at the control socket, and the audit trail of those that change something.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_api::{
    BgpPeer, ChangeOutcome, Error, ErrorKind, Happening, Request, Response, Vip, VipState,
};
use guideway_chassis::event::{Attempt, Level, Recorder};
use guideway_chassis::peer::{Access, Peer};

use crate::manager::{Handle, Order, Ordered, View};

/// How long an order may take to reach the kernel until the answer says that it has not.
const KERNEL_TIME: Duration = Duration::from_secs(2);

/// Addresses that a note names.
const NAMED: usize = 3;

/// Answers requests. Several threads ask at once.
pub struct Answers {
    manager: Arc<Handle>,
    events: Recorder,
    level: Level,
}

impl Answers {
    /// Answers from what this manager decides; sets the `level` of the log.
    pub fn new(manager: Arc<Handle>, events: Recorder, level: Level) -> Answers {
        Answers { manager, events, level }
    }

    /// Carries out a request of `peer`, if it may, and records a change or the attempt.
    pub fn serve(&self, peer: &Peer, request: Request) -> Response {
        if !request.is_change() {
            return self.read(request);
        }
        let (name, reason) = (request.name(), reason(&request));
        let before = self.describe(&request);
        let response = match peer.access {
            Access::Full => self.change(request.clone()),
            Access::Read => forbidden(name),
        };
        let (outcome, error) = match &response {
            Response::Error(error) => (ChangeOutcome::Refused, Some(error.message.clone())),
            _ => (ChangeOutcome::Applied, None),
        };
        let after = self.describe(&request);
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
        response
    }

    fn read(&self, request: Request) -> Response {
        let view = self.manager.view().load_full();
        match request {
            Request::VipList {} => Response::Vips(view.vips.clone()),
            Request::NodeShow {} => Response::Node(view.to_node()),
            Request::BgpList {} => {
                let noted = |peer: &BgpPeer| BgpPeer { notes: notes(&view, peer), ..peer.clone() };
                Response::BgpPeers(view.sessions.iter().map(noted).collect())
            }
            Request::BgpShow { peer } => self.session(&view, &peer),
            Request::LogLevel { level: None, .. } => Response::LogLevel { level: self.level.now() },
            _ => unknown(),
        }
    }

    fn change(&self, request: Request) -> Response {
        match request {
            Request::VipSet { addresses, order, peers, next_hops, reason } => {
                let asked = addresses.clone();
                let order = Order::Vips { addresses, order, peers, next_hops, reason };
                let (ordered, view, stored) = match self.order(order, &asked) {
                    Ok(done) => done,
                    Err(error) => return Response::Error(error),
                };
                let vips = asked.iter().map(|address| listed(&view, *address)).collect();
                Response::VipsSet { vips, changed: ordered.changed, stored }
            }
            Request::NodeSet { order, peers, reason } => {
                match self.order(Order::Node { order, peers, reason }, &[]) {
                    Ok((ordered, view, stored)) => Response::NodeSet {
                        node: view.to_node(),
                        changed: ordered.changed > 0,
                        stored,
                    },
                    Err(error) => Response::Error(error),
                }
            }
            Request::LogLevel { level: Some(level), .. } => {
                Response::LogLevel { level: self.level.set(level) }
            }
            _ => unknown(),
        }
    }

    /// Has an order carried out, and waits for the disk and the kernel, each for a while.
    fn order(
        &self,
        order: Order,
        addresses: &[IpAddr],
    ) -> Result<(Ordered, Arc<View>, bool), Error> {
        let ordered = self.manager.order(order)?;
        let stored = self.manager.wait_until_stored(ordered.version);
        let end = Instant::now() + KERNEL_TIME;
        let all: Vec<IpAddr> = ordered.view.vips.iter().map(|vip| vip.address).collect();
        let concerned = if addresses.is_empty() { &all } else { addresses };
        loop {
            let view = self.manager.view().load_full();
            if view.is_installed(concerned) || Instant::now() >= end {
                return Ok((ordered, view, stored));
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn session(&self, view: &View, name: &str) -> Response {
        let Some(peer) = view.sessions.iter().find(|peer| peer.name == name) else {
            let names: Vec<&str> = view.sessions.iter().map(|peer| &*peer.name).collect();
            let known = match names.as_slice() {
                [] => "the controller manages no session".to_owned(),
                names => format!("the peers are {}", names.join(", ")),
            };
            let message = format!("there is no peer {name:?}; {known}");
            return Response::Error(Error::new(ErrorKind::NotFound, message));
        };
        match self.manager.bird().show(name) {
            Ok(mut details) => {
                details.peer.notes = notes(view, peer);
                Response::BgpPeer(details)
            }
            Err(message) => Response::Error(Error::new(ErrorKind::Failed, message)),
        }
    }

    /// What is in force of what a request changes, in a few words.
    fn describe(&self, request: &Request) -> String {
        let view = self.manager.view().load();
        match request {
            Request::LogLevel { .. } => format!("level {}", self.level.now().name()),
            Request::VipSet { addresses, .. } if addresses.len() == 1 => {
                let vip = listed(&view, addresses[0]);
                format!("{} {} ({})", vip.address, vip.state.name(), vip.cause.name())
            }
            _ => {
                let count = |state| view.count(state);
                format!(
                    "{} announced, {} draining, {} withdrawn",
                    count(VipState::Announced),
                    count(VipState::Draining),
                    count(VipState::Withdrawn)
                )
            }
        }
    }
}

/// An address as it is listed; one that is nobody's is withdrawn.
fn listed(view: &View, address: IpAddr) -> Vip {
    let found = view.vips.binary_search_by_key(&address, |vip| vip.address);
    found.map_or_else(
        |_| Vip {
            address,
            services: Vec::new(),
            registered: false,
            state: VipState::Withdrawn,
            since: view.now(),
            cause: guideway_api::VipCause::Ordered,
            reason: None,
            installed: true,
            metric: None,
            peers: Vec::new(),
        },
        |index| view.vips[index].clone(),
    )
}

/// What keeps addresses from a peer.
fn notes(view: &View, peer: &BgpPeer) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |addresses: Vec<IpAddr>, why: &str| {
        let named: Vec<String> = addresses.iter().take(NAMED).map(IpAddr::to_string).collect();
        let more = match addresses.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        if !named.is_empty() {
            notes.push(format!("not sent: {}{more}, {why}", named.join(", ")));
        }
    };
    let of = |is_so: &dyn Fn(&Vip) -> bool| -> Vec<IpAddr> {
        view.vips.iter().filter(|vip| is_so(vip)).map(|vip| vip.address).collect()
    };
    note(
        of(&|vip| vip.cause == guideway_api::VipCause::NotAllowed),
        "which bgp.allowed does not have",
    );
    let is_withheld = |vip: &Vip| {
        vip.state != VipState::Withdrawn
            && vip.peers.iter().any(|it| it.peer == peer.name && it.state == VipState::Withdrawn)
    };
    note(of(&is_withheld), "withdrawn from this peer by order");
    let settings = view.configuration.as_ref().map(|configuration| &configuration.bgp.peers);
    let families = settings.into_iter().flatten().find(|found| found.name == peer.name);
    let is_foreign = |vip: &Vip| {
        let family = guideway_config::Family::of(vip.address);
        vip.state != VipState::Withdrawn && families.is_some_and(|found| !found.has(family))
    };
    note(of(&is_foreign), "whose family bgp.peer.families does not have");
    notes
}

fn forbidden(name: &str) -> Response {
    let message = format!(
        "{name} changes something, and at this socket clients may only read; --socket of the controller \
         is the path of the socket at which they may"
    );
    Response::Error(Error::new(ErrorKind::Forbidden, message))
}

/// The server passes no request of another daemon.
fn unknown() -> Response {
    Response::Error(Error::new(ErrorKind::BadRequest, "the controller does not carry it out"))
}

/// Why a client asks for a change.
fn reason(request: &Request) -> Option<String> {
    match request {
        Request::VipSet { reason, .. }
        | Request::NodeSet { reason, .. }
        | Request::LogLevel { reason, .. } => reason.clone(),
        _ => None,
    }
}
