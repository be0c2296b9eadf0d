use super::*;
use crate::sample::{MIXED, THREE, text};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn routing(text: &str) -> Routing {
    Routing::new(guideway_config::parse(text).unwrap().configuration.static_routes())
}

fn hop(link: Option<Link>, gateway: Option<&str>) -> Hop {
    let interface = link.map_or("eth9".to_owned(), |link| format!("edge{}", link.port)).into();
    Hop { interface, link, gateway: gateway.map(ip), is_alive: true }
}

fn via(prefix: u8, hops: Vec<Hop>) -> Route {
    Route { prefix, table: 254, protocol: 4, kind: Kind::Via(hops) }
}

/// What the way to an address is if the kernel says this about it.
fn way(
    routing: &Routing,
    to: &str,
    route: Route,
) -> Result<(usize, Option<u16>, IpAddr), Unreachable> {
    let mut routing = routing.clone();
    let routes = vec![(ip(to), Some(Arc::new(route)))];
    assert!(routing.apply(&Batch { routes, ..Batch::default() }));
    routing.way(ip(to)).map(|hop| (hop.port, hop.vlan, hop.address))
}

const EDGE1: Option<Link> = Some(Link { port: 1, vlan: None });

#[test]
fn a_static_neighbor_wins_over_the_kernels() {
    let mut routing = routing(&text(THREE));
    let mac = |routing: &Routing, text| routing.way(ip(text)).unwrap().mac;
    assert!(routing.learn(Link::of_port(0), ip("192.0.2.10"), Some([9; 6])));
    assert!(routing.learn(Link::of_port(0), ip("192.0.2.30"), Some([9; 6])));
    assert_eq!(mac(&routing, "192.0.2.10"), Some([2, 0, 0, 0, 0, 0x10]));
    assert_eq!(mac(&routing, "192.0.2.30"), Some([9; 6]));
    assert!(routing.is_static(ip("192.0.2.10")) && !routing.is_static(ip("192.0.2.30")));
}

#[test]
fn a_neighbor_counts_on_its_own_link_alone() {
    let mut routing = routing(MIXED);
    for (link, mac) in [(Link::of_port(1), 1), (Link { port: 0, vlan: Some(7) }, 2)] {
        routing.learn(link, ip("192.0.2.10"), Some([mac; 6]));
        assert_eq!(routing.way(ip("192.0.2.10")).unwrap().mac, None);
    }
    routing.learn(Link::of_port(0), ip("192.0.2.10"), Some([3; 6]));
    assert_eq!(routing.way(ip("192.0.2.10")).unwrap().mac, Some([3; 6]));
}

#[test]
fn the_longest_prefix_decides_and_of_equal_ones_the_static_route() {
    let routing = routing(MIXED);
    let (near, far) = ("192.0.2.10", "10.0.0.1");
    let by = |to, prefix| way(&routing, to, via(prefix, vec![hop(EDGE1, Some("198.51.100.9"))]));
    let gateway = (1, None, ip("198.51.100.9"));
    assert_eq!(by(near, 25), Ok(gateway));
    assert_eq!(by(near, 24), Ok((0, None, ip(near))));
    assert_eq!(by(near, 0), Ok((0, None, ip(near))));
    assert_eq!(by(far, 1), Ok(gateway));
    assert_eq!(by(far, 0), Ok((0, None, ip("192.0.2.254"))));
    assert_eq!(by("2001:db8::fe", 128), Ok((1, None, ip("2001:db8::fe"))), "it is a [[neighbor]]");
}

#[test]
fn a_device_that_is_no_port_beats_nothing() {
    let mut routing = routing(MIXED);
    let away = || via(32, vec![hop(None, None)]);
    let reason = Unreachable::NotAPort { interface: "eth9".into() };
    assert_eq!(way(&routing, "10.0.0.1", away()), Ok((0, None, ip("192.0.2.254"))));
    let mixed = via(32, vec![hop(None, None), hop(EDGE1, None)]);
    assert_eq!(way(&routing, "10.0.0.1", mixed), Ok((1, None, ip("10.0.0.1"))));
    routing.set_routes(StaticRoutes::default());
    assert_eq!(way(&routing, "10.0.0.1", away()), Err(reason));
}

#[test]
fn the_first_hop_that_lives_is_taken() {
    let mut routing = routing(MIXED);
    let first = hop(Some(Link::of_port(0)), Some("192.0.2.7"));
    let second = hop(Some(Link { port: 1, vlan: Some(200) }), Some("fe80::7"));
    let both = || via(8, vec![first.clone(), second.clone()]);
    assert_eq!(way(&routing, "10.0.0.1", both()), Ok((0, None, ip("192.0.2.7"))));
    let dead = Hop { is_alive: false, ..first.clone() };
    let over_v6 = Ok((1, Some(200), ip("fe80::7")));
    assert_eq!(way(&routing, "10.0.0.1", via(8, vec![dead, second.clone()])), over_v6);
    assert!(routing.set_link(0, false) && !routing.set_link(0, false));
    assert_eq!(way(&routing, "10.0.0.1", both()), over_v6);
    routing.set_link(1, false);
    assert_eq!(way(&routing, "10.0.0.1", both()), Err(Unreachable::LinkDown { port: 0 }));
    assert!(routing.set_link(0, true));
    assert_eq!(way(&routing, "10.0.0.1", both()), Ok((0, None, ip("192.0.2.7"))));
}

#[test]
fn a_port_without_link_is_no_way_and_another_source_may_have_one() {
    let mut routing = routing(MIXED);
    routing.set_link(0, false);
    let other = |prefix| via(prefix, vec![hop(EDGE1, None)]);
    assert_eq!(routing.way(ip("192.0.2.10")), Err(Unreachable::LinkDown { port: 0 }));
    for prefix in [0, 24, 32] {
        assert_eq!(way(&routing, "192.0.2.10", other(prefix)), Ok((1, None, ip("192.0.2.10"))));
    }
    routing.set_link(0, true);
    routing.set_link(1, false);
    assert_eq!(way(&routing, "10.0.0.1", other(32)), Ok((0, None, ip("192.0.2.254"))));
}

#[test]
fn a_refusal_counts_as_longer_than_a_gateway_and_shorter_than_a_network() {
    let routing = routing(MIXED);
    for refusal in [Refusal::Blackhole, Refusal::Unreachable, Refusal::Prohibit] {
        let refused = || Route::without_prefix(Kind::Refused(refusal));
        assert_eq!(way(&routing, "10.0.0.1", refused()), Err(Unreachable::Refused(refusal)));
        assert_eq!(way(&routing, "192.0.2.10", refused()), Ok((0, None, ip("192.0.2.10"))));
    }
    let own = Route { prefix: 32, table: 255, protocol: 2, kind: Kind::Own };
    assert_eq!(way(&routing, "192.0.2.10", own), Err(Unreachable::Own));
}

#[test]
fn without_any_route_there_is_no_way() {
    let mut routing = Routing::new(StaticRoutes::default());
    assert_eq!(routing.way(ip("192.0.2.1")), Err(Unreachable::NoRoute));
    let routes = vec![(ip("192.0.2.1"), Some(Arc::new(Route::without_prefix(Kind::None))))];
    assert!(routing.apply(&Batch { routes, ..Batch::default() }));
    assert_eq!(routing.way(ip("192.0.2.1")), Err(Unreachable::NoRoute));
}

#[test]
fn what_is_the_same_is_no_change() {
    let mut routing = routing(MIXED);
    let batch = Batch {
        routes: vec![(ip("10.0.0.1"), Some(Arc::new(via(8, vec![hop(EDGE1, None)]))))],
        neighbors: vec![(Link::of_port(1), ip("10.0.0.1"), Some([2; 6]))],
        local: Some(Arc::new([LocalAddress {
            network: "192.0.2.1/24".parse().unwrap(),
            interface: "edge0".into(),
            link: Some(Link::of_port(0)),
        }])),
    };
    let before = routing.clone();
    assert!(routing.apply(&batch) && !routing.apply(&batch));
    assert!(!routing.has_base_of(&before), "own addresses are others");
    let forget = Batch {
        routes: vec![(ip("10.0.0.1"), None)],
        neighbors: vec![(Link::of_port(1), ip("10.0.0.1"), None)],
        local: Some(Arc::default()),
    };
    assert!(routing.apply(&forget) && !routing.apply(&forget));
    assert!(routing.has_base_of(&before) && routing.differences(&before).is_empty());
}

#[test]
fn differences_concern_whose_way_can_be_another() {
    let mut routing = routing(MIXED);
    let before = routing.clone();
    let concerned = |routing: &Routing, to: &str| {
        routing.differences(&before).concern(ip(to), &before.way(ip(to)))
    };
    routing.learn(Link::of_port(0), ip("192.0.2.254"), Some([1; 6]));
    assert!(concerned(&routing, "10.0.0.1") && !concerned(&routing, "192.0.2.10"));
    let routes = vec![(ip("192.0.2.10"), Some(Arc::new(via(32, vec![hop(EDGE1, None)]))))];
    routing.apply(&Batch { routes, ..Batch::default() });
    assert!(concerned(&routing, "192.0.2.10") && !concerned(&routing, "192.0.2.11"));
    routing.set_link(1, false);
    assert!(concerned(&routing, "192.0.2.11"));
}
