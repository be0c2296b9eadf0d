//! Thousands of addresses.

use std::time::{Duration, Instant};

use crate::space::{
    INTERFACE, Metrics, Rig, address, in_namespace, make_interface, many, routes, until,
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
        let took = until("the last wish", || routes(1000) == wanted);
        assert!(took < Duration::from_secs(1), "{took:?}");
        until("the report", || rig.installed().as_ref() == Some(&wanted));
        assert_eq!(rig.restored(), 0, "own changes are nobody else's");
    });
}
