//! The messages about announcements as literal JSON, so that no message changes unnoticed; the others are in
//! `wire.rs`.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Debug;
use std::net::IpAddr;

use guideway_api::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that the value is written as `wire`, byte for byte, and that `wire` is read as the value.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, wire: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), wire);
    assert_eq!(serde_json::from_str::<T>(wire).unwrap(), value);
}

const TIME: &str = "2026-01-02T03:04:05.678Z";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

#[test]
fn daemons() {
    let greeting = Greeting {
        server: Daemon::Controller.name().into(),
        version: "0.1.0".into(),
        protocol: PROTOCOL_VERSION,
    };
    same(greeting, r#"{"server":"guideway-controller","version":"0.1.0","protocol":7}"#);
    assert_eq!(Daemon::Forwarder.socket(), "/run/guideway/guideway.sock");
    assert_eq!(Daemon::Controller.socket(), "/run/guideway-controller/controller.sock");
}

#[test]
fn requests() {
    same(Request::VipList {}, r#"{"request":"vip_list"}"#);
    same(Request::NodeShow {}, r#"{"request":"node_show"}"#);
    same(Request::BgpList {}, r#"{"request":"bgp_list"}"#);
    same(Request::BgpShow { peer: "tor1".into() }, r#"{"request":"bgp_show","peer":"tor1"}"#);
    same(
        Request::VipSet {
            addresses: vec![address("203.0.113.10"), address("2001:db8::10")],
            order: VipOrder::Announce,
            peers: names(&["tor1"]),
            next_hops: vec![address("192.0.2.1"), address("2001:db8::1")],
            reason: Some("repair".into()),
        },
        concat!(
            r#"{"request":"vip_set","addresses":["203.0.113.10","2001:db8::10"],"order":"announce","#,
            r#""peers":["tor1"],"next_hops":["192.0.2.1","2001:db8::1"],"reason":"repair"}"#
        ),
    );
    for order in [VipOrder::Announce, VipOrder::Withdraw, VipOrder::Drain, VipOrder::Undrain] {
        let addresses = vec![address("203.0.113.10")];
        let (peers, next_hops, reason) = (vec![], vec![], None);
        same(
            Request::VipSet { addresses, order, peers, next_hops, reason },
            &format!(
                r#"{{"request":"vip_set","addresses":["203.0.113.10"],"order":"{}"}}"#,
                order.name()
            ),
        );
    }
    for order in [NodeOrder::Drain, NodeOrder::Undrain] {
        same(
            Request::NodeSet { order, peers: vec![], reason: None },
            &format!(r#"{{"request":"node_set","order":"{}"}}"#, order.name()),
        );
    }
    same(
        Request::NodeSet {
            order: NodeOrder::Drain,
            peers: names(&["tor1"]),
            reason: Some("kernel".into()),
        },
        r#"{"request":"node_set","order":"drain","peers":["tor1"],"reason":"kernel"}"#,
    );
    for line in [
        r#"{"request":"vip_list","all":true}"#,
        r#"{"request":"vip_set","addresses":[],"order":"drain","force":true}"#,
        r#"{"request":"node_set","order":"drain","addresses":[]}"#,
        r#"{"request":"bgp_show","peer":"tor1","routes":true}"#,
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{line}: {error}");
    }
}

#[test]
fn the_most_addresses_fit_a_request() {
    let request = Request::VipSet {
        addresses: vec![address("2001:db8:1111:2222:3333:4444:5555:6666"); MAX_CHANGES],
        order: VipOrder::Announce,
        peers: vec!["p".repeat(63); 64],
        next_hops: vec![address("192.0.2.1"), address("2001:db8::1")],
        reason: Some("r".repeat(MAX_REASON)),
    };
    let newline = 1;
    assert!(serde_json::to_string(&request).unwrap().len() + newline <= MAX_REQUEST);
}

fn vip() -> Vip {
    Vip {
        address: address("203.0.113.10"),
        services: names(&["web"]),
        registered: false,
        state: VipState::Announced,
        since: TIME.into(),
        cause: VipCause::Serving,
        reason: None,
        installed: true,
        metric: Some(1000),
        peers: vec![],
    }
}

#[test]
fn addresses() {
    let wire = concat!(
        r#"{"address":"203.0.113.10","services":["web"],"registered":false,"state":"announced","#,
        r#""since":"2026-01-02T03:04:05.678Z","cause":{"cause":"serving"},"installed":true,"#,
        r#""metric":1000}"#
    );
    same(Response::Vips(vec![vip()]), &format!(r#"{{"response":"vips","body":[{wire}]}}"#));
    same(
        Response::VipsSet { vips: vec![vip()], changed: 1, stored: true },
        &format!(
            r#"{{"response":"vips_set","body":{{"vips":[{wire}],"changed":1,"stored":true}}}}"#
        ),
    );
    let next_hop = Some(address("192.0.2.1"));
    let peers = vec![
        VipPeer { peer: "tor1".into(), state: VipState::Draining, next_hop: None },
        VipPeer { peer: "tor2".into(), state: VipState::Announced, next_hop },
    ];
    same(
        Vip {
            services: vec![],
            registered: true,
            state: VipState::Withdrawn,
            cause: VipCause::Ordered,
            reason: Some("repair".into()),
            installed: false,
            metric: None,
            peers,
            ..vip()
        },
        concat!(
            r#"{"address":"203.0.113.10","services":[],"registered":true,"state":"withdrawn","#,
            r#""since":"2026-01-02T03:04:05.678Z","cause":{"cause":"ordered"},"reason":"repair","#,
            r#""installed":false,"peers":[{"peer":"tor1","state":"draining"},"#,
            r#"{"peer":"tor2","state":"announced","next_hop":"192.0.2.1"}]}"#
        ),
    );
}

#[test]
fn causes() {
    use VipCause::*;
    let services = names(&["web"]);
    for (cause, fields) in [
        (NoForwarder, ""),
        (ForwarderSilent, ""),
        (NotInForce, ""),
        (NotConfigured, ""),
        (InterfaceDown, ""),
        (NotAllowed, ""),
        (Ordered, ""),
        (Drained, ""),
        (NodeDrained, ""),
        (NotChecked, ""),
        (NoQuorum { services: services.clone() }, r#","services":["web"]"#),
        (Held, ""),
        (NodeDrains, ""),
        (Drains, ""),
        (KeptWithoutQuorum { services }, r#","services":["web"]"#),
        (Serving, ""),
        (Registered, ""),
    ] {
        let wire = format!(r#"{{"cause":"{}"{fields}}}"#, cause.name());
        same(cause, &wire);
    }
}

#[test]
fn names_are_those_in_messages() {
    for state in [VipState::Withdrawn, VipState::Draining, VipState::Announced] {
        same(state, &format!("\"{}\"", state.name()));
    }
    // The least that routers learn comes first.
    assert!(VipState::Withdrawn < VipState::Draining && VipState::Draining < VipState::Announced);
    use ForwarderState::*;
    for state in [Absent, Silent, Starting, Down, Well] {
        same(state, &format!("\"{}\"", state.name()));
    }
    use BgpState::*;
    for state in [Unknown, Idle, Connect, Active, OpenSent, OpenConfirm, Established] {
        same(state, &format!("\"{}\"", state.name()));
    }
    same([BgpMode::None, BgpMode::Managed, BgpMode::External], r#"["none","managed","external"]"#);
}

#[test]
fn nodes() {
    let node = Node {
        node: "lb1".into(),
        version: "0.1.0".into(),
        uptime_seconds: 61,
        forwarder: ForwarderState::Well,
        forwarder_since: TIME.into(),
        generation: 3,
        bgp: Some(BgpMode::Managed),
        drains: vec![
            NodeDrain { peer: None, since: TIME.into(), reason: Some("kernel".into()) },
            NodeDrain { peer: Some("tor1".into()), since: TIME.into(), reason: None },
        ],
        announced: 4,
        draining: 5,
        withdrawn: 6,
        restored_routes: 7,
        checks: None,
    };
    let wire = concat!(
        r#"{"node":"lb1","version":"0.1.0","uptime_seconds":61,"forwarder":"well","#,
        r#""forwarder_since":"2026-01-02T03:04:05.678Z","generation":3,"bgp":"managed","#,
        r#""drains":[{"since":"2026-01-02T03:04:05.678Z","reason":"kernel"},"#,
        r#"{"peer":"tor1","since":"2026-01-02T03:04:05.678Z"}],"#,
        r#""announced":4,"draining":5,"withdrawn":6,"restored_routes":7}"#
    );
    same(Response::Node(node.clone()), &format!(r#"{{"response":"node","body":{wire}}}"#));
    same(
        Response::NodeSet { node: node.clone(), changed: false, stored: true },
        &format!(
            r#"{{"response":"node_set","body":{{"node":{wire},"changed":false,"stored":true}}}}"#
        ),
    );
    same(
        Node { node: String::new(), generation: 0, bgp: None, drains: vec![], ..node },
        concat!(
            r#"{"node":"","version":"0.1.0","uptime_seconds":61,"forwarder":"well","#,
            r#""forwarder_since":"2026-01-02T03:04:05.678Z","generation":0,"#,
            r#""announced":4,"draining":5,"withdrawn":6,"restored_routes":7}"#
        ),
    );
}

#[test]
fn sessions() {
    let peer = BgpPeer {
        name: "tor1".into(),
        address: address("192.0.2.254"),
        remote_as: 4_200_000_000,
        local_as: 65001,
        state: BgpState::Established,
        since: TIME.into(),
        error: None,
        routes: 2,
        bfd_up: Some(true),
        notes: vec![],
    };
    let wire = concat!(
        r#""name":"tor1","address":"192.0.2.254","remote_as":4200000000,"local_as":65001,"#,
        r#""state":"established","since":"2026-01-02T03:04:05.678Z","routes":2,"bfd_up":true"#
    );
    same(
        Response::BgpPeers(vec![peer.clone()]),
        &format!(r#"{{"response":"bgp_peers","body":[{{{wire}}}]}}"#),
    );
    same(
        BgpPeer {
            state: BgpState::Active,
            error: Some("hold timer expired".into()),
            routes: 0,
            bfd_up: None,
            notes: names(&["203.0.113.9 is not in bgp.allowed"]),
            ..peer.clone()
        },
        concat!(
            r#"{"name":"tor1","address":"192.0.2.254","remote_as":4200000000,"local_as":65001,"#,
            r#""state":"active","since":"2026-01-02T03:04:05.678Z","error":"hold timer expired","#,
            r#""routes":0,"notes":["203.0.113.9 is not in bgp.allowed"]}"#
        ),
    );
    let next_hop = Some(address("192.0.2.1"));
    same(
        Response::BgpPeer(BgpDetails {
            peer,
            hold_time: 9,
            keepalive: 3,
            local_address: next_hop,
            sent: vec![
                SentRoute { address: address("203.0.113.10"), draining: false, next_hop },
                SentRoute { address: address("2001:db8::10"), draining: true, next_hop: None },
            ],
        }),
        &format!(
            concat!(
                r#"{{"response":"bgp_peer","body":{{{wire},"hold_time":9,"keepalive":3,"#,
                r#""local_address":"192.0.2.1","sent":[{{"address":"203.0.113.10","#,
                r#""draining":false,"next_hop":"192.0.2.1"}},"#,
                r#"{{"address":"2001:db8::10","draining":true}}]}}}}"#
            ),
            wire = wire
        ),
    );
}

#[test]
fn interfaces_of_forwarders() {
    use AnnouncingState::*;
    for (state, fields) in [
        (Starting, r#""state":"starting""#),
        (Up, r#""state":"up""#),
        (WorkerStalled { worker: 2 }, r#""state":"worker_stalled","worker":2"#),
        (NoLink, r#""state":"no_link""#),
        (Stopping, r#""state":"stopping""#),
        (Removed, r#""state":"removed""#),
    ] {
        assert!(fields.contains(state.name()));
        same(
            Announcing { interface: "gwvip".into(), state, dropped: 3 },
            &format!(r#"{{"interface":"gwvip",{fields},"dropped":3}}"#),
        );
    }
}

#[test]
fn events() {
    let at = address("203.0.113.10");
    let services = names(&["web"]);
    for (happening, wire) in [
        (
            Happening::AnnouncingBegan { interface: "gwvip".into() },
            r#""announcing_began","interface":"gwvip""#,
        ),
        (
            Happening::AnnouncingEnded {
                interface: "gwvip".into(),
                state: AnnouncingState::WorkerStalled { worker: 1 },
            },
            r#""announcing_ended","interface":"gwvip","state":"worker_stalled","worker":1"#,
        ),
        (
            Happening::ForwarderState { from: ForwarderState::Well, to: ForwarderState::Silent },
            r#""forwarder_state","from":"well","to":"silent""#,
        ),
        (Happening::ConfigAdopted { generation: 3 }, r#""config_adopted","generation":3"#),
        (
            Happening::VipState {
                address: at,
                from: VipState::Announced,
                to: VipState::Withdrawn,
                cause: VipCause::NoQuorum { services: services.clone() },
                reason: Some("repair".into()),
            },
            concat!(
                r#""vip_state","address":"203.0.113.10","from":"announced","to":"withdrawn","#,
                r#""cause":"no_quorum","services":["web"],"reason":"repair""#
            ),
        ),
        (Happening::VipStates { vips: 7 }, r#""vip_states","vips":7"#),
        (
            Happening::QuorumLost { address: at, services, kept: true },
            r#""quorum_lost","address":"203.0.113.10","services":["web"],"kept":true"#,
        ),
        (
            Happening::QuorumRegained { address: at },
            r#""quorum_regained","address":"203.0.113.10""#,
        ),
        (Happening::RoutesRestored { routes: 7 }, r#""routes_restored","routes":7"#),
        (Happening::RuleRestored { ipv6: true }, r#""rule_restored","ipv6":true"#),
        (
            Happening::RoutesRefused { routes: 7, error: "no".into() },
            r#""routes_refused","routes":7,"error":"no""#,
        ),
        (Happening::BgpEstablished { peer: "tor1".into() }, r#""bgp_established","peer":"tor1""#),
        (Happening::BgpLost { peer: "tor1".into(), error: None }, r#""bgp_lost","peer":"tor1""#),
        (
            Happening::BgpLost { peer: "tor1".into(), error: Some("no".into()) },
            r#""bgp_lost","peer":"tor1","error":"no""#,
        ),
        (Happening::BgpConfigured { peers: 2 }, r#""bgp_configured","peers":2"#),
        (Happening::BgpRefused { error: "no".into() }, r#""bgp_refused","error":"no""#),
        (Happening::BirdLost { error: "no".into() }, r#""bird_lost","error":"no""#),
        (Happening::BirdFound { version: "2.0.12".into() }, r#""bird_found","version":"2.0.12""#),
    ] {
        same(happening, &format!(r#"{{"event":{wire}}}"#));
    }
}
