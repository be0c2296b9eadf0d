//! Tables of what the controller announces.

use std::net::IpAddr;

use guideway_api::{
    BgpDetails, BgpMode, BgpPeer, BgpState, ForwarderState, Node, NodeDrain, SentRoute, Vip,
    VipCause, VipPeer, VipState,
};

use super::*;

const TIME: &str = "2026-01-02T03:04:05.678Z";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vip(text: &str, seconds: u64, state: VipState, metric: Option<u32>, cause: VipCause) -> Vip {
    Vip {
        address: address(text),
        services: vec!["web".into(), "web-tls".into()],
        registered: false,
        state,
        since: ago(seconds),
        cause,
        reason: None,
        installed: true,
        metric,
        peers: vec![],
    }
}

/// An address that is announced, one that drains, one whose route is not there yet, and two that are withdrawn,
/// of which one still has its route.
fn five_vips() -> Vec<Vip> {
    let peer = |peer: &str, state, next_hop: Option<&str>| VipPeer {
        peer: peer.into(),
        state,
        next_hop: next_hop.map(address),
    };
    let quorum = VipCause::NoQuorum { services: vec!["web".into()] };
    vec![
        vip("203.0.113.10", 7200, VipState::Announced, Some(1000), VipCause::Serving),
        Vip {
            reason: Some("new kernel".into()),
            ..vip("203.0.113.11", 60, VipState::Draining, Some(2003), VipCause::Drains)
        },
        Vip {
            services: vec![],
            registered: true,
            installed: false,
            peers: vec![
                peer("tor1", VipState::Announced, Some("2001:db8::1")),
                peer("tor2", VipState::Withdrawn, None),
            ],
            ..vip("2001:db8::10", 0, VipState::Announced, Some(1001), VipCause::Registered)
        },
        vip("203.0.113.12", 200_000, VipState::Withdrawn, None, quorum),
        Vip {
            installed: false,
            ..vip("203.0.113.13", 5, VipState::Withdrawn, None, VipCause::Ordered)
        },
    ]
}

const VIPS: &str = "\
ADDRESS       STATE      SINCE  METRIC  ROUTE      SERVICES     PEERS                                      WHY
203.0.113.10  announced     2h    1000  installed  web,web-tls  -                                          its services serve
203.0.113.11  draining      1m    2003  installed  web,web-tls  -                                          it drains (new kernel)
2001:db8::10  announced     0s    1001  pending    -            tor1=announced@2001:db8::1,tor2=withdrawn  it is registered
203.0.113.12  withdrawn     2d       -  none       web,web-tls  -                                          too few of its services serve, without web
203.0.113.13  withdrawn     5s       -  pending    web,web-tls  -                                          by order
";

#[test]
fn addresses() {
    prints(&Response::Vips(five_vips()), VIPS);
    prints(&Response::Vips(vec![]), "ADDRESS  STATE  SINCE  METRIC  ROUTE  SERVICES  PEERS  WHY\n");
}

#[test]
fn an_order_says_what_it_changed() {
    let set = |vips, changed| Response::VipsSet { vips, changed, stored: true };
    prints(&set(five_vips(), 2), &format!("{VIPS}5 addresses, 2 changed\n"));
    let text = render(&set(five_vips().split_off(4), 0), Output::Table).text;
    assert!(text.ends_with("  by order\n1 address, no change\n"), "{text}");
}

#[test]
fn a_cause_reads_the_same_as_in_the_log() {
    let vip = Vip { reason: Some("a fire".into()), ..five_vips().swap_remove(4) };
    let text = render(&Response::Vips(vec![vip]), Output::Table).text;
    assert!(text.ends_with(&format!("  {} (a fire)\n", VipCause::Ordered)), "{text}");
}

fn node() -> Node {
    Node {
        node: "lb1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 61,
        forwarder: ForwarderState::Well,
        forwarder_since: TIME.into(),
        generation: 3,
        bgp: Some(BgpMode::Managed),
        drains: vec![
            NodeDrain { peer: None, since: TIME.into(), reason: Some("new kernel".into()) },
            NodeDrain { peer: Some("tor1".into()), since: TIME.into(), reason: None },
        ],
        announced: 4,
        draining: 5,
        withdrawn: 6,
        restored_routes: 7,
        checks: None,
    }
}

const NODE: &str = "\
node             lb1
version          0.1.0
uptime_seconds   61
forwarder        well
forwarder_since  2026-01-02T03:04:05.678Z
generation       3
bgp              managed
announced        4
draining         5
withdrawn        6
restored_routes  7
drain            all peers since 2026-01-02T03:04:05.678Z: new kernel
drain            peer tor1 since 2026-01-02T03:04:05.678Z
";

#[test]
fn nodes() {
    prints(&Response::Node(node()), NODE);
    let set = |changed| Response::NodeSet { node: node(), changed, stored: true };
    prints(&set(true), &format!("{NODE}changed\n"));
    prints(&set(false), &format!("{NODE}no change\n"));
    // Before the controller knows the configuration.
    let new = Node {
        node: String::new(),
        forwarder: ForwarderState::Absent,
        generation: 0,
        bgp: None,
        drains: vec![],
        ..node()
    };
    let text = render(&Response::Node(new), Output::Table).text;
    assert!(text.starts_with("node             -\n"), "{text}");
    assert!(text.contains("\nforwarder        absent\n") && !text.contains("drain  "), "{text}");
}

fn three_peers() -> Vec<BgpPeer> {
    let tor1 = BgpPeer {
        name: "tor1".into(),
        address: address("192.0.2.254"),
        remote_as: 4_200_000_000,
        local_as: 65001,
        state: BgpState::Established,
        since: ago(3600),
        error: Some("hold timer expired".into()),
        routes: 2,
        bfd_up: Some(true),
        notes: vec!["203.0.113.9 is not in bgp.allowed".into(), "MTU 1500".into()],
    };
    let tor2 = BgpPeer {
        name: "tor2".into(),
        address: address("2001:db8::fe"),
        remote_as: 65002,
        state: BgpState::Active,
        since: ago(7),
        error: Some("no answer: is the MD5 password right?".into()),
        routes: 0,
        bfd_up: Some(false),
        notes: vec![],
        ..tor1.clone()
    };
    let tor3 = BgpPeer {
        name: "tor3".into(),
        state: BgpState::OpenSent,
        error: None,
        bfd_up: None,
        ..tor2.clone()
    };
    vec![tor1, tor2, tor3]
}

#[test]
fn sessions() {
    prints(
        &Response::BgpPeers(three_peers()),
        "\
PEER  ADDRESS               AS  STATE        SINCE  ROUTES  BFD   WHY
tor1  192.0.2.254   4200000000  established     1h       2  up    last error: hold timer expired; 203.0.113.9 is not in bgp.allowed; MTU 1500
tor2  2001:db8::fe       65002  active          7s       0  down  no answer: is the MD5 password right?
tor3  2001:db8::fe       65002  open_sent       7s       0  -     -
",
    );
}

#[test]
fn one_session() {
    let next_hop = Some(address("192.0.2.1"));
    let details = BgpDetails {
        peer: BgpPeer { since: TIME.into(), ..three_peers().swap_remove(0) },
        hold_time: 9,
        keepalive: 3,
        local_address: next_hop,
        sent: vec![
            SentRoute { address: address("203.0.113.10"), draining: false, next_hop },
            SentRoute { address: address("2001:db8::10"), draining: true, next_hop: None },
        ],
    };
    prints(
        &Response::BgpPeer(details.clone()),
        "\
peer           tor1
address        192.0.2.254
local_address  192.0.2.1
remote_as      4200000000
local_as       65001
state          established
since          2026-01-02T03:04:05.678Z
last_error     hold timer expired
hold_time      9
keepalive      3
bfd            up
routes         2
note           203.0.113.9 is not in bgp.allowed
note           MTU 1500
sent           203.0.113.10 via 192.0.2.1
sent           2001:db8::10, draining
",
    );
    let peer = BgpPeer { since: TIME.into(), ..three_peers().swap_remove(1) };
    let lost = BgpDetails { peer, local_address: None, sent: vec![], ..details };
    let text = render(&Response::BgpPeer(lost), Output::Table).text;
    assert!(text.contains("\nlocal_address  -\n") && !text.contains("sent"), "{text}");
    assert!(text.contains("\nerror          no answer: is the MD5 password right?\n"), "{text}");
}

#[test]
fn what_keeps_addresses_from_routers_has_a_colour() {
    let screen = Screen { has_colour: true, ..Screen::default() };
    let mut view =
        View { output: Output::Table, screen, backends: BackendView::default(), look: None };
    let (red, yellow) = ("\x1b[31m", "\x1b[33m");
    let text = view.render(&Response::Vips(five_vips())).text;
    let of = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(!of("203.0.113.10").contains(red) && !of("203.0.113.10").contains(yellow), "{text}");
    assert!(of("203.0.113.11").contains(yellow) && of("2001:db8::10").contains(yellow), "{text}");
    assert!(of("203.0.113.12").contains(red), "{text}");
    let text = view.render(&Response::BgpPeers(three_peers())).text;
    let of = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(of("tor1").contains(yellow) && of("tor2").contains(red), "{text}");
    let text = view.render(&Response::Node(node())).text;
    assert!(text.contains(yellow) && !text.contains(red), "{text}");
}
