//! What others do to the routes and rules, and nothing.

use std::thread;
use std::time::{Duration, Instant};

use guideway_controller::routes::{Options, Report};

use crate::monitor::Monitor;
use crate::space::{
    INTERFACE, Metrics, Rig, in_namespace, ip, ip_batch, lines, make_interface, many, metrics,
    routes, try_ip, until,
};

/// How soon a route has to be back.
const SOON: Duration = Duration::from_secs(1);

fn some() -> Metrics {
    metrics(&[
        ("192.0.2.1", 1000),
        ("192.0.2.2", 2000),
        ("2001:db8::1", 1000),
        ("2001:db8::2", 1007),
    ])
}

#[test]
fn routes_are_installed_changed_and_withdrawn() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        let up = Report::Interface { is_up: true };
        assert_eq!(rig.reports()[0], up);
        let shown = ip("-N -o route show table 1000");
        assert!(shown.contains("192.0.2.1 dev gwvip proto 200 scope 253"), "{shown}");
        let mut other = some();
        other.insert("192.0.2.1".parse().unwrap(), 2000);
        other.remove(&"2001:db8::2".parse().unwrap());
        rig.install(&other);
        rig.install(&Metrics::new());
        assert_eq!(rig.restored(), 0, "nobody else removed any");
    });
}

#[test]
fn an_address_that_drains_always_has_a_route() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&many(200, 1000));
        let monitor = Monitor::start();
        rig.install(&many(200, 2000));
        let mut there: std::collections::BTreeMap<_, usize> =
            many(200, 1000).into_keys().map(|address| (address, 1)).collect();
        let told = monitor.lines();
        assert_eq!(told.len(), 400, "one new and one gone for each address");
        for line in told {
            // Each line begins with the kind of object.
            let line = line.replace("[ROUTE]", "");
            let is_gone = line.contains("Deleted");
            let line = line.replace("Deleted", "");
            let count = there.get_mut(&crate::space::parse(line.trim()).0).unwrap();
            if is_gone {
                *count -= 1;
            } else {
                *count += 1;
            }
            assert_ne!(*count, 0, "{line}");
        }
    });
}

#[test]
fn removed_routes_are_back_soon() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        ip("route del 192.0.2.1 table 1000");
        let took = until("one is back", || routes(1000) == some());
        assert!(took < SOON, "{took:?}");
        until("the report", || rig.restored() == 1);
        ip("route flush table 1000");
        let took = until("those of IPv4 are back", || routes(1000) == some());
        assert!(took < SOON, "{took:?}");
        ip("-6 route flush table 1000");
        let took = until("those of IPv6 are back", || routes(1000) == some());
        assert!(took < SOON, "{took:?}");
        println!("after a flush of IPv6, back after {took:?}");
        until("the report", || rig.restored() == 5);
        assert_eq!(rig.installed(), Some(some()));
    });
}

#[test]
fn a_replaced_route_is_back_beside_the_other() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        let wanted = metrics(&[("192.0.2.1", 1000)]);
        rig.install(&wanted);
        ip("route replace 192.0.2.1 dev gwvip table 1000 metric 1000 proto static");
        until("it is back", || routes(1000) == wanted);
        rig.install(&Metrics::new());
        let others = lines("route show table 1000 proto static");
        assert_eq!(others.len(), 1, "somebody else's route is not touched");
    });
}

#[test]
fn routes_of_others_stay() {
    in_namespace(|| {
        make_interface(INTERFACE);
        ip_batch(
            "route add 192.0.2.1 dev gwvip table 1000 metric 500 proto static\n\
             route add 192.0.2.9 dev gwvip table 1000 metric 1000 proto bird\n\
             route add 192.0.2.0/24 dev gwvip table 1000 proto 200\n\
             route add 192.0.2.1 dev gwvip table main\n\
             route add 2001:db8::9 dev gwvip table 1000 metric 1000 proto static\n",
        );
        let others = || {
            let mut all = lines("-N route show table 1000");
            all.extend(lines("-N -6 route show table 1000"));
            all.extend(lines("-N route show"));
            all.retain(|line| !line.contains("proto 200") || line.contains("/24"));
            all
        };
        let before = others();
        assert_eq!(before.len(), 5);
        let rig = Rig::new();
        rig.want(&some());
        until("the report", || rig.installed() == Some(some()));
        assert_eq!(others(), before);
        rig.want(&Metrics::new());
        until("the report", || rig.installed() == Some(Metrics::new()));
        assert_eq!(others(), before);
    });
}

#[test]
fn an_overrun_ends_right() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::with(Options { receive_buffer: Some(4096) });
        let wanted = many(2000, 1000);
        rig.install(&wanted);
        ip("route flush table 1000");
        ip("-6 route flush table 1000");
        let took = until("all are back", || routes(1000) == wanted);
        assert!(took < Duration::from_secs(3), "{took:?}");
        until("the report", || rig.installed().as_ref() == Some(&wanted));
    });
}

#[test]
fn the_rules_of_the_main_table_are_put_back() {
    in_namespace(|| {
        ip("rule add priority 100 from 192.0.2.0/24 lookup 77");
        let before = (lines("-N rule show"), lines("-N -6 rule show"));
        let monitor = Monitor::start();
        let rig = Rig::new();
        // It has to see the rules before they are removed.
        thread::sleep(Duration::from_millis(200));
        assert_eq!(monitor.lines(), Vec::<String>::new());
        ip("rule flush");
        let without = || -> Vec<String> {
            before.0.iter().filter(|rule| !rule.starts_with("100:")).cloned().collect()
        };
        let took = until("those of IPv4 are back", || lines("-N rule show") == without());
        assert!(took < SOON, "{took:?}");
        ip("-6 rule flush");
        let took = until("those of IPv6 are back", || lines("-N -6 rule show") == before.1);
        assert!(took < SOON, "{took:?}");
        println!("after a flush of the rules, back after {took:?}");
        until("the reports", || rig.reports().len() == 2);
        let restored = [false, true].map(|ipv6| Report::RuleRestored { ipv6 });
        assert_eq!(rig.reports(), restored);
    });
}

#[test]
fn a_rule_that_never_was_is_not_made() {
    in_namespace(|| {
        ip("rule del priority 32766");
        ip("rule add priority 100 lookup 77");
        let rig = Rig::new();
        thread::sleep(Duration::from_millis(200));
        ip("rule del priority 100");
        thread::sleep(Duration::from_millis(300));
        assert!(!ip("-N rule show").contains("lookup 254"));
        assert_eq!(rig.reports(), []);
    });
}

#[test]
fn another_rule_for_the_main_table_is_enough() {
    in_namespace(|| {
        let rig = Rig::new();
        thread::sleep(Duration::from_millis(200));
        ip("rule add priority 100 lookup main");
        ip("rule del priority 32766");
        thread::sleep(Duration::from_millis(300));
        assert!(!ip("rule show").contains("32766"));
        assert_eq!(rig.reports(), []);
    });
}

#[test]
fn nothing_is_done_if_nothing_happens() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        // The kernel itself tells of an address of the new device.
        thread::sleep(Duration::from_secs(2));
        let monitor = Monitor::start();
        rig.forget();
        // Longer than the time between two readings without a cause. The same wish again is none.
        thread::sleep(Duration::from_secs(6));
        rig.want(&some());
        thread::sleep(Duration::from_secs(6));
        assert_eq!(monitor.lines(), Vec::<String>::new());
        assert_eq!(rig.reports(), []);
        rig.install(&Metrics::new());
        assert_eq!(monitor.lines().len(), 4, "the monitor would have told");
    });
}

#[test]
fn somebody_who_never_rests_gets_no_storm() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        let wanted = metrics(&[("192.0.2.1", 1000)]);
        rig.install(&wanted);
        rig.forget();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(4) {
            try_ip("route del 192.0.2.1 table 1000");
        }
        let took = until("it is back", || routes(1000) == wanted);
        assert!(took < SOON, "{took:?}");
        let restored = rig.restored();
        assert!((4..=16).contains(&restored), "{restored} times in 4 s");
    });
}

#[test]
fn own_changes_make_nobody_wait() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        for metric in 1000..1040 {
            rig.install(&metrics(&[("192.0.2.1", metric)]));
        }
        let wanted = routes(1000);
        ip("route del 192.0.2.1 table 1000");
        let took = until("it is back", || routes(1000) == wanted);
        assert!(took < Duration::from_millis(250), "{took:?}");
    });
}

#[test]
fn what_the_kernel_refuses_is_told_once_and_tried_again() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let set = |value| {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{INTERFACE}/disable_ipv6"), value)
        };
        set("1").unwrap();
        let rig = Rig::new();
        rig.want(&some());
        let only_v4: Metrics = some().into_iter().filter(|(ip, _)| ip.is_ipv4()).collect();
        until("those of IPv4", || routes(1000) == only_v4);
        let refusals = || {
            let is_refusal = |report: &Report| matches!(report, Report::Refused { .. });
            rig.reports().into_iter().filter(is_refusal).collect::<Vec<_>>()
        };
        until("the report", || !refusals().is_empty());
        let [Report::Refused { routes: 2, error }] = &refusals()[..] else {
            panic!("{:?}", refusals());
        };
        assert!(error.contains("IPv6 is disabled on nexthop device"), "{error}");
        let mut more = some();
        more.extend(metrics(&[("192.0.2.9", 1000), ("2001:db8::9", 1000)]));
        rig.want(&more);
        until("one more of IPv4", || routes(1000).contains_key(&"192.0.2.9".parse().unwrap()));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(refusals().len(), 1, "{:?}", rig.reports());
        set("0").unwrap();
        rig.want(&some());
        until("those of IPv6", || routes(1000) == some());
        // Once they are taken, another refusal is news.
        set("1").unwrap();
        rig.want(&more);
        until("another report", || refusals().len() == 2);
    });
}
