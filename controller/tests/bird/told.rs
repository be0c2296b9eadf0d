//! What peers are told of routes, and how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guideway_api::{BgpState, VipState};
use guideway_config::{Bgp, BgpPeer, Community, Family};
use guideway_controller::announce::{Handling, Handlings};

use crate::command::{announce, change, run, run_batch, until, withdraw};
use crate::network::with_network;
use crate::settings::{NODE4, NODE6, ROUTER4, ROUTER6, classes, peer, router_session, router_v4};

fn handlings(of: &[(&str, VipState, Option<&str>)]) -> Handlings {
    let handling = |state, hop: Option<&str>| Handling {
        state,
        next_hop: hop.map(|hop| hop.parse().unwrap()),
    };
    of.iter().map(|&(peer, state, hop)| (peer.to_owned(), handling(state, hop))).collect()
}

#[test]
fn a_session_of_each_family_and_what_is_told() {
    with_network(|network| {
        let v6 = format!(
            "local {ROUTER6} as 65000; neighbor {NODE6} as 65001; ttl security on; bfd on;"
        );
        network.start_router(&format!("{}{}", router_v4("n4"), router_session("n6", &v6)));
        let six = BgpPeer {
            address: ROUTER6.parse().unwrap(),
            communities: vec![Community::Standard(65001, 7), Community::Large(65001, 1, 2)],
            med: 5,
            prepend: 1,
            ..peer("six")
        };
        announce("203.0.113.1", 1000);
        announce("2001:db8:f::1", 1000);
        // None of these is a route of an address that may be announced.
        announce("198.51.100.1", 1000);
        announce("2001:db8:e::1", 1000);
        announce("203.0.113.2", 999);
        announce("203.0.113.3", 1001);
        announce("203.0.113.4", 3000);
        run("ip route add 203.0.113.5 dev gwvip table 1000 proto static metric 1000");
        run("ip route add 203.0.113.6 dev n0 table 1000 proto 200 metric 1000");
        run("ip route add 203.0.113.128/25 dev gwvip table 1000 proto 200 metric 1000");
        run("ip route add 203.0.113.7 dev gwvip proto 200 metric 1000");
        let plan = network.plan(vec![peer("four"), six]);
        network.establish(plan, &["four", "six"]);
        let told = ["2001:db8:f::1/128", "203.0.113.1/32"];
        network.await_routes(&told);
        let text = network.attributes("203.0.113.1/32");
        for words in ["BGP.next_hop: 10.9.1.1\n", "BGP.as_path: 65001\n", "BGP.med: 0\n"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert!(!text.contains("community"), "{text}");
        let text = network.attributes("2001:db8:f::1/128");
        for words in [
            "BGP.next_hop: fd09:1::1",
            "BGP.as_path: 65001 65001\n",
            "BGP.med: 5\n",
            "BGP.community: (65001,7)\n",
            "BGP.large_community: (65001, 1, 2)\n",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        // BFD begins a moment after the session.
        let session = network.await_session("BFD", "six", |session| session.bfd_up == Some(true));
        assert_eq!((session.routes, session.error), (1, None));

        let details = network.handle.as_ref().unwrap().show("six").unwrap();
        assert_eq!(details.local_address, Some(NODE6.parse().unwrap()));
        assert_eq!((details.hold_time, details.keepalive), (9, 3));
        let [route] = &details.sent[..] else { panic!("{details:?}") };
        assert_eq!(route.address.to_string(), "2001:db8:f::1");
        assert_eq!((route.draining, route.next_hop), (false, Some(NODE6.parse().unwrap())));

        change("2001:db8:f::1", 1000, 2000);
        let text = network.await_attributes("2001:db8:f::1/128", &["(65535,0)"]);
        for words in [
            "BGP.as_path: 65001 65001 65001 65001 65001\n",
            "BGP.med: 1005\n",
            "BGP.community: (65001,7) (65535,0)\n",
            "BGP.large_community: (65001, 1, 2)\n",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let details = network.handle.as_ref().unwrap().show("six").unwrap();
        assert!(details.sent[0].draining, "{details:?}");
        withdraw("2001:db8:f::1", 2000);
        network.await_routes(&told[1..]);
        // The routes die with the interface.
        run("ip link del gwvip");
        network.await_routes(&[]);
        network.await_session("no route sent", "four", |session| session.routes == 0);
        assert!(network.handle.as_ref().unwrap().show("five").unwrap_err().contains("five"));
    });
}

#[test]
fn both_families_over_one_session_and_next_hops_of_others() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        let both = BgpPeer {
            families: vec![Family::V4, Family::V6],
            next_hops: vec!["10.9.1.77".parse().unwrap(), "fd09:1::77".parse().unwrap()],
            ..peer("both")
        };
        announce("203.0.113.1", 1000);
        announce("203.0.113.2", 1001);
        announce("2001:db8:f::1", 1000);
        announce("2001:db8:f::2", 1002);
        let mut plan = network.plan(vec![both]);
        plan.classes = classes(vec![
            (1, handlings(&[("both", VipState::Announced, Some("10.9.1.78"))])),
            (2, handlings(&[("both", VipState::Announced, Some("fd09:1::78"))])),
        ]);
        network.establish(plan, &["both"]);
        network.await_routes(&[
            "2001:db8:f::1/128",
            "2001:db8:f::2/128",
            "203.0.113.1/32",
            "203.0.113.2/32",
        ]);
        for (prefix, hop) in [
            ("203.0.113.1/32", "10.9.1.77"),
            ("203.0.113.2/32", "10.9.1.78"),
            // Alone: with a link-local address beside it, the router would take that.
            ("2001:db8:f::1/128", "fd09:1::77"),
            ("2001:db8:f::2/128", "fd09:1::78"),
        ] {
            let text = network.attributes(prefix);
            assert!(text.contains(&format!("BGP.next_hop: {hop}\n")), "{text}");
            assert!(text.contains(&format!("via {hop} on r0")), "{text}");
        }
        let sent = network.handle.as_ref().unwrap().show("both").unwrap().sent;
        let hops: Vec<String> = sent.iter().map(|r| r.next_hop.unwrap().to_string()).collect();
        assert_eq!(hops, ["10.9.1.77", "10.9.1.78", "fd09:1::77", "fd09:1::78"]);
    });
}

#[test]
fn the_nodes_own_next_hop_for_ipv6_over_ipv4_is_enough() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        let both = BgpPeer {
            families: vec![Family::V4, Family::V6],
            next_hops: vec![NODE6.parse().unwrap()],
            ..peer("both")
        };
        announce("203.0.113.1", 1000);
        announce("2001:db8:f::1", 1000);
        network.establish(network.plan(vec![both]), &["both"]);
        network.await_routes(&["2001:db8:f::1/128", "203.0.113.1/32"]);
        network.await_attributes("2001:db8:f::1/128", &["via fd09:1::1 on r0"]);
        network.await_attributes("203.0.113.1/32", &["via 10.9.1.1 on r0"]);
    });
}

#[test]
fn an_order_for_one_peer_is_not_for_the_others() {
    with_network(|network| {
        let b = network.start_two();
        let mut plan = network.plan(vec![peer("a"), b]);
        announce("203.0.113.1", 1000);
        network.establish(plan.clone(), &["a", "b"]);
        network.await_routes(&["203.0.113.1/32"]);
        let before = network.updates("n1");

        plan.classes = classes(vec![
            (1, handlings(&[("b", VipState::Withdrawn, None)])),
            (2, handlings(&[("b", VipState::Draining, None)])),
            (3, handlings(&[("a", VipState::Announced, None), ("b", VipState::Draining, None)])),
        ]);
        network.configure(plan);
        let other =
            |prefix: &str| network.ask_router(&format!("show route {prefix} all table other4"));
        change("203.0.113.1", 1000, 1001);
        until("b has it no more", || !other("203.0.113.1/32").contains("203.0.113.1/32"));
        assert_eq!(network.routes(), ["203.0.113.1/32"]);
        change("203.0.113.1", 1001, 1002);
        until("b has it as a last resort", || other("203.0.113.1/32").contains("(65535,0)"));
        assert!(!network.attributes("203.0.113.1/32").contains("community"));
        // Even if the metric says it of all others.
        change("203.0.113.1", 1002, 2003);
        until("b has it still", || other("203.0.113.1/32").contains("BGP.med: 1000"));
        assert!(!network.attributes("203.0.113.1/32").contains("community"));
        // New classes alone have nothing sent again: each change of the metric is one update.
        let after = network.updates("n1");
        assert!(after - before <= 3, "{before} {after}");
        for (peer, is) in [("a", false), ("b", true)] {
            let sent = network.handle.as_ref().unwrap().show(peer).unwrap().sent;
            assert_eq!(sent[0].draining, is, "{peer}: {sent:?}");
        }
    });
}

#[test]
fn inside_of_an_as_the_preference_drains() {
    with_network(|network| {
        let session = format!("local {ROUTER4} as 65001; neighbor {NODE4} as 65001; direct;");
        network.start_router(&router_session("n4", &session));
        let internal = BgpPeer {
            remote_as: 65001,
            prepend: 2,
            med: 3,
            ttl_security: false,
            bfd: false,
            ..peer("rr")
        };
        announce("203.0.113.1", 1000);
        network.establish(network.plan(vec![internal]), &["rr"]);
        let text = network.await_attributes("203.0.113.1/32", &["BGP.local_pref: 100\n"]);
        assert!(text.contains("BGP.as_path: \n") && text.contains("BGP.med: 3\n"), "{text}");
        change("203.0.113.1", 1000, 2000);
        let text = network.await_attributes("203.0.113.1/32", &["BGP.local_pref: 0\n"]);
        assert!(text.contains("BGP.as_path: \n") && text.contains("(65535,0)"), "{text}");
    });
}

#[test]
fn changed_attributes_are_sent_without_a_new_session() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        announce("203.0.113.1", 1000);
        announce("203.0.113.2", 1000);
        let plan = network.plan(vec![peer("a")]);
        network.establish(plan.clone(), &["a"]);
        network.await_routes(&["203.0.113.1/32", "203.0.113.2/32"]);
        let since = network.session("a").unwrap().since;

        let with_med = network.plan(vec![BgpPeer { med: 9, ..peer("a") }]);
        network.configure(with_med.clone());
        network.await_attributes("203.0.113.1/32", &["BGP.med: 9\n"]);
        let narrow =
            Bgp { allowed: vec!["203.0.113.2/32".parse().unwrap()], ..(*with_med.bgp).clone() };
        network.configure(guideway_controller::bird::Plan {
            bgp: Arc::new(narrow),
            classes: BTreeMap::new(),
            ..with_med
        });
        network.await_routes(&["203.0.113.2/32"]);
        let session = network.await_session("one route", "a", |session| session.routes == 1);
        assert_eq!((session.state, session.since), (BgpState::Established, since));
    });
}

#[test]
fn two_thousand_addresses_come_drain_and_go() {
    with_network(|network| {
        network.start_router(&router_v4("n1"));
        network.establish(network.plan(vec![peer("a")]), &["a"]);
        let addresses = || (0..2000).map(|n| format!("203.0.{}.{}", 112 + n / 250, n % 250 + 1));
        let narrow = network.plan(vec![peer("a")]);
        let wide =
            Bgp { allowed: vec!["203.0.112.0/20".parse().unwrap()], ..(*narrow.bgp).clone() };
        network.configure(guideway_controller::bird::Plan { bgp: Arc::new(wide), ..narrow });
        let batch = |verb: &str, metric: u32| {
            addresses()
                .map(|address| {
                    format!(
                        "route {verb} {address} dev gwvip table 1000 proto 200 metric {metric}\n"
                    )
                })
                .collect::<String>()
        };
        let handle = network.handle.as_ref().unwrap();
        let draining = || {
            let sent = handle.show("a").unwrap().sent;
            (sent.len(), sent.iter().filter(|route| route.draining).count())
        };
        let times = [
            run_batch(&batch("add", 1000)) + until("all are announced", || draining() == (2000, 0)),
            run_batch(&(batch("append", 2000) + &batch("del", 1000)))
                + until("all drain", || draining() == (2000, 2000)),
            run_batch(&batch("del", 2000)) + until("all are gone", || draining() == (0, 0)),
        ];
        println!("announced, draining and gone after {times:?}");
        network.await_routes(&[]);
        assert!(times.iter().all(|time| *time < Duration::from_secs(5)), "{times:?}");
    });
}
