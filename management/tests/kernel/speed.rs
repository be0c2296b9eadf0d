//! How soon a change of the kernel's is published. In a release build the bounds are those that are promised. They hold
//! for the time on the CPU, since another's load would make the rest longer:
//!
//!     cargo test --release -p guideway-management --test kernel speed -- --nocapture --test-threads 1

use std::time::Duration;

use guideway_management::kernel::Options;

use crate::rig::Rig;
use crate::space::{in_namespace, ip, until};

/// The time on the CPU of the threads that follow the kernel and publish. Tests beside this one count too.
fn used() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let read =
        |task: &std::path::Path, file| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let is_ours =
        |task: &std::path::PathBuf| ["routes", "manager"].contains(&read(task, "comm").trim());
    let nanoseconds = tasks.filter(is_ours).map(|task| {
        let stat = read(&task, "schedstat");
        stat.split(' ').next().and_then(|used| used.parse::<u64>().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn measure(destinations: u32, most: Duration) {
    in_namespace(|| {
        let backends: Vec<String> = (0..destinations)
            .map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0001 + n).to_string())
            .collect();
        let rig = Rig::with(&backends, Options::default());
        let all = |fits: &dyn Fn(&guideway_management::routing::NextHop) -> bool| {
            let published = rig.manager.published().load();
            let backends = &published.pools[0].backends;
            backends.iter().all(|backend| backend.next_hop.as_ref().is_ok_and(fits))
        };
        let mut times = [const { Vec::new() }; 2];
        let mut add = |n: usize, change: &dyn Fn() -> Duration| {
            let before = used();
            let took = change();
            // Threads of other tests may have ended meanwhile.
            times[n].push((used().saturating_sub(before), took));
        };
        for n in 0..6 {
            let gateway = ["192.0.2.9", "198.51.100.9"][n % 2];
            let expected: std::net::IpAddr = gateway.parse().unwrap();
            add(0, &|| {
                ip(&format!("route replace 10.0.0.0/8 via {gateway}"));
                until("the gateway of all", || all(&|hop| hop.address == expected))
            });
            until("its MAC address", || all(&|hop| hop.mac.is_some()));
            std::thread::sleep(Duration::from_millis(300));
            let last = u8::try_from(n).unwrap();
            let device = ["edge0", "edge1"][n % 2];
            let mac = Some([2, 0, 0, 0, 7, last]);
            add(1, &|| {
                ip(&format!(
                    "neighbor replace {gateway} dev {device} lladdr 02:00:00:00:07:0{last} nud reachable"
                ));
                until("another MAC address of all", || all(&|hop| hop.mac == mac))
            });
            std::thread::sleep(Duration::from_millis(300));
        }
        for (what, mut times) in ["another gateway", "another MAC address"].into_iter().zip(times) {
            times.sort_unstable();
            let [(median, _), (worst, _)] = [times[times.len() / 2], times[times.len() - 1]];
            times.sort_unstable_by_key(|&(_, took)| took);
            let (_, took) = times[times.len() / 2];
            eprintln!(
                "{destinations} destinations, {what}: published after {took:?} (median); on the CPU {median:?}, at most {worst:?}"
            );
            assert!(cfg!(debug_assertions) || worst < most, "more than {most:?}");
        }
    });
}

#[test]
fn a_thousand_destinations() {
    measure(1000, Duration::from_millis(100));
}

#[test]
fn twenty_thousand_destinations() {
    if !cfg!(debug_assertions) {
        measure(20_000, Duration::from_millis(250));
    }
}

#[test]
fn five_thousand_neighbors() {
    if cfg!(debug_assertions) {
        return;
    }
    in_namespace(|| {
        let address = |n: u32| std::net::Ipv4Addr::from_bits(0x0a32_0001 + n).to_string();
        let backends: Vec<String> = (0..5000).map(address).collect();
        let rig = Rig::with(&backends, Options::default());
        rig.peer.ip_batch(
            &backends
                .iter()
                .map(|to| format!("address add {to}/32 dev peer0\n"))
                .collect::<String>(),
        );
        for (entry, value) in [
            ("base_reachable_time_ms", "1000"),
            ("retrans_time_ms", "250"),
            ("delay_first_probe_time", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/ipv4/neigh/edge0/{entry}"), value).unwrap();
        }
        ip("address add 10.50.255.1/16 dev edge0");
        let resolved = || {
            let published = rig.manager.published().load();
            let backends = &published.pools[0].backends;
            backends
                .iter()
                .filter(|b| b.next_hop.as_ref().is_ok_and(|hop| hop.mac.is_some()))
                .count()
        };
        let took = until("all are resolved", || resolved() == backends.len());
        std::thread::sleep(Duration::from_secs(3));
        let (before, generation) = (used(), rig.manager.published().load().generation);
        let mut least = backends.len();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            least = least.min(resolved());
        }
        let cpu = (used() - before).as_secs_f64() * 10.0;
        let generations = rig.manager.published().load().generation - generation;
        eprintln!(
            "5000 neighbors are resolved after {took:?}; then they take {cpu:.1} % of a CPU, {generations} \
             publications in 10 s, never fewer than {least} resolved"
        );
        assert_eq!(least, backends.len());
    });
}
