//! Sessions of each kind.

use std::fs;
use std::time::Duration;

use guideway_api::BgpState;
use guideway_config::BgpPeer;

use crate::command::{announce, run, until};
use crate::network::with_network;
use crate::settings::{NODE4, ROUTER4, peer, router_session, router_v4};

#[test]
fn the_same_password_and_gtsm() {
    with_network(|network| {
        let items = format!(
            "local {ROUTER4} as 65000; neighbor {NODE4} as 65001; ttl security on; \
             password \"it's a # secret\";"
        );
        network.start_router(&router_session("n4", &items));
        let file = network.directory.path().join("password");
        fs::write(&file, "it's a # secret\n").unwrap();
        let signed = BgpPeer { password_file: Some(file), bfd: false, ..peer("a") };
        announce("203.0.113.1", 1000);
        network.establish(network.plan(vec![signed]), &["a"]);
        network.await_routes(&["203.0.113.1/32"]);
    });
}

#[test]
fn another_password_is_none() {
    with_network(|network| {
        let items = format!(
            "local {ROUTER4} as 65000; neighbor {NODE4} as 65001; ttl security on; \
             password \"one\";"
        );
        network.start_router(&router_session("n4", &items));
        let file = network.directory.path().join("password");
        fs::write(&file, "two").unwrap();
        let signed = BgpPeer { password_file: Some(file.clone()), bfd: false, ..peer("a") };
        network.start();
        network.want(network.plan(vec![signed]));
        network.start_bird();
        let session = network.await_error("a", &["the kernel dropped", "wrong MD5 signature"]);
        assert!(!session.error.unwrap().contains("of all sessions"));
        // The right one needs nothing but the file.
        network.forget();
        fs::write(&file, "one").unwrap();
        network.await_state("a", BgpState::Established);

        // Neither does one that the peer does not expect, or expects.
        let none = BgpPeer { password_file: None, bfd: false, ..peer("a") };
        network.configure(network.plan(vec![none]));
        network.await_error("a", &["the kernel dropped", "with an MD5 signature"]);
    });
}

#[test]
fn a_peer_without_the_password_is_told_apart() {
    with_network(|network| {
        let items =
            format!("local {ROUTER4} as 65000; neighbor {NODE4} as 65001; ttl security on;");
        network.start_router(&router_session("n4", &items));
        let file = network.directory.path().join("password");
        fs::write(&file, "two").unwrap();
        let signed = BgpPeer { password_file: Some(file), bfd: false, ..peer("a") };
        network.start();
        network.want(network.plan(vec![signed]));
        network.start_bird();
        network.await_error("a", &["the kernel dropped", "without an MD5 signature"]);
    });
}

#[test]
fn a_peer_that_sends_from_afar_is_dropped() {
    with_network(|network| {
        let items = format!("local {ROUTER4} as 65000; neighbor {NODE4} as 65001;");
        network.start_router(&router_session("n4", &items));
        network.start();
        network.want(network.plan(vec![BgpPeer { bfd: false, ..peer("a") }]));
        network.start_bird();
        let words = ["the kernel dropped", "farther away than 1 hop", "ttl_security"];
        let session = network.await_error("a", &words);
        assert_ne!(session.state, BgpState::Established);
        let open = BgpPeer { bfd: false, ttl_security: false, ..peer("a") };
        network.configure(network.plan(vec![open]));
        network.await_state("a", BgpState::Established);
    });
}

#[test]
fn a_peer_beyond_a_router_is_reached() {
    with_network(|network| {
        // The address behind the router stands for a machine there: packets come with one hop less.
        network.at_router("ip addr add 10.77.0.1/32 dev lo");
        run(&format!("ip route add 10.77.0.1 via {ROUTER4}"));
        let items = format!(
            "local 10.77.0.1 as 65000; neighbor {NODE4} as 65001; multihop 3; ttl security on; \
             bfd on;"
        );
        network.start_router(&router_session("n4", &items));
        announce("203.0.113.1", 1000);
        let far = BgpPeer {
            address: "10.77.0.1".parse().unwrap(),
            source: Some(NODE4.parse().unwrap()),
            ttl_hops: 3,
            ..peer("far")
        };
        network.establish(network.plan(vec![far]), &["far"]);
        until("the route", || {
            network.ask_router("show route all table learnt4").contains("203.0.113.1/32")
        });
        network.await_session("BFD over hops", "far", |session| session.bfd_up == Some(true));
    });
}

#[test]
fn a_hold_time_of_none_never_ends() {
    with_network(|network| {
        let items = format!(
            "local {ROUTER4} as 65000; neighbor {NODE4} as 65001; ttl security on; hold time 0;"
        );
        network.start_router(&router_session("n4", &items));
        let endless = BgpPeer { hold_time: Duration::ZERO, bfd: false, ..peer("a") };
        network.establish(network.plan(vec![endless]), &["a"]);
        let details = network.handle.as_ref().unwrap().show("a").unwrap();
        assert_eq!((details.hold_time, details.keepalive), (0, 0));
    });
}

#[test]
fn the_shorter_hold_time_is_in_force() {
    with_network(|network| {
        network.start_router(&router_v4("n4").replace("bfd on;", "hold time 6;"));
        let long = BgpPeer { hold_time: Duration::from_secs(90), bfd: false, ..peer("a") };
        network.establish(network.plan(vec![long]), &["a"]);
        let details = network.handle.as_ref().unwrap().show("a").unwrap();
        assert_eq!((details.hold_time, details.keepalive), (6, 2));
    });
}

#[test]
fn bfd_ends_a_session_whose_peer_is_gone() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        network.establish(network.plan(vec![peer("a")]), &["a"]);
        network.await_session("BFD", "a", |session| session.bfd_up == Some(true));
        network.router.as_ref().unwrap().signal(nix::sys::signal::Signal::SIGSTOP);
        let session = network.await_session("the end", "a", |s| s.state != BgpState::Established);
        assert_eq!(session.bfd_up, Some(false));
        network.await_error("a", &["BFD session down", "does not answer BFD"]);
        network.router.as_ref().unwrap().signal(nix::sys::signal::Signal::SIGCONT);
        network.await_state("a", BgpState::Established);
    });
}
