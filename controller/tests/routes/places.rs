//! The interface and the table, which come, go and change.

use std::thread;
use std::time::Duration;

use guideway_controller::routes::Report;

use crate::monitor::Monitor;
use crate::space::{
    INTERFACE, Metrics, Rig, in_namespace, ip, ip_batch, make_interface, metrics, routes, until,
};

fn some() -> Metrics {
    metrics(&[("192.0.2.1", 1000), ("2001:db8::1", 2000)])
}

fn interfaces(rig: &Rig) -> Vec<bool> {
    let of = |report| match report {
        Report::Interface { is_up } => Some(is_up),
        _ => None,
    };
    rig.reports().into_iter().filter_map(of).collect()
}

#[test]
fn an_interface_that_comes_late_gets_its_routes() {
    in_namespace(|| {
        let rig = Rig::new();
        rig.want(&some());
        until("the report", || rig.installed() == Some(Metrics::new()));
        assert_eq!(interfaces(&rig), [false]);
        ip("tuntap add dev gwvip mode tun");
        thread::sleep(Duration::from_millis(100));
        assert_eq!(interfaces(&rig), [false], "it is down");
        ip("link set gwvip up");
        let took = until("the routes", || routes(1000) == some());
        println!("after the interface is up, routes after {took:?}");
        until("the report", || rig.installed() == Some(some()));
        assert_eq!(interfaces(&rig), [false, true]);
        assert_eq!(rig.restored(), 0);
    });
}

#[test]
fn routes_come_back_with_the_link() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        ip("link set gwvip down");
        until("the report", || rig.installed() == Some(Metrics::new()));
        ip("link set gwvip up");
        let took = until("the routes", || routes(1000) == some());
        assert!(took < Duration::from_secs(1), "{took:?}");
        until("the report", || rig.installed() == Some(some()));
        assert_eq!(interfaces(&rig), [true, false, true]);
        // So fast that the thread sees no difference of the link.
        ip_batch(&"link set gwvip down\nlink set gwvip up\n".repeat(3));
        let took = until("the routes", || routes(1000) == some());
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(rig.restored(), 0, "the link took them along, and nobody removed them");
    });
}

#[test]
fn an_interface_that_loses_its_addresses_keeps_its_routes() {
    in_namespace(|| {
        make_interface(INTERFACE);
        ip("address add 198.51.100.1/32 dev gwvip");
        ip("address add 2001:db8:f::1/128 dev gwvip");
        let rig = Rig::new();
        rig.install(&some());
        // The kernel's own address, which it makes when the interface comes up.
        thread::sleep(Duration::from_millis(100));
        let monitor = Monitor::start();
        ip("address flush dev gwvip");
        until("the report", || rig.restored() > 0);
        let took = until("the routes", || routes(1000) == some());
        assert!(took < Duration::from_secs(1), "{took:?}");
        let is_gone = |line: &String| line.contains("Deleted 192.0.2.1");
        assert!(!monitor.lines().iter().any(is_gone), "the kernel tells nothing of it");
    });
}

#[test]
fn a_device_that_is_made_again_gets_its_routes() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        for _ in 0..3 {
            ip("link del gwvip");
            make_interface("other");
            make_interface(INTERFACE);
            let took = until("the routes", || routes(1000) == some());
            assert!(took < Duration::from_secs(1), "{took:?}");
            ip("link del other");
        }
        ip("link del gwvip");
        until("the report", || rig.installed() == Some(Metrics::new()));
        assert_eq!(interfaces(&rig).last(), Some(&false));
    });
}

#[test]
fn a_renamed_device_loses_its_routes() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        ip("link set gwvip name other");
        until("the routes go", || routes(1000).is_empty());
        until("the report", || rig.installed() == Some(Metrics::new()));
        ip("link set other name gwvip");
        until("the routes come", || routes(1000) == some());
    });
}

#[test]
fn another_table_and_interface_leave_nothing_behind() {
    in_namespace(|| {
        make_interface(INTERFACE);
        make_interface("other");
        let rig = Rig::new();
        rig.install(&some());
        rig.want_at(INTERFACE, 2000, &some());
        until("the other table", || routes(2000) == some() && routes(1000).is_empty());
        rig.want_at("other", 2000, &some());
        until("the other interface", || {
            routes(2000) == some() && !ip("route show table 2000").contains("gwvip")
        });
        // FRR learns from the table main alone.
        rig.want_at("other", 254, &some());
        until("the table main", || routes(254) == some() && routes(2000).is_empty());
        drop(rig);
        // The next controller has never heard of the table before.
        let rig = Rig::new();
        rig.install(&some());
        assert!(routes(254).is_empty());
    });
}

#[test]
fn another_controller_takes_over_without_a_change() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        rig.install(&some());
        thread::sleep(Duration::from_secs(2));
        let monitor = Monitor::start();
        drop(rig);
        assert_eq!(routes(1000), some(), "the routes stay");
        let rig = Rig::new();
        rig.install(&some());
        assert_eq!(monitor.lines(), Vec::<String>::new());
        let mut other = some();
        other.insert("192.0.2.7".parse().unwrap(), 1000);
        other.remove(&"2001:db8::1".parse().unwrap());
        drop(rig);
        let rig = Rig::new();
        rig.install(&other);
        assert_eq!(monitor.lines().len(), 2, "the difference alone");
    });
}
