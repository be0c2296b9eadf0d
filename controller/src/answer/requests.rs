//! The requests, and their answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_api::{
    BgpMode, BgpPeer, ChangeOutcome, Error, ErrorKind, Node, Request, Response, Vip, VipCause,
    VipState,
};
use guideway_chassis::event::{Level, Recorder};

use super::{notes, words};
use crate::check::Which;
use crate::manager::{self, Order, Ordered, View};

/// How long an answer waits for the kernel's routes.
const ROUTES_TIME: Duration = Duration::from_secs(2);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// Answers requests. Any thread may call it.
pub struct Answers {
    manager: Arc<manager::Handle>,
    pub(super) events: Recorder,
    level: Level,
}

impl Answers {
    /// Answers from what this manager decides. Records changes by `events`, and sets the `level` of the log.
    pub fn new(manager: Arc<manager::Handle>, events: Recorder, level: Level) -> Answers {
        Answers { manager, events, level }
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.manager.view().load_full()
    }

    /// Answers a request that changes nothing.
    pub(super) fn read(&self, request: Request) -> Response {
        let answer = match request {
            Request::VipList {} => Ok(Response::Vips(self.view().vips.clone())),
            Request::NodeShow {} => Ok(Response::Node(self.node(&self.view()))),
            Request::BgpList {} => self.peers().map(Response::BgpPeers),
            Request::BgpShow { peer } => self.peer(&peer),
            Request::LogLevel { .. } => Ok(Response::LogLevel { level: self.level.now() }),
            Request::CheckList {} => {
                let listed = self.manager.checks().list();
                listed.map(|snapshot| Response::Checks(snapshot.checks))
            }
            Request::CheckShow { check, backend, pool } => {
                let which = Which { check, backend, pool };
                self.manager.checks().show(which).map(Response::Check)
            }
            // The server keeps requests of the other daemon and those about the connection.
            _ => Err(Error::new(ErrorKind::Failed, "this daemon does not carry it out")),
        };
        answer.unwrap_or_else(Response::Error)
    }

    /// Carries out a request that changes something.
    pub(super) fn change(&self, request: Request) -> Answered {
        match request {
            Request::VipSet { addresses, order, peers, next_hops, reason } => {
                let order =
                    Order::Vips { addresses: addresses.clone(), order, peers, next_hops, reason };
                self.order(&addresses, order)
            }
            Request::NodeSet { order, peers, reason } => {
                let addresses: Vec<_> = self.view().vips.iter().map(|vip| vip.address).collect();
                self.order(&addresses, Order::Node { order, peers, reason })
            }
            Request::LogLevel { level: Some(level), .. } => {
                let before = format!("level {}", self.level.now().name());
                let level = self.level.set(level);
                let words = (before, format!("level {}", level.name()));
                Answered::applied(Response::LogLevel { level }, ChangeOutcome::Applied, words)
            }
            Request::CheckRun { check, backend, pool } => {
                self.probe(Which { check, backend, pool })
            }
            request => Answered::refused(self.read(request)),
        }
    }

    /// The node, with its checks as far as they answer.
    fn node(&self, view: &View) -> Node {
        let checks = self.manager.checks().list().ok().and_then(|snapshot| snapshot.totals());
        Node { checks, ..view.to_node() }
    }

    /// Has a backend probed once. No state follows, but a server is sent something.
    fn probe(&self, which: Which) -> Answered {
        match self.manager.checks().run(which) {
            Ok(ran) => {
                let probed = format!("check {} of {}/{}", ran.check, ran.pool, ran.backend);
                let words = (probed, ran.result.to_string());
                Answered::applied(Response::CheckRan(ran), ChangeOutcome::Applied, words)
            }
            Err(error) => Answered::refused(Response::Error(error)),
        }
    }

    /// Has an order carried out that concerns these addresses.
    fn order(&self, addresses: &[IpAddr], order: Order) -> Answered {
        let is_node = matches!(order, Order::Node { .. });
        let describe = |view: &View| match is_node {
            true => words::describe_node(view),
            false => words::describe(view, addresses),
        };
        let before = describe(&self.view());
        let Ordered { changed, version, view } = match self.manager.order(order) {
            Ok(ordered) => ordered,
            Err(error) => return Answered::refused(Response::Error(error)),
        };
        let after = describe(&view);
        let stored = self.manager.wait_until_stored(version);
        let (view, is_installed) = self.wait_until_installed(addresses);
        let response = match is_node {
            true => Response::NodeSet { node: self.node(&view), changed: changed > 0, stored },
            false => {
                let vips = addresses.iter().map(|&address| listed(&view, address)).collect();
                Response::VipsSet { vips, changed, stored }
            }
        };
        let outcome = match is_installed {
            true => ChangeOutcome::Applied,
            false => ChangeOutcome::Late,
        };
        Answered::applied(response, outcome, (before, after))
    }

    /// Waits until the kernel has the routes of these addresses as they are wanted, but not for long. Returns what was
    /// seen last, and whether it has.
    fn wait_until_installed(&self, addresses: &[IpAddr]) -> (Arc<View>, bool) {
        let end = Instant::now() + ROUTES_TIME;
        let mut looked: Option<Arc<View>> = None;
        loop {
            let view = self.view();
            // A view that was looked at already says nothing new.
            if looked.as_ref().is_none_or(|looked| !Arc::ptr_eq(looked, &view)) {
                if addresses.iter().all(|&address| view.is_installed(address)) {
                    return (view, true);
                }
                looked = Some(Arc::clone(&view));
            }
            if Instant::now() >= end {
                return (view, false);
            }
            thread::sleep(LOOK);
        }
    }

    /// The sessions of the managed BIRD.
    fn peers(&self) -> Result<Vec<BgpPeer>, Error> {
        let view = self.view();
        check_managed(&view)?;
        Ok(notes::annotated(&view))
    }

    /// A session, and what BIRD sends in it.
    fn peer(&self, name: &str) -> Result<Response, Error> {
        let view = self.view();
        check_managed(&view)?;
        let peers = view.configuration.iter().flat_map(|it| &it.bgp.peers);
        let names: Vec<&str> = peers.map(|peer| peer.name.as_str()).collect();
        if !names.contains(&name) {
            let message = format!("there is no peer {name:?}; the peers are {}", names.join(", "));
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let shown = self.manager.bird().show(name);
        let mut details = shown.map_err(|error| Error::new(ErrorKind::Failed, error))?;
        details.peer.notes = notes::of(&view, name);
        Ok(Response::BgpPeer(details))
    }
}

/// An answer to a request that changes something.
pub(super) struct Answered {
    pub(super) response: Response,
    pub(super) outcome: ChangeOutcome,
    /// What was, and what is, in words.
    pub(super) words: Option<(String, String)>,
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

/// An address as it is listed; one that is nobody's is withdrawn.
fn listed(view: &View, address: IpAddr) -> Vip {
    let nobodys = || Vip {
        address,
        services: Vec::new(),
        registered: false,
        state: VipState::Withdrawn,
        since: view.now(),
        cause: VipCause::Ordered,
        reason: None,
        installed: view.is_installed(address),
        metric: None,
        peers: Vec::new(),
    };
    view.vip(address).cloned().unwrap_or_else(nobodys)
}

/// Refuses what only a BIRD can answer that the controller configures.
fn check_managed(view: &View) -> Result<(), Error> {
    let message = match view.bgp {
        Some(BgpMode::Managed) => return Ok(()),
        Some(BgpMode::External) => {
            "announce.bgp is \"external\": ask BIRD or FRR (birdc show protocols, vtysh -c 'show bgp summary')"
        }
        Some(BgpMode::None) => "announce.bgp is \"none\": the controller has no BGP sessions",
        None if view.generation == 0 => {
            "the controller does not know the forwarder's configuration yet; is the forwarder running?"
        }
        None => "the configuration has no section [announce]: nothing is announced",
    };
    Err(Error::new(ErrorKind::Rejected, message))
}
