//! The rules and routes by which probes leave the node, and what others do to them.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use guideway_controller::routes::{Probes, Report};

use crate::monitor::Monitor;
use crate::space::{
    INTERFACE, Rig, in_namespace, ip, ip_batch, lines, make_interface, metrics, routes, try_ip,
    until,
};

/// How soon what is missing has to be back.
const SOON: Duration = Duration::from_secs(1);
const DEVICE: &str = "gwcheck";
const SOURCES: [&str; 3] = ["198.51.100.1", "198.51.100.2", "2001:db8:c::1"];

fn probes(table: u32, sources: &[&str]) -> Option<Probes> {
    let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
    Some(Probes { interface: DEVICE.to_owned(), table, sources })
}

/// The rules of protocol 200, by iproute2: what it prints after `from`.
fn rules() -> Vec<String> {
    let mut all = lines("-N rule show");
    all.extend(lines("-N -6 rule show"));
    all.retain(|line| line.ends_with("proto 200"));
    all.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn expected_rules(table: u32, sources: &[&str]) -> Vec<String> {
    let rule = |source| format!("1000: from {source} lookup {table} proto 200");
    let mut rules: Vec<_> = sources.iter().map(rule).collect();
    // Rules of one priority are in the order in which they came.
    rules.sort_unstable();
    rules
}

/// The default routes in a table, by iproute2: the beginning of what it prints.
fn defaults(table: u32) -> Vec<String> {
    let mut all = lines(&format!("-4 route show table {table} proto 200"));
    all.extend(lines(&format!("-6 route show table {table} proto 200")));
    all
}

/// Whether everything is as it should be. `is_up`: the interface.
fn is_right(table: u32, sources: &[&str], is_up: bool) -> bool {
    let mut found = rules();
    found.sort_unstable();
    let defaults = defaults(table);
    let by_device = defaults.iter().filter(|line| line.starts_with("default dev gwcheck ")).count();
    let is_last = |line: &&String| {
        line.starts_with("unreachable default ") && line.contains("metric 4294967295")
    };
    let nowhere = defaults.iter().filter(is_last).count();
    let families = [false, true]
        .iter()
        .filter(|&&v6| sources.iter().any(|source| source.contains(':') == v6))
        .count();
    found == expected_rules(table, sources)
        && nowhere == families
        && by_device == if is_up { families } else { 0 }
        && defaults.len() == nowhere + by_device
}

fn ready(rig: &Rig) -> Vec<bool> {
    let of = |report| match report {
        Report::ProbesReady { is_ready } => Some(is_ready),
        _ => None,
    };
    rig.reports().into_iter().filter_map(of).collect()
}

/// How many rules and routes were reported as put back.
fn restored(rig: &Rig) -> (usize, usize) {
    let mut sum = (0, 0);
    for report in rig.reports() {
        if let Report::ProbesRestored { rules, routes } = report {
            sum = (sum.0 + rules, sum.1 + routes);
        }
    }
    sum
}

/// A node whose probes are as they should be.
fn settled() -> Rig {
    make_interface(DEVICE);
    let rig = Rig::new();
    rig.handle.want_probes(probes(1001, &SOURCES));
    until("the probes' way", || is_right(1001, &SOURCES, true));
    until("the report", || ready(&rig) == [true]);
    rig
}

#[test]
fn a_source_goes_by_the_interface_or_nowhere() {
    in_namespace(|| {
        let rig = settled();
        ip("address add 198.51.100.1/32 dev gwcheck");
        ip("address add 198.51.100.9/32 dev gwcheck");
        ip("tuntap add dev other mode tun");
        ip("link set other up");
        ip("route add default dev other");
        let way = ip("route get 203.0.113.1 from 198.51.100.1");
        assert!(way.contains("dev gwcheck table 1001"), "{way}");
        let way = ip("route get 203.0.113.1 from 198.51.100.9");
        assert!(way.contains("dev other"), "another source goes as ever: {way}");
        ip("link del gwcheck");
        assert!(!try_ip("route get 203.0.113.1 from 198.51.100.1"), "not by the main table");
        until("the report", || ready(&rig) == [true, false]);
        assert!(is_right(1001, &SOURCES, false));
        drop(rig);
        assert!(is_right(1001, &SOURCES, false), "they stay");
    });
}

#[test]
fn what_others_remove_is_back_soon() {
    in_namespace(|| {
        let rig = settled();
        for (command, v6) in [
            ("rule flush", false),
            ("-6 rule flush", true),
            ("route flush table 1001", false),
            ("-6 route flush table 1001", true),
            ("rule del from 198.51.100.1 table 1001", false),
            ("route del unreachable default metric 4294967295 table 1001", false),
            ("-6 route del default dev gwcheck table 1001", true),
        ] {
            rig.forget();
            ip(command);
            let took = until(command, || is_right(1001, &SOURCES, true));
            assert!(took < SOON, "{command}: {took:?}");
            println!("after ip {command}: back after {took:?}");
            let (rules, routes) = match (command.contains("rule"), command.contains("flush"), v6) {
                (true, true, false) => (2, 0),
                (true, ..) => (1, 0),
                (false, true, false) => (0, 2),
                // iproute2 spares IPv6's default route to nowhere.
                (false, ..) => (0, 1),
            };
            // A flush goes on until it finds nothing, and may remove again what is back.
            until("the report", || {
                let (again, anew) = restored(&rig);
                again >= rules && anew >= routes && (again > 0) == (rules > 0)
            });
            assert!(ready(&rig).is_empty(), "it is put back at once");
        }
        // Much at once, and all the time.
        for _ in 0..50 {
            ip_batch("rule flush\nroute flush table 1001\n");
        }
        let took = until("all is back", || is_right(1001, &SOURCES, true));
        assert!(took < SOON, "{took:?}");
        assert!(ip("rule show").contains("lookup main"));
    });
}

#[test]
fn the_interface_comes_and_goes() {
    in_namespace(|| {
        let rig = Rig::new();
        rig.handle.want_probes(probes(1001, &SOURCES));
        until("the way to nowhere", || is_right(1001, &SOURCES, false));
        until("the report", || ready(&rig) == [false]);
        make_interface(DEVICE);
        let took = until("the way", || is_right(1001, &SOURCES, true));
        println!("after the interface is up, the routes after {took:?}");
        until("the report", || ready(&rig) == [false, true]);
        ip("link set gwcheck down");
        until("the report", || ready(&rig) == [false, true, false]);
        ip("link set gwcheck up");
        assert!(until("the way", || is_right(1001, &SOURCES, true)) < SOON);
        // So fast that the thread sees no difference of the link.
        ip_batch(&"link set gwcheck down\nlink set gwcheck up\n".repeat(3));
        assert!(until("the way", || is_right(1001, &SOURCES, true)) < SOON);
        // Another device of the name, so fast that the thread does not see the difference.
        ip_batch("link del gwcheck\ntuntap add dev gwcheck mode tun\nlink set gwcheck up\n");
        assert!(until("the way", || is_right(1001, &SOURCES, true)) < SOON);
        // The last address goes, and the kernel removes IPv4's routes with it, in silence.
        ip("address add 198.51.100.1/32 dev gwcheck");
        until("the way", || is_right(1001, &SOURCES, true));
        thread::sleep(Duration::from_millis(600));
        assert_eq!(restored(&rig), (0, 0), "the link took them along, and nobody removed them");
        ip("address flush dev gwcheck");
        let took = until("the report", || restored(&rig).1 > 0);
        assert!(took < SOON, "{took:?}");
        assert!(until("the way", || is_right(1001, &SOURCES, true)) < SOON);
        assert_eq!(restored(&rig).0, 0);
    });
}

#[test]
fn sources_and_tables_change_and_go() {
    in_namespace(|| {
        let rig = settled();
        let other = ["198.51.100.2", "198.51.100.7"];
        rig.handle.want_probes(probes(1001, &other));
        until("other sources", || is_right(1001, &other, true));
        rig.handle.want_probes(probes(1002, &other));
        until("another table", || is_right(1002, &other, true) && defaults(1001).is_empty());
        drop(rig);
        // The next controller has never heard of the table.
        let rig = Rig::new();
        rig.handle.want_probes(probes(1001, &SOURCES));
        until("the way", || is_right(1001, &SOURCES, true) && defaults(1002).is_empty());
        rig.handle.want_probes(None);
        until("nothing", || rules().is_empty() && defaults(1001).is_empty());
        drop(rig);
        let rig = Rig::new();
        rig.handle.want_probes(probes(1001, &SOURCES));
        until("the way", || is_right(1001, &SOURCES, true));
        drop(rig);
        // An earlier run's go, too.
        let rig = Rig::new();
        rig.handle.want_probes(None);
        until("nothing", || rules().is_empty() && defaults(1001).is_empty());
        assert_eq!(restored(&rig), (0, 0));
    });
}

#[test]
fn before_the_first_wish_nothing_is_touched() {
    in_namespace(|| {
        drop(settled());
        let monitor = Monitor::start();
        let rig = Rig::new();
        rig.want(&metrics(&[]));
        thread::sleep(Duration::from_millis(300));
        assert!(is_right(1001, &SOURCES, true));
        // The same as there is, is no change.
        rig.handle.want_probes(probes(1001, &SOURCES));
        until("the report", || ready(&rig) == [true]);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(monitor.lines(), Vec::<String>::new());
    });
}

#[test]
fn rules_and_routes_of_others_stay() {
    in_namespace(|| {
        make_interface(DEVICE);
        ip_batch(
            "rule add from 198.51.100.1 lookup 1001 priority 1000 proto static\n\
             rule add from 198.51.100.1 lookup 1001 priority 999 proto 200\n\
             rule add from 198.51.100.0/24 lookup 1001 priority 1000 proto 200\n\
             rule add from 198.51.100.3 iif lo lookup 1001 priority 1000 proto 200\n\
             rule add from 198.51.100.9 lookup main priority 1000 proto 200\n\
             route add default dev gwcheck metric 1 proto 200\n\
             route add default dev gwcheck table 1001 metric 7 proto static\n\
             route add unreachable default table 1003 metric 8 proto 200\n\
             route add 203.0.113.0/24 dev gwcheck table 1001 proto 200\n",
        );
        let all = || {
            let mut all = lines("-N rule show");
            all.extend(lines("-4 -N route show table all"));
            all.sort_unstable();
            all
        };
        let before = all();
        let rig = Rig::new();
        rig.handle.want_probes(probes(1001, &SOURCES));
        until("the report", || ready(&rig) == [true]);
        assert_eq!(all().len(), before.len() + 4, "two rules and two routes of IPv4");
        rig.handle.want_probes(None);
        until("the probes' go", || all() == before);
    });
}

#[test]
fn nothing_is_done_if_nothing_happens() {
    in_namespace(|| {
        let rig = settled();
        // The kernel itself tells of an address of the new device.
        thread::sleep(Duration::from_secs(2));
        let monitor = Monitor::start();
        rig.forget();
        // Longer than the time between two readings without a cause.
        thread::sleep(Duration::from_secs(11));
        rig.handle.want_probes(probes(1001, &SOURCES));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(monitor.lines(), Vec::<String>::new());
        assert_eq!(rig.reports(), []);
    });
}

#[test]
fn what_the_kernel_refuses_is_told_once() {
    in_namespace(|| {
        make_interface(DEVICE);
        let set =
            |value| std::fs::write(format!("/proc/sys/net/ipv6/conf/{DEVICE}/disable_ipv6"), value);
        set("1").unwrap();
        let rig = Rig::new();
        rig.handle.want_probes(probes(1001, &SOURCES));
        let refusals = || {
            let is_refusal = |report: &Report| matches!(report, Report::ProbesRefused { .. });
            rig.reports().into_iter().filter(is_refusal).count()
        };
        until("the report", || refusals() == 1);
        until("it is not ready", || ready(&rig) == [false]);
        ip("rule flush");
        until("the rules are back", || rules().len() == SOURCES.len());
        thread::sleep(Duration::from_millis(300));
        assert_eq!(refusals(), 1);
        set("0").unwrap();
        ip("-6 rule flush");
        until("the way", || is_right(1001, &SOURCES, true));
        until("it is ready", || ready(&rig) == [false, true]);
    });
}

#[test]
fn a_wish_for_routes_is_not_lost_beside_one_for_probes() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = settled();
        for metric in 1000..1100 {
            let wanted = metrics(&[("192.0.2.1", metric)]);
            rig.want(&wanted);
            let address = IpAddr::from([198, 51, 100, u8::try_from(metric % 100).unwrap()]);
            rig.handle.want_probes(probes(1001, &[&address.to_string()]));
            let took = until("the route", || rig.installed().as_ref() == Some(&wanted));
            assert!(took < SOON, "{took:?}");
            assert_eq!(routes(1000), wanted);
        }
        until("the probes", || is_right(1001, &["198.51.100.99"], true));
    });
}
