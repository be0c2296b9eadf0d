use std::time::Duration;

use guideway_api::Happening;
use guideway_management::kernel::{NeighborState, Options};

use crate::rig::Rig;
use crate::space::{in_namespace, ip, until};

const A: &str = "10.0.0.1";

fn entries() -> String {
    ip("neighbor show") + &ip("-6 neighbor show")
}

fn is_managed(address: &str) -> bool {
    entries().lines().any(|line| {
        line.starts_with(&format!("{address} "))
            && line.contains("extern_learn")
            && line.contains("managed")
    })
}

/// Long for a machine that is busy, and less than what would be seen.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn next_hops_in_use_are_managed_and_others_are_not() {
    in_namespace(|| {
        let rig = Rig::new(&[A, "192.0.2.9", "2001:db8::9", "192.0.2.77", "192.0.2.66"]);
        for address in ["192.0.2.9", "2001:db8::9", "192.0.2.66"] {
            until(address, || is_managed(address));
        }
        for address in ["192.0.2.9", "2001:db8::9"] {
            rig.until_mac(address, |mac| mac.is_some());
        }
        rig.until_mac("192.0.2.77", |mac| mac == Some([2, 0, 0, 0, 0, 0x77]));
        assert!(!is_managed("192.0.2.77"), "a [[neighbor]] wins, and needs no entry");
        assert_eq!(rig.hop("192.0.2.66").unwrap().mac, None, "nobody has this address");
        ip("route add 10.0.0.0/16 via 198.51.100.9");
        rig.until_mac(A, |mac| mac.is_some());
        assert!(is_managed("198.51.100.9"));
        until("the view", || {
            let view = rig.view();
            let of = view.neighbors.iter().find(|n| n.address.to_string() == "198.51.100.9");
            of.is_some_and(|n| n.is_managed && n.mac.is_some() && n.state != NeighborState::Missing)
        });
        ip("route delete 10.0.0.0/16");
        until("it is removed", || !entries().contains("198.51.100.9 "));
        rig.configure(&["192.0.2.9"]);
        until("they are removed", || !is_managed("2001:db8::9") && !is_managed("192.0.2.66"));
        assert!(is_managed("192.0.2.9"));
    });
}

#[test]
fn more_neighbors_than_the_kernels_table_holds_are_managed() {
    in_namespace(|| {
        // A table holds 1,024 entries (gc_thresh3), but those that are externally learnt do not count.
        let backends: Vec<String> =
            (0..1500).map(|n| format!("192.168.{}.{}", n / 250, 1 + n % 250)).collect();
        let rig = Rig::with(&backends, Options::default());
        ip("address add 192.168.255.1/16 dev edge0");
        let managed = || entries().lines().filter(|line| line.contains("managed")).count();
        until("all are managed", || managed() == backends.len());
        assert_eq!(rig.view().health.errors, 0, "{:?}", rig.view().health);
    });
}

#[test]
fn without_managed_entries_the_kernel_is_asked_every_second() {
    in_namespace(|| {
        let rig = Rig::with(
            &["192.0.2.9".to_owned(), "192.0.2.66".to_owned()],
            Options { probes: true, ..Options::default() },
        );
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        ip("neighbor delete 192.0.2.9 dev edge0");
        until("it is gone", || !entries().contains("192.0.2.9 "));
        let took = until("it is there again", || entries().contains("192.0.2.9 "));
        eprintln!("asked for again after {took:?}");
        assert!(!entries().contains("managed") && took < Duration::from_millis(1500));
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
    });
}

#[test]
fn at_the_stop_no_entry_is_left() {
    in_namespace(|| {
        let mut rig = Rig::new(&["192.0.2.9", "2001:db8::9"]);
        until("managed", || is_managed("192.0.2.9") && is_managed("2001:db8::9"));
        drop(rig.kernel.take());
        assert!(!is_managed("192.0.2.9") && !is_managed("2001:db8::9"), "{}", entries());
    });
}

#[test]
fn what_is_flushed_is_entered_again() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.9"]);
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        until("managed", || is_managed("192.0.2.9"));
        for _ in 0..5 {
            ip("neighbor delete 192.0.2.9 dev edge0");
            let took = until("managed again", || is_managed("192.0.2.9"));
            eprintln!("entered again after {took:?}");
            assert!(took < SOON);
            assert!(rig.hop("192.0.2.9").unwrap().mac.is_some(), "forwarding goes on");
        }
    });
}

#[test]
fn after_the_carrier_is_lost_and_back_nothing_is_missing() {
    in_namespace(|| {
        let backends: Vec<String> = (10..110).map(|n| format!("192.0.2.{n}")).collect();
        let backends: Vec<&str> =
            backends.iter().map(String::as_str).chain(["192.0.2.9"]).collect();
        let rig = Rig::new(&backends);
        let managed = || entries().lines().filter(|line| line.contains("managed")).count();
        // All but the one that is a [[neighbor]].
        until("all are managed", || managed() == backends.len() - 1);
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        for _ in 0..3 {
            rig.peer.ip("link set peer0 down");
            until("no carrier", || ip("link show edge0").contains("NO-CARRIER"));
            rig.peer.ip("link set peer0 up");
            let took = until("all are managed", || managed() == backends.len() - 1);
            eprintln!("all are managed again after {took:?}");
            assert!(took < SOON);
            rig.until_mac("192.0.2.9", |mac| mac.is_some());
        }
    });
}

#[test]
fn what_becomes_of_a_neighbor_in_use_is_recorded() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.9", "192.0.2.66"]);
        let recorded = || {
            let batch = rig.events.ring().read(1, usize::MAX);
            let all = batch.events.iter().map(|event| event.happening.clone());
            all.filter(|happening| happening.name() != "daemon_ready").collect::<Vec<_>>()
        };
        let (port, address) = ("edge0".to_owned(), "192.0.2.9".parse().unwrap());
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        until("it is resolved", || recorded().len() == 1);
        let Happening::NeighborResolved { mac: first, .. } = recorded().remove(0) else {
            panic!("{:?}", recorded())
        };
        rig.peer.ip("link set peer0 address 02:00:00:00:09:09");
        // The new owner says so by itself, or is asked.
        rig.peer.ip("link set peer0 arp off");
        rig.peer.ip("link set peer0 arp on");
        ip("neighbor replace 192.0.2.9 lladdr 02:00:00:00:09:09 dev edge0 nud reachable");
        let moved = Happening::NeighborMoved {
            port: port.clone(),
            vlan: None,
            address,
            from: first,
            to: "02:00:00:00:09:09".to_owned(),
        };
        until("it has moved", || recorded().get(1) == Some(&moved));
        rig.peer.ip("address delete 192.0.2.9/24 dev peer0");
        ip("neighbor delete 192.0.2.9 dev edge0");
        let lost = Happening::NeighborLost { port, vlan: None, address };
        until("it is lost", || recorded().get(2) == Some(&lost));
        rig.configure(&["192.0.2.66"]);
        assert_eq!(recorded().len(), 3, "one that is no longer in use is not lost");
    });
}

#[test]
fn a_mac_address_that_changes_is_seen() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.9"]);
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        for n in 1..6 {
            ip(&format!(
                "neighbor replace 192.0.2.9 dev edge0 lladdr 02:00:00:00:07:0{n} nud reachable"
            ));
            let took = rig.until_mac("192.0.2.9", |mac| mac == Some([2, 0, 0, 0, 7, n]));
            eprintln!("a MAC address is published after {took:?}");
            assert!(took < SOON);
        }
        until("managed again", || is_managed("192.0.2.9"));
    });
}

#[test]
fn an_entry_for_good_is_used_and_left_alone() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.66"]);
        until("managed", || is_managed("192.0.2.66"));
        ip("neighbor replace 192.0.2.66 dev edge0 lladdr 02:00:00:00:00:66 nud permanent");
        rig.until_mac("192.0.2.66", |mac| mac == Some([2, 0, 0, 0, 0, 0x66]));
        std::thread::sleep(Duration::from_millis(300));
        assert!(
            entries().contains("192.0.2.66 dev edge0 lladdr 02:00:00:00:00:66 PERMANENT"),
            "{}",
            entries()
        );
        rig.configure(&["192.0.2.9"]);
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        assert!(entries().contains("PERMANENT"), "it is the administrator's");
    });
}

#[test]
fn a_silent_change_is_found_within_five_seconds() {
    in_namespace(|| {
        let rig = Rig::new(&["192.0.2.9"]);
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
        // As on the TAP devices of ports.
        for (entry, value) in [
            ("base_reachable_time_ms", "1000"),
            ("retrans_time_ms", "250"),
            ("delay_first_probe_time", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/ipv4/neigh/edge0/{entry}"), value).unwrap();
        }
        ip("neighbor delete 192.0.2.9 dev edge0");
        for n in 1..4 {
            rig.peer.ip(&format!("link set peer0 address 02:00:00:00:09:0{n}"));
            let took = rig.until_mac("192.0.2.9", |mac| mac == Some([2, 0, 0, 0, 9, n]));
            eprintln!("a silent change is found after {took:?}");
            assert!(n == 1 || took < Duration::from_secs(5));
        }
        rig.peer.ip("address delete 192.0.2.9/24 dev peer0");
        rig.until_mac("192.0.2.9", |mac| mac.is_none());
        rig.peer.ip("address add 192.0.2.9/24 dev peer0");
        rig.until_mac("192.0.2.9", |mac| mac.is_some());
    });
}
