//! Sessions that are not established, and what is said of them.

use guideway_api::BgpState;
use guideway_config::BgpPeer;

use crate::command::announce;
use crate::network::with_network;
use crate::settings::{NODE4, ROUTER4, peer, router_session, router_v4};

#[test]
fn another_as_number_is_named_by_either_end() {
    with_network(|network| {
        let items =
            format!("local {ROUTER4} as 65000; neighbor {NODE4} as 65009; ttl security on;");
        network.start_router(&router_session("n4", &items));
        network.start();
        network.want(network.plan(vec![BgpPeer { bfd: false, ..peer("a") }]));
        network.start_bird();
        network.await_error("a", &["Received: Bad peer AS", "this node than 65001"]);
        let right = BgpPeer { bfd: false, local_as: Some(65009), ..peer("a") };
        network.configure(network.plan(vec![right.clone()]));
        assert_eq!(network.await_state("a", BgpState::Established).local_as, 65009);
        let wrong = BgpPeer { remote_as: 65008, ..right };
        network.configure(network.plan(vec![wrong]));
        network.await_error("a", &["BGP Error: Bad peer AS", "than bgp.peer.as, 65008"]);
    });
}

#[test]
fn a_router_without_bgp_refuses_and_one_that_is_not_there_is_silent() {
    with_network(|network| {
        network.start();
        let nobody = BgpPeer { address: "10.9.1.66".parse().unwrap(), bfd: false, ..peer("b") };
        let elsewhere = BgpPeer { address: "10.66.1.6".parse().unwrap(), bfd: false, ..peer("c") };
        let refusing = BgpPeer { bfd: false, ..peer("a") };
        network.want(network.plan(vec![refusing, nobody, elsewhere]));
        network.start_bird();
        network.await_error("a", &["Connection refused", "no BGP on port 179"]);
        network.await_error("b", &["10.9.1.66", "no "]);
        // The node has no address in that network.
        network.await_error("c", &["10.66.1.6"]);
        for peer in ["a", "b", "c"] {
            assert_ne!(network.session(peer).unwrap().state, BgpState::Established);
        }
    });
}

#[test]
fn what_an_operator_says_reaches_the_other() {
    with_network(|network| {
        network.start_router(&router_v4("n4"));
        announce("203.0.113.1", 1000);
        network.establish(network.plan(vec![BgpPeer { bfd: false, ..peer("a") }]), &["a"]);
        network.ask_router("disable n4 \"change-77\"");
        network.await_session("the end", "a", |s| s.state != BgpState::Established);
        let session = network.await_error("a", &["Administrative shutdown", "change-77"]);
        assert_eq!(session.routes, 0);
    });
}
