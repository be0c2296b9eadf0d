//! How soon a change of the kernel's is published. In a release build the bounds are those that are promised:
//!
//!     cargo test --release -p guideway-management --test kernel speed -- --nocapture --test-threads 1

use std::time::Duration;

use guideway_management::kernel::Options;

use crate::rig::Rig;
use crate::space::{in_namespace, ip, until};

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
        for n in 0..6 {
            let gateway = ["192.0.2.9", "198.51.100.9"][n % 2];
            ip(&format!("route replace 10.0.0.0/8 via {gateway}"));
            let expected: std::net::IpAddr = gateway.parse().unwrap();
            times[0].push(until("the gateway of all", || all(&|hop| hop.address == expected)));
            until("its MAC address", || all(&|hop| hop.mac.is_some()));
            std::thread::sleep(Duration::from_millis(300));
            let last = u8::try_from(n).unwrap();
            let device = ["edge0", "edge1"][n % 2];
            ip(&format!(
                "neighbor replace {gateway} dev {device} lladdr 02:00:00:00:07:0{last} nud reachable"
            ));
            let mac = Some([2, 0, 0, 0, 7, last]);
            times[1].push(until("another MAC address of all", || all(&|hop| hop.mac == mac)));
            std::thread::sleep(Duration::from_millis(300));
        }
        for (what, mut times) in ["another gateway", "another MAC address"].into_iter().zip(times) {
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            eprintln!("{destinations} destinations, {what}: median {median:?}, at most {worst:?}");
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
