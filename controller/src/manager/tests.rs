//! What is known, decided and wanted, without threads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_api::{ForwarderState, Happening, NodeOrder, VipCause, VipOrder, VipState};
use guideway_chassis::wall::Wall;
use guideway_config::Configuration;

use super::order::Order;
use super::settle::Settled;
use super::state::State;
use super::testing::CONFIGURATION;
use crate::announce::{Class, Now, Orders};
use crate::{bird, forwarder, routes};

/// A state, with clocks that a test moves.
struct Rig {
    state: State,
    now: Now,
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

/// A configuration with services on these addresses.
fn configuration(count: u32, change: impl Fn(String) -> String) -> Arc<Configuration> {
    let mut text = CONFIGURATION.replace("203.0.113.0/24", "203.0.0.0/16");
    text += "[[pool]]\nname = \"web\"\nbackends = []\n";
    for n in 0..count {
        let (high, low) = (113 + n / 256, n % 256);
        text += &format!(
            "[[service]]\nname = \"s{n}\"\naddress = \"203.0.{high}.{low}\"\nprotocol = \"tcp\"\n\
             port = 80\npool = \"web\"\n"
        );
    }
    Arc::new(guideway_config::parse(&change(text)).unwrap().configuration)
}

impl Rig {
    fn new(orders: Orders) -> Rig {
        let steady = Instant::now();
        let wall = Wall(1_800_000_000_000);
        Rig { state: State::new(orders, steady, wall), now: Now { steady, wall } }
    }

    fn pulse(&mut self, process: Option<i32>, state: ForwarderState) {
        let announcing = None;
        self.state.note_forwarder(forwarder::Report::Pulse { process, state, announcing });
    }

    fn in_force(&mut self, process: i32, generation: u64, configuration: &Arc<Configuration>) {
        let configuration = Arc::clone(configuration);
        let report = forwarder::Report::InForce { process, generation, configuration };
        self.state.note_forwarder(report);
    }

    fn serving(&mut self, process: i32, services: u32, serves: bool) {
        let services = (0..services).map(|n| (format!("s{n}"), serves)).collect();
        let report = forwarder::Report::Serving { process, services: Arc::new(services) };
        self.state.note_forwarder(report);
    }

    /// A forwarder that is well, with services on so many addresses.
    fn well(count: u32, orders: Orders) -> Rig {
        let mut rig = Rig::new(orders);
        rig.become_well(count);
        rig
    }

    fn become_well(&mut self, count: u32) {
        self.pulse(Some(7), ForwarderState::Well);
        self.in_force(7, 1, &configuration(count, |text| text));
        self.serving(7, count, true);
    }

    fn settle(&mut self) -> Settled {
        self.state.settle(self.now)
    }

    fn after(&mut self, time: Duration) -> Settled {
        self.now = Now { steady: self.now.steady + time, wall: self.now.wall.after(time) };
        self.settle()
    }

    /// The metrics that are wanted, and which the kernel has from then on.
    fn install(&mut self) -> BTreeMap<IpAddr, u32> {
        let wanted = self.settle().routes.expect("routes").metrics;
        self.state.note_routes(routes::Report::Installed(Arc::clone(&wanted)));
        (*wanted).clone()
    }

    /// BIRD runs by what is planned.
    fn configured(&mut self) {
        let classes = self.settle().bird.expect("a plan").classes.into_keys().collect();
        self.state.note_bird(bird::Report::Configured { classes });
    }

    fn order(&mut self, address: IpAddr, order: VipOrder, peers: &[&str]) {
        let order = Order::Vips {
            addresses: vec![address],
            order,
            peers: peers.iter().map(|&peer| peer.to_owned()).collect(),
            next_hops: vec![],
            reason: None,
        };
        self.state.order(&order, self.now.wall).unwrap();
    }
}

fn states(settled: &Settled) -> Vec<(IpAddr, VipState)> {
    let state = |happening: &Happening| match happening {
        Happening::VipState { address, to, .. } => Some((*address, *to)),
        _ => None,
    };
    settled.happened.iter().filter_map(state).collect()
}

#[test]
fn nothing_is_wanted_before_enough_is_known() {
    let mut rig = Rig::new(Orders::default());
    assert!(rig.settle().routes.is_none());
    rig.pulse(Some(7), ForwarderState::Well);
    assert!(rig.settle().routes.is_none(), "no configuration");
    rig.in_force(7, 1, &configuration(2, |text| text));
    assert!(rig.settle().routes.is_none(), "nobody knows which services serve");
    rig.serving(6, 2, true);
    assert!(rig.settle().routes.is_none(), "that was another process");
    rig.serving(7, 2, true);
    assert_eq!(rig.install(), BTreeMap::from([(ip(0), 1000), (ip(1), 1000)]));
}

#[test]
fn a_new_process_is_not_announced_by_what_the_old_one_said() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    rig.pulse(None, ForwarderState::Absent);
    assert_eq!(rig.install(), BTreeMap::new());
    rig.pulse(Some(8), ForwarderState::Well);
    assert!(rig.settle().routes.is_none(), "nothing is known of the new one");
    rig.in_force(8, 1, &configuration(1, |text| text));
    rig.serving(8, 1, true);
    assert_eq!(rig.install().len(), 1, "and it is not held");
}

#[test]
fn a_start_with_routes_that_are_as_wanted_is_no_event() {
    let mut rig = Rig::new(Orders::default());
    let left = BTreeMap::from([(ip(0), 1000), (ip(1), 1000)]);
    rig.state.note_routes(routes::Report::Installed(Arc::new(left.clone())));
    rig.become_well(2);
    let settled = rig.settle();
    assert_eq!(states(&settled), []);
    assert_eq!(*settled.routes.unwrap().metrics, left);
}

#[test]
fn many_changes_are_one_event_beyond_the_first_hundred() {
    let mut rig = Rig::well(300, Orders::default());
    let settled = rig.settle();
    assert_eq!(states(&settled).len(), 100);
    assert!(settled.happened.contains(&Happening::VipStates { vips: 200 }));
    assert_eq!(states(&rig.settle()), []);
}

#[test]
fn a_route_gets_a_class_when_bird_knows_it() {
    let mut rig = Rig::well(2, Orders::default());
    rig.install();
    rig.configured();
    rig.order(ip(0), VipOrder::Withdraw, &["tor1"]);
    assert_eq!(rig.install()[&ip(0)], 1000, "as it was");
    assert_eq!(*rig.state.waiting, BTreeSet::from([ip(0)]));
    rig.configured();
    assert_eq!(rig.install()[&ip(0)], 1001);
    assert!(rig.state.waiting.is_empty());
    // An order for all needs no class, whatever BIRD does.
    rig.order(ip(1), VipOrder::Drain, &[]);
    assert_eq!(rig.install()[&ip(1)], 2000);
    rig.order(ip(0), VipOrder::Withdraw, &[]);
    assert!(!rig.install().contains_key(&ip(0)));
}

#[test]
fn bird_forgets_a_class_when_no_route_has_it_any_more() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    rig.order(ip(0), VipOrder::Withdraw, &["tor1"]);
    rig.configured();
    assert_eq!(rig.install()[&ip(0)], 1001);
    rig.order(ip(0), VipOrder::Announce, &["tor1"]);
    let settled = rig.settle();
    assert_eq!(settled.routes.unwrap().metrics[&ip(0)], 1000);
    assert!(settled.bird.unwrap().classes.contains_key(&Class(1)), "the kernel has it still");
    rig.install();
    assert!(rig.settle().bird.unwrap().classes.is_empty());
}

/// The controller restarts: neither the routes nor the meaning of their classes change, whatever the order in which
/// orders are read.
#[test]
fn a_restart_takes_over_the_classes_of_routes() {
    let mut rig = Rig::well(3, Orders::default());
    rig.install();
    rig.order(ip(2), VipOrder::Withdraw, &["tor2"]);
    rig.configured();
    rig.install();
    rig.order(ip(0), VipOrder::Withdraw, &["tor1"]);
    rig.configured();
    let before = rig.install();
    assert_eq!((before[&ip(2)], before[&ip(0)]), (1001, 1002));
    let plan = rig.settle().bird.unwrap();

    let mut anew = Rig::new(rig.state.orders.clone());
    anew.state.note_routes(routes::Report::Installed(Arc::new(before.clone())));
    anew.become_well(3);
    let settled = anew.settle();
    assert_eq!(states(&settled), []);
    assert_eq!(*settled.routes.unwrap().metrics, before);
    assert_eq!(settled.bird.unwrap(), plan);
}

#[test]
fn without_its_section_nothing_is_announced() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    let without = configuration(1, |text| {
        let (before, rest) = text.split_once("[announce]").unwrap();
        let (_, after) = rest.split_once("[[pool]]").unwrap();
        format!("{before}[[pool]]{after}")
    });
    rig.in_force(7, 2, &without);
    let settled = rig.settle();
    assert_eq!(states(&settled), [(ip(0), VipState::Withdrawn)]);
    let routes = settled.routes.unwrap();
    assert_eq!((routes.interface.as_str(), routes.table, routes.metrics.len()), ("gwvip", 1000, 0));
    assert_eq!(settled.bird, None, "BIRD is left alone");
}

#[test]
fn the_kernel_corrects_the_forwarder() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    rig.state.note_routes(routes::Report::Interface { is_up: false });
    let settled = rig.settle();
    assert_eq!(states(&settled), [(ip(0), VipState::Withdrawn)]);
    assert_eq!(rig.state.listed[&ip(0)].decision.cause, VipCause::InterfaceDown);
    rig.state.note_routes(routes::Report::Interface { is_up: true });
    // It is held for 5 s.
    assert_eq!(states(&rig.settle()), []);
    assert_eq!(rig.state.listed[&ip(0)].decision.cause, VipCause::Held);
    assert_eq!(states(&rig.after(Duration::from_secs(4))), []);
    assert_eq!(states(&rig.after(Duration::from_secs(1))), [(ip(0), VipState::Announced)]);
}

#[test]
fn a_drain_ends_by_time_alone() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    let order = Order::Node { order: NodeOrder::Drain, peers: vec![], reason: None };
    assert_eq!(rig.state.order(&order, rig.now.wall).unwrap(), 1);
    assert_eq!(rig.state.order(&order, rig.now.wall).unwrap(), 0);
    let settled = rig.settle();
    assert_eq!(settled.routes.unwrap().metrics[&ip(0)], 2000);
    assert_eq!(settled.next, Some(rig.now.steady + Duration::from_secs(60)));
    let settled = rig.after(Duration::from_secs(60));
    assert_eq!((states(&settled), settled.next), (vec![(ip(0), VipState::Withdrawn)], None));
}

#[test]
fn a_quorum_is_lost_and_regained_once() {
    let mut rig = Rig::well(1, Orders::default());
    rig.install();
    for _ in 0..2 {
        rig.serving(7, 1, false);
        let settled = rig.settle();
        let services = vec!["s0".to_owned()];
        let lost = Happening::QuorumLost { address: ip(0), services, kept: true };
        assert_eq!(settled.happened, [lost]);
        assert!(rig.settle().happened.is_empty());
        rig.serving(7, 1, true);
        assert_eq!(rig.settle().happened, [Happening::QuorumRegained { address: ip(0) }]);
    }
}

#[test]
fn orders_that_cannot_be_meant_are_refused() {
    let mut rig = Rig::new(Orders::default());
    let order = |address: IpAddr, order| Order::Vips {
        addresses: vec![address],
        order,
        peers: vec![],
        next_hops: vec![],
        reason: None,
    };
    let withdraw = order(ip(0), VipOrder::Withdraw);
    assert!(rig.state.order(&withdraw, rig.now.wall).is_err(), "nobody knows its services");
    rig.become_well(1);
    assert_eq!(rig.state.order(&withdraw, rig.now.wall).unwrap(), 1);
    let outside = order([198, 51, 100, 1].into(), VipOrder::Announce);
    assert!(rig.state.order(&outside, rig.now.wall).is_err());
    assert_eq!(rig.state.orders.vips.len(), 1);
}
