//! Decisions, rule by rule. `model.rs` holds them to a plain reading of the rules; `history.rs` has what lasts.

mod history;
mod model;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use guideway_api::{
    ErrorKind, ForwarderState, MAX_CHANGES, NodeOrder, VipCause, VipOrder, VipState,
};
use guideway_chassis::wall::Wall;
use guideway_config::{AnnounceWhen, OnQuorumLoss};

use super::*;

const HOLD: Duration = Duration::from_secs(5);
const DRAIN: Duration = Duration::from_secs(60);

/// An address with the services `one` and `two`.
const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
/// An address without services.
const BARE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));

fn site(on_loss: OnQuorumLoss) -> Site {
    let services = vec!["one".to_owned(), "two".to_owned()];
    let web = VipSite { services, when: AnnounceWhen::Any, on_loss };
    Site {
        vips: [(WEB, web)].into(),
        allowed: vec!["203.0.113.0/24".parse().unwrap()],
        peers: vec!["tor1".to_owned(), "tor2".to_owned()],
        hold: HOLD,
        drain_time: DRAIN,
    }
}

/// Everything that a decision is made of, and a kernel that does what is decided.
struct Rig {
    site: Option<Site>,
    orders: Orders,
    memory: Memory,
    forwarder: ForwarderState,
    services: BTreeMap<String, bool>,
    installed: BTreeMap<IpAddr, u32>,
    is_checked: bool,
    now: Now,
    next: Option<Instant>,
}

impl Rig {
    /// All is well.
    fn new(on_loss: OnQuorumLoss) -> Rig {
        Rig {
            site: Some(site(on_loss)),
            orders: Orders::default(),
            memory: Memory::default(),
            forwarder: ForwarderState::Well,
            services: [("one".to_owned(), true), ("two".to_owned(), false)].into(),
            installed: BTreeMap::new(),
            is_checked: true,
            now: Now { steady: Instant::now(), wall: Wall(1_700_000_000_000) },
            next: None,
        }
    }

    fn decide(&mut self) -> Vec<Decision> {
        let view = View {
            forwarder: self.forwarder,
            services: &self.services,
            installed: &self.installed,
            is_checked: self.is_checked,
        };
        let site = self.site.as_ref();
        let Decisions { decisions, next } =
            decide(site, &self.orders, &view, &mut self.memory, self.now);
        self.next = next;
        let announced = decisions.iter().filter(|it| it.state != VipState::Withdrawn);
        self.installed = announced.map(|it| (it.address, ANNOUNCED)).collect();
        decisions
    }

    /// The decision for one address.
    #[track_caller]
    fn of(&mut self, address: IpAddr) -> Decision {
        let decisions = self.decide();
        decisions.into_iter().find(|it| it.address == address).expect("a decision")
    }

    #[track_caller]
    fn assert(&mut self, state: VipState, cause: &str) {
        let decision = self.of(WEB);
        assert_eq!((decision.state, decision.cause.name()), (state, cause));
    }

    fn serve(&mut self, one: bool) {
        self.services.insert("one".to_owned(), one);
    }

    fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.wall = self.now.wall.after(time);
    }

    fn order(&mut self, address: IpAddr, order: VipOrder, peers: &[&str]) {
        let peers: Vec<String> = peers.iter().map(|&peer| peer.to_owned()).collect();
        let change = Change { order, peers: &peers, next_hops: &[], reason: Some("why") };
        self.orders.order(self.site.as_ref(), &[address], &change, self.now.wall).unwrap();
    }

    fn order_node(&mut self, order: NodeOrder, peers: &[&str]) {
        let peers: Vec<String> = peers.iter().map(|&peer| peer.to_owned()).collect();
        let site = self.site.as_ref();
        self.orders.order_node(site, order, &peers, None, self.now.wall).unwrap();
    }
}

const WITHDRAWN: VipState = VipState::Withdrawn;
const DRAINS: VipState = VipState::Draining;
const UP: VipState = VipState::Announced;

/// Everything is wrong; then one thing after the other is mended.
#[test]
fn the_first_cause_that_holds_is_given() {
    let mut rig = Rig::new(OnQuorumLoss::Withdraw);
    rig.assert(UP, "serving");
    rig.order(WEB, VipOrder::Drain, &[]);
    rig.assert(DRAINS, "drains");
    rig.order_node(NodeOrder::Drain, &[]);
    rig.assert(DRAINS, "node_drains");
    rig.pass(DRAIN);
    rig.serve(false);
    rig.order(WEB, VipOrder::Withdraw, &[]);
    let allowed = std::mem::replace(
        &mut rig.site.as_mut().unwrap().allowed,
        vec!["198.51.100.0/24".parse().unwrap()],
    );
    for (state, cause) in [
        (ForwarderState::Absent, "no_forwarder"),
        (ForwarderState::Silent, "forwarder_silent"),
        (ForwarderState::Starting, "not_in_force"),
        (ForwarderState::Down, "interface_down"),
        (ForwarderState::Well, "not_allowed"),
    ] {
        rig.forwarder = state;
        rig.assert(WITHDRAWN, cause);
    }
    rig.site.as_mut().unwrap().allowed = allowed;
    rig.assert(WITHDRAWN, "ordered");
    rig.order(WEB, VipOrder::Announce, &[]);
    rig.assert(WITHDRAWN, "drained");
    rig.order(WEB, VipOrder::Undrain, &[]);
    rig.assert(WITHDRAWN, "node_drained");
    rig.order_node(NodeOrder::Undrain, &[]);
    rig.is_checked = false;
    rig.assert(WITHDRAWN, "not_checked");
    rig.is_checked = true;
    rig.assert(WITHDRAWN, "no_quorum");
    rig.serve(true);
    rig.assert(UP, "serving");
    rig.serve(false);
    rig.assert(WITHDRAWN, "no_quorum");
    rig.serve(true);
    rig.assert(WITHDRAWN, "held");
    rig.order_node(NodeOrder::Drain, &[]);
    rig.order(WEB, VipOrder::Drain, &[]);
    rig.assert(WITHDRAWN, "held");
    rig.pass(HOLD);
    rig.assert(DRAINS, "node_drains");
    rig.order_node(NodeOrder::Undrain, &[]);
    rig.assert(DRAINS, "drains");
    rig.order(WEB, VipOrder::Undrain, &[]);
    rig.site.as_mut().unwrap().vips.get_mut(&WEB).unwrap().on_loss = OnQuorumLoss::Keep;
    rig.serve(false);
    rig.assert(UP, "kept_without_quorum");
    let services = vec!["one".to_owned(), "two".to_owned()];
    assert_eq!(rig.of(WEB).cause, VipCause::KeptWithoutQuorum { services });
}

#[test]
fn an_address_without_services_is_registered() {
    let mut rig = Rig::new(OnQuorumLoss::Keep);
    assert_eq!(rig.decide().len(), 1);
    rig.order(BARE, VipOrder::Announce, &[]);
    let bare = rig.of(BARE);
    assert_eq!((bare.state, bare.cause), (UP, VipCause::Registered));
    assert_eq!(bare.reason.as_deref(), Some("why"));
    // Without [announce] it is all that there is to say something of.
    let site = rig.site.take();
    rig.order(WEB, VipOrder::Withdraw, &[]);
    for (state, cause) in [
        (ForwarderState::Absent, "no_forwarder"),
        (ForwarderState::Silent, "forwarder_silent"),
        (ForwarderState::Starting, "not_in_force"),
        (ForwarderState::Down, "not_configured"),
        (ForwarderState::Well, "not_configured"),
    ] {
        rig.forwarder = state;
        let decisions = rig.decide();
        let found: Vec<_> = decisions.iter().map(|it| (it.address, it.cause.name())).collect();
        assert_eq!(found, [(BARE, cause)]);
    }
    rig.site = site;
    rig.order(BARE, VipOrder::Withdraw, &[]);
    assert_eq!(rig.decide().len(), 1);
}

#[test]
fn only_some_failures_are_followed_by_a_hold() {
    for (state, is_held) in [
        (ForwarderState::Absent, false),
        (ForwarderState::Starting, false),
        (ForwarderState::Silent, true),
        (ForwarderState::Down, true),
    ] {
        let mut rig = Rig::new(OnQuorumLoss::Keep);
        // Nothing is held that was not announced.
        rig.forwarder = state;
        rig.decide();
        rig.forwarder = ForwarderState::Well;
        rig.assert(UP, "serving");
        rig.forwarder = state;
        rig.decide();
        rig.pass(HOLD * 3);
        rig.decide();
        rig.forwarder = ForwarderState::Well;
        if !is_held {
            rig.assert(UP, "serving");
            continue;
        }
        rig.assert(WITHDRAWN, "held");
        assert_eq!(rig.next, Some(rig.now.steady + HOLD));
        // It fails again, and all has to be well from then on.
        rig.pass(HOLD - Duration::from_millis(1));
        rig.assert(WITHDRAWN, "held");
        rig.forwarder = state;
        rig.decide();
        assert_eq!(rig.next, None);
        rig.forwarder = ForwarderState::Well;
        rig.pass(HOLD);
        rig.assert(WITHDRAWN, "held");
        // A forwarder that starts anew waits for nothing.
        let mut anew = Rig { orders: rig.orders.clone(), memory: rig.memory.clone(), ..rig };
        anew.forwarder = ForwarderState::Absent;
        anew.decide();
        anew.forwarder = ForwarderState::Well;
        anew.assert(UP, "serving");
    }
    // An order is not held.
    let mut rig = Rig::new(OnQuorumLoss::Withdraw);
    rig.assert(UP, "serving");
    for (away, back) in
        [(VipOrder::Withdraw, VipOrder::Announce), (VipOrder::Drain, VipOrder::Undrain)]
    {
        rig.order(WEB, away, &[]);
        rig.pass(DRAIN);
        assert_eq!(rig.of(WEB).state, WITHDRAWN);
        rig.order(WEB, back, &[]);
        rig.assert(UP, "serving");
    }
}

#[test]
fn what_is_kept_was_announced_before() {
    let mut rig = Rig::new(OnQuorumLoss::Keep);
    rig.serve(false);
    rig.assert(WITHDRAWN, "no_quorum");
    rig.pass(HOLD * 100);
    rig.assert(WITHDRAWN, "no_quorum");
    rig.serve(true);
    rig.assert(UP, "serving");
    rig.serve(false);
    rig.assert(UP, "kept_without_quorum");
    // A controller that starts finds the route.
    rig.memory = Memory::default();
    rig.assert(UP, "kept_without_quorum");
    // A stall does not take it away for good, nor does a broken connection, nor an order.
    rig.forwarder = ForwarderState::Down;
    rig.decide();
    rig.forwarder = ForwarderState::Well;
    rig.assert(WITHDRAWN, "held");
    rig.pass(HOLD);
    rig.assert(UP, "kept_without_quorum");
    rig.forwarder = ForwarderState::Absent;
    rig.decide();
    rig.forwarder = ForwarderState::Well;
    rig.assert(UP, "kept_without_quorum");
    rig.order_node(NodeOrder::Drain, &[]);
    rig.pass(DRAIN);
    rig.assert(WITHDRAWN, "node_drained");
    rig.order_node(NodeOrder::Undrain, &[]);
    rig.assert(UP, "kept_without_quorum");
    // A new start does.
    rig.forwarder = ForwarderState::Starting;
    rig.decide();
    rig.forwarder = ForwarderState::Well;
    rig.assert(WITHDRAWN, "no_quorum");
}

/// A reload renames the services of an address. The controller learns of both in either order.
#[test]
fn services_of_which_nothing_is_known_change_nothing() {
    for on_loss in [OnQuorumLoss::Keep, OnQuorumLoss::Withdraw] {
        let mut rig = Rig::new(on_loss);
        rig.services = BTreeMap::new();
        rig.assert(WITHDRAWN, "no_quorum");
        rig.serve(true);
        rig.assert(UP, "serving");
        let renamed = BTreeMap::from([("three".to_owned(), true), ("four".to_owned(), false)]);
        let rename = |site: &mut Option<Site>| {
            let web = site.as_mut().unwrap().vips.get_mut(&WEB).unwrap();
            web.services = vec!["three".to_owned(), "four".to_owned()];
        };
        rename(&mut rig.site);
        rig.assert(UP, "serving");
        rig.services = renamed.clone();
        rig.assert(UP, "serving");
        rig.site = Some(site(on_loss));
        rig.assert(UP, "serving");
        rig.services = [("one".to_owned(), true)].into();
        rig.assert(UP, "serving");
        rig.services = renamed;
        rig.assert(UP, "serving");
        rename(&mut rig.site);
        rig.assert(UP, "serving");
        // Neither does it end a hold.
        rig.forwarder = ForwarderState::Silent;
        rig.decide();
        rig.forwarder = ForwarderState::Well;
        rig.services = BTreeMap::new();
        rig.assert(WITHDRAWN, "held");
        rig.pass(HOLD * 2);
        rig.assert(WITHDRAWN, "held");
    }
}

#[test]
fn a_drain_is_over_by_either_clock() {
    let drained = || {
        let mut rig = Rig::new(OnQuorumLoss::Keep);
        rig.order(WEB, VipOrder::Drain, &[]);
        rig.assert(DRAINS, "drains");
        assert_eq!(rig.next, Some(rig.now.steady + DRAIN));
        rig.pass(DRAIN / 2);
        rig.assert(DRAINS, "drains");
        assert_eq!(rig.next, Some(rig.now.steady + DRAIN / 2));
        rig
    };
    let mut rig = drained();
    rig.pass(DRAIN / 2);
    rig.assert(WITHDRAWN, "drained");
    assert_eq!(rig.next, None);
    // Set forwards, also while the controller was away.
    for is_new in [false, true] {
        let mut rig = drained();
        rig.now.wall = rig.now.wall.after(DRAIN / 2);
        rig.memory = if is_new { Memory::default() } else { rig.memory };
        rig.assert(WITHDRAWN, "drained");
    }
    // Set backwards.
    let mut rig = drained();
    rig.now.wall = Wall(5);
    rig.assert(DRAINS, "drains");
    rig.pass(DRAIN / 2);
    rig.assert(WITHDRAWN, "drained");
    // Set backwards while the controller was away: no longer than a whole drain.
    let mut rig = drained();
    (rig.now.wall, rig.memory) = (Wall(5), Memory::default());
    rig.assert(DRAINS, "drains");
    rig.pass(DRAIN);
    rig.assert(WITHDRAWN, "drained");
    // A drain that was ended and ordered again is another one.
    let mut rig = drained();
    rig.order(WEB, VipOrder::Undrain, &[]);
    rig.order(WEB, VipOrder::Drain, &[]);
    rig.pass(DRAIN / 2);
    rig.assert(DRAINS, "drains");
}

fn states(decision: &Decision) -> Vec<(&str, VipState)> {
    decision.peers.iter().map(|(peer, handling)| (peer.as_str(), handling.state)).collect()
}

#[test]
fn peers_are_exceptions_unless_there_are_no_others() {
    let mut rig = Rig::new(OnQuorumLoss::Keep);
    rig.order(WEB, VipOrder::Withdraw, &["tor1"]);
    let web = rig.of(WEB);
    assert_eq!((web.state, web.cause.name()), (UP, "serving"));
    assert_eq!(states(&web), [("tor1", WITHDRAWN)]);
    rig.order_node(NodeOrder::Drain, &["tor2"]);
    let web = rig.of(WEB);
    assert_eq!((web.state, web.cause.name()), (DRAINS, "node_drains"));
    assert_eq!(states(&web), [("tor1", WITHDRAWN)]);
    rig.pass(DRAIN);
    let web = rig.of(WEB);
    assert_eq!((web.state, states(&web)), (WITHDRAWN, vec![]));
    rig.order_node(NodeOrder::Undrain, &[]);
    rig.order(WEB, VipOrder::Withdraw, &[]);
    rig.order(WEB, VipOrder::Announce, &["tor2"]);
    let web = rig.of(WEB);
    assert_eq!((web.state, web.cause.name()), (UP, "serving"));
    assert_eq!(states(&web), [("tor1", WITHDRAWN)]);
    // A peer that leaves the configuration takes its orders with it, and brings them back.
    let peers = std::mem::replace(&mut rig.site.as_mut().unwrap().peers, vec!["tor1".to_owned()]);
    rig.assert(WITHDRAWN, "ordered");
    rig.site.as_mut().unwrap().peers = vec![];
    rig.assert(WITHDRAWN, "ordered");
    rig.site.as_mut().unwrap().peers = peers;
    rig.assert(UP, "serving");
    rig.order(WEB, VipOrder::Announce, &[]);
    assert_eq!(states(&rig.of(WEB)), []);
    assert_eq!(rig.orders, Orders::default());
}

#[test]
fn orders_are_refused_as_a_whole() {
    let site = site(OnQuorumLoss::Keep);
    let mut orders = Orders::default();
    let (six, hop, hop6): (IpAddr, IpAddr, IpAddr) = (
        "2001:db8::1".parse().unwrap(),
        "192.0.2.9".parse().unwrap(),
        "2001:db8::9".parse().unwrap(),
    );
    let open = Site { allowed: vec![], ..site.clone() };
    let mut refused = |site, addresses: &[IpAddr], peers: &[&str], next_hops: &[IpAddr]| {
        let peers: Vec<String> = peers.iter().map(|&peer| peer.to_owned()).collect();
        let change = Change { order: VipOrder::Announce, peers: &peers, next_hops, reason: None };
        let error = orders.order(site, addresses, &change, Wall(1)).unwrap_err();
        assert_eq!(orders, Orders::default());
        (error.kind, error.message)
    };
    let (kind, message) = refused(Some(&site), &[BARE], &["tor1", "tor22"], &[]);
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(message, "there is no peer \"tor22\"; the nearest is \"tor2\"");
    let (kind, message) = refused(None, &[BARE], &["tor1"], &[]);
    assert_eq!(kind, ErrorKind::Failed);
    assert!(message.starts_with("no peer is known"), "{message}");
    let (kind, message) = refused(Some(&site), &[BARE, six], &[], &[]);
    assert_eq!(kind, ErrorKind::Rejected);
    assert!(
        message.contains("2001:db8::1 is outside of bgp.allowed (203.0.113.0/24)"),
        "{message}"
    );
    for (next_hops, words) in [
        (&[hop][..], "2001:db8::1 needs a next hop of its own family"),
        (&[hop6, hop6], "2001:db8::1 can have one next hop only"),
        (&[six], "2001:db8::1 is its own next hop"),
    ] {
        let (kind, message) = refused(Some(&open), &[six], &[], next_hops);
        assert_eq!((kind, message.as_str()), (ErrorKind::Rejected, words));
    }
    let both =
        Change { order: VipOrder::Announce, peers: &[], next_hops: &[hop, hop6], reason: None };
    assert_eq!(orders.order(Some(&open), &[BARE, six, six], &both, Wall(1)), Ok(2));
    let wrong =
        orders.order_node(Some(&site), NodeOrder::Drain, &["tor3".to_owned()], None, Wall(1));
    assert_eq!(wrong.unwrap_err().kind, ErrorKind::NotFound);
}

/// The forwarder is down, and the controller starts: nobody knows which addresses have services.
#[test]
fn orders_count_before_the_configuration_is_known() {
    let mut rig = Rig::new(OnQuorumLoss::Keep);
    let site = rig.site.take();
    rig.order(WEB, VipOrder::Withdraw, &[]);
    rig.order(BARE, VipOrder::Announce, &[]);
    let before = rig.orders.clone();
    rig.pass(HOLD);
    rig.order(WEB, VipOrder::Withdraw, &[]);
    rig.order(BARE, VipOrder::Announce, &[]);
    assert_eq!(rig.orders, before);
    rig.site = site.clone();
    rig.assert(WITHDRAWN, "ordered");
    assert_eq!(rig.of(BARE).state, UP);
    rig.site = None;
    rig.order(WEB, VipOrder::Announce, &[]);
    rig.order(WEB, VipOrder::Drain, &[]);
    rig.site = site;
    rig.assert(DRAINS, "drains");
    rig.order(WEB, VipOrder::Undrain, &[]);
    assert_eq!(rig.orders.vips.len(), 1, "{:?}", rig.orders);
}

#[test]
fn there_are_orders_for_so_many_addresses() {
    let address = |number: usize| {
        IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap()))
    };
    let all: Vec<IpAddr> = (1..=MAX_CHANGES).map(address).collect();
    let mut rig = Rig::new(OnQuorumLoss::Keep);
    rig.site.as_mut().unwrap().allowed = vec![];
    let register = |rig: &mut Rig, addresses: &[IpAddr], peers: &[String]| {
        let order = VipOrder::Announce;
        let change = Change { order, peers, next_hops: &[], reason: None };
        rig.orders.order(rig.site.as_ref(), addresses, &change, rig.now.wall)
    };
    let start = Instant::now();
    assert_eq!(register(&mut rig, &all, &[]), Ok(MAX_CHANGES));
    assert_eq!(register(&mut rig, &all, &[]), Ok(0));
    let before = rig.orders.clone();
    let more = [address(1), address(MAX_CHANGES + 1), address(MAX_CHANGES + 2)];
    let error = register(&mut rig, &more, &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rejected);
    assert!(rig.orders == before, "{error:?}");
    assert_eq!(rig.decide().len(), MAX_CHANGES + 1);
    assert_eq!(rig.decide().len(), MAX_CHANGES + 1);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    // Nine for each address are too many for the file.
    let peers: Vec<String> = (0..9).map(|number| format!("tor{number}")).collect();
    rig.site.as_mut().unwrap().peers = peers.clone();
    let drain = Change { order: VipOrder::Drain, peers: &peers, next_hops: &[], reason: None };
    let error = rig.orders.order(rig.site.as_ref(), &all, &drain, rig.now.wall).unwrap_err();
    assert_eq!(error.message, "there would be more than 524288 orders for peers");
    assert!(rig.orders == before);
}
