//! Thousands of addresses.

use std::time::{Duration, Instant};

use crate::space::{
    INTERFACE, Metrics, Rig, address, in_namespace, ip, ip_batch, make_interface, many, metrics,
    until,
};

#[test]
fn two_thousand_addresses_take_less_than_a_second() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        let announced = rig.install(&many(2000, 1000));
        let drained = rig.install(&many(2000, 2000));
        let withdrawn = rig.install(&Metrics::new());
        println!(
            "2,000 addresses: announced in {announced:?}, drained in {drained:?}, withdrawn in {withdrawn:?}"
        );
        for took in [announced, drained, withdrawn] {
            assert!(took < Duration::from_secs(1), "{took:?}");
        }
    });
}

#[test]
fn ten_thousand_changes_end_right() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let rig = Rig::new();
        let mut wanted = many(100, 1000);
        rig.install(&wanted);
        let begin = Instant::now();
        // Numbers without a pattern, by a linear congruential generator (Knuth's MMIX).
        let mut random = 7_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let n = u32::try_from((random >> 33) % 100).unwrap();
            match (random >> 50) % 3 {
                0 => wanted.remove(&address(n)),
                1 => wanted.insert(address(n), 1000),
                _ => wanted.insert(address(n), 2000),
            };
            rig.want(&wanted);
            if random >> 61 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        println!("10,000 changes wanted in {:?}", begin.elapsed());
        // What no earlier wish had.
        wanted.insert(address(1000), 1000);
        let took = rig.install(&wanted);
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(rig.restored(), 0, "own changes are nobody else's");
    });
}

/// The table `main` with 200,000 routes of others, a fifth of the Internet's.
#[test]
fn a_full_table_of_others_costs_little() {
    in_namespace(|| {
        make_interface(INTERFACE);
        let prefix = |n: u32| std::net::Ipv4Addr::from_bits((20 << 24) + (n << 8));
        let line = |n| format!("route add {}/24 dev gwvip proto bird\n", prefix(n));
        ip_batch(&(0..200_000).map(line).collect::<String>());
        let wanted = metrics(&[("192.0.2.1", 1000), ("2001:db8::1", 1000)]);
        for table in [1000, 254] {
            let rig = Rig::new();
            let begin = Instant::now();
            rig.want_at(INTERFACE, table, &wanted);
            until("the routes", || rig.installed().as_ref() == Some(&wanted));
            let first = begin.elapsed();
            ip(&format!("route del 192.0.2.1 table {table} proto 200"));
            let back = until("the report", || rig.restored() == 1);
            println!("beside 200,000 routes, table {table}: {first:?}; one put back in {back:?}");
            assert!(first.max(back) < Duration::from_secs(1), "{first:?} {back:?}");
        }
        assert!(ip("route show proto bird").lines().count() == 200_000);
    });
}
