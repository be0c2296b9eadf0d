//! What operators order.

use std::time::{Duration, Instant};

use guideway_api::{
    ErrorKind, Happening, NodeOrder, Request, Response, VipCause, VipOrder, VipState,
};
use guideway_client::Error;
use nix::sys::signal::Signal;

use crate::forwarder::{ANNOUNCE, Forwarder};
use crate::rig::{Controller, Node0, vip_set};
use crate::space::{INTERFACE, Metrics, in_namespace, make_interface, metrics, routes, until};

const WEB: &str = "203.0.113.10";
const DNS: &str = "2001:db8:f::53";
const ALONE: &str = "203.0.113.99";

/// Runs a test with a forwarder that is well and a controller that has announced both addresses.
fn announced(announce: &str, test: impl FnOnce(&Node0, &Forwarder, Controller<'_>) + Send) {
    in_namespace(|| {
        let node = Node0::new();
        make_interface(INTERFACE);
        let forwarder = Forwarder::start(&node.path("forwarder.sock"), announce);
        let controller = node.start();
        controller.until_routes(&metrics(&[(WEB, 1000), (DNS, 1000)]));
        test(&node, &forwarder, controller);
    });
}

fn refusal(answer: Result<Response, Error>) -> guideway_api::Error {
    let Err(Error::Refused(error)) = answer else { panic!("{answer:?}") };
    error
}

#[test]
fn the_kernel_has_an_order_when_it_is_answered() {
    announced(ANNOUNCE, |_, _, controller| {
        let (vips, changed) = controller.order(VipOrder::Drain, &[WEB]);
        assert_eq!(routes(1000), metrics(&[(WEB, 2000), (DNS, 1000)]));
        assert_eq!((changed, vips.len(), vips[0].state), (1, 1, VipState::Draining));
        assert_eq!((vips[0].installed, vips[0].reason.as_deref()), (true, Some("a test")));
        // The same again changes nothing.
        assert_eq!(controller.order(VipOrder::Drain, &[WEB]).1, 0);
        // Its time is a second.
        controller.until_routes(&metrics(&[(DNS, 1000)]));
        assert_eq!(controller.vip(WEB).unwrap().cause, VipCause::Drained);
        controller.order(VipOrder::Undrain, &[WEB]);
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]));
        controller.order(VipOrder::Withdraw, &[WEB, DNS]);
        assert_eq!(routes(1000), Metrics::new());
        controller.order(VipOrder::Announce, &[DNS, WEB, ALONE]);
        let all = metrics(&[(WEB, 1000), (DNS, 1000), (ALONE, 1000)]);
        assert_eq!(routes(1000), all);
        let alone = controller.vip(ALONE).unwrap();
        assert!(alone.registered && alone.cause == VipCause::Registered);
        let (vips, _) = controller.order(VipOrder::Withdraw, &[ALONE]);
        assert_eq!((vips[0].state, vips[0].installed), (VipState::Withdrawn, true));
        assert_eq!(controller.vip(ALONE), None);
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]));
        let changes = controller.events();
        let changes = changes.iter().filter_map(|event| match &event.happening {
            Happening::Changed { request, before, after, reason, .. } => {
                assert_eq!((request.as_str(), reason.as_deref()), ("vip_set", Some("a test")));
                Some((before.as_str(), after.as_str()))
            }
            _ => None,
        });
        let changes: Vec<_> = changes.collect();
        assert_eq!(changes[0], ("203.0.113.10 announced", "203.0.113.10 draining"));
        assert_eq!(changes.len(), 6);
    });
}

#[test]
fn orders_outlive_a_kill() {
    announced(ANNOUNCE, |node, _, controller| {
        controller.order(VipOrder::Announce, &[ALONE]);
        controller.order(VipOrder::Withdraw, &[DNS]);
        let drain = Request::NodeSet {
            order: NodeOrder::Drain,
            peers: vec![],
            reason: Some("power".to_owned()),
        };
        let answer = controller.ask(&drain).unwrap();
        let Response::NodeSet { node: shown, changed: true, stored: true } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((shown.draining, shown.withdrawn, shown.drains.len()), (2, 1, 1));
        assert_eq!(routes(1000), metrics(&[(WEB, 2000), (ALONE, 2000)]));
        controller.end(Signal::SIGKILL);
        let controller = node.start();
        controller.until_routes(&Metrics::new());
        until("all is known", || controller.vips().len() == 3);
        assert_eq!(controller.vip(WEB).unwrap().cause, VipCause::NodeDrained);
        assert_eq!(controller.vip(DNS).unwrap().cause, VipCause::Ordered);
        let undrain = Request::NodeSet { order: NodeOrder::Undrain, peers: vec![], reason: None };
        controller.ask(&undrain).unwrap();
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (ALONE, 1000)]));
    });
}

#[test]
fn a_quorum_that_is_lost_is_an_event_and_withdraws_if_it_is_to() {
    announced(ANNOUNCE, |_, forwarder, controller| {
        forwarder.serve(&["web", "dns"]);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(controller.count("quorum_lost"), 0, "one of two serves, and any is enough");
        forwarder.serve(&["dns"]);
        until("it is kept", || {
            let vip = controller.vip(WEB).unwrap();
            matches!(vip.cause, VipCause::KeptWithoutQuorum { services } if services.len() == 2)
        });
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]));
        assert_eq!(controller.count("quorum_lost"), 1);
        forwarder.reload(&format!("{ANNOUNCE}on_quorum_loss = \"withdraw\"\n"));
        controller.until_routes(&metrics(&[(DNS, 1000)]));
        forwarder.serve(&["dns", "web-tls"]);
        controller.until_routes(&metrics(&[(WEB, 1000), (DNS, 1000)]));
        assert_eq!(controller.count("quorum_regained"), 1);
    });
}

#[test]
fn what_cannot_be_carried_out_is_refused_in_words() {
    let announce = format!("{ANNOUNCE}[bgp]\nallowed = [\"203.0.113.0/26\", \"2001:db8::/32\"]\n");
    announced(&announce, |node, _, controller| {
        let error = refusal(controller.ask(&vip_set(VipOrder::Announce, &[ALONE])));
        assert_eq!(error.kind, ErrorKind::Rejected);
        assert!(error.message.contains("bgp.allowed"), "{error:?}");
        let mut request = vip_set(VipOrder::Drain, &[WEB]);
        if let Request::VipSet { peers, .. } = &mut request {
            peers.push("tor9".to_owned());
        }
        assert_eq!(refusal(controller.ask(&request)).kind, ErrorKind::NotFound);
        let error = refusal(controller.ask(&Request::BgpList {}));
        assert!(error.message.contains("announce.bgp"), "{error:?}");
        // The forwarder's requests are the forwarder's.
        let error = refusal(controller.ask(&Request::Status {}));
        assert!(error.message.contains("is for guideway"), "{error:?}");
        // At the other socket clients only read.
        let drain = vip_set(VipOrder::Drain, &[WEB]);
        let error = refusal(node.ask_at("read.sock", &drain));
        assert_eq!(error.kind, ErrorKind::Forbidden);
        assert!(matches!(node.ask_at("read.sock", &Request::VipList {}), Ok(Response::Vips(_))));
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]));
        let level = Request::LogLevel { level: None, reason: None };
        assert!(matches!(controller.ask(&level), Ok(Response::LogLevel { .. })));
        assert_eq!(controller.count("changed"), 3);
    });
}

#[test]
fn an_order_for_addresses_waits_for_a_configuration() {
    in_namespace(|| {
        let node = Node0::new();
        let controller = node.start();
        let error = refusal(controller.ask(&vip_set(VipOrder::Withdraw, &[WEB])));
        assert_eq!(error.kind, ErrorKind::Failed);
        // The node can be drained before its forwarder starts.
        let drain = Request::NodeSet { order: NodeOrder::Drain, peers: vec![], reason: None };
        assert!(matches!(controller.ask(&drain), Ok(Response::NodeSet { changed: true, .. })));
        make_interface(INTERFACE);
        let _forwarder =
            Forwarder::start(&node.path("forwarder.sock"), "[announce]\ndrain_time = 3600\n");
        controller.until_routes(&metrics(&[(WEB, 2000), (DNS, 2000)]));
    });
}

#[test]
fn two_thousand_addresses_are_ordered_at_once() {
    announced("[announce]\nhold = 0\ndrain_time = 3600\n", |_, _, controller| {
        let addresses: Vec<String> =
            (0..2000).map(|n| format!("198.18.{}.{}", n / 250, n % 250)).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        for (order, metric) in [
            (VipOrder::Announce, Some(1000)),
            (VipOrder::Drain, Some(2000)),
            (VipOrder::Withdraw, None),
        ] {
            let begin = Instant::now();
            let (vips, changed) = controller.order(order, &addresses);
            let took = begin.elapsed();
            eprintln!("{}: {} addresses in {took:?}", order.name(), addresses.len());
            assert_eq!((vips.len(), changed), (2000, 2000));
            assert!(vips.iter().all(|vip| vip.installed && vip.metric == metric));
            let others = routes(1000).into_values().filter(|&it| Some(it) == metric).count();
            assert!(metric.is_none() || others >= 2000, "{others}");
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
        assert_eq!(routes(1000), metrics(&[(WEB, 1000), (DNS, 1000)]));
    });
}
