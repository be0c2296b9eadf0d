//! Tests of the EAL of this process, and of EALs in processes of their own.

use std::sync::mpsc;

use super::*;
use crate::dpdk::lcore;
use crate::dpdk::port::{Port, Started};
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::ring;
use crate::dpdk::testing::{eal, eal_args, in_own_process, own_prefix, packets, settings, unique};
use crate::dpdk::{Burst, Mempool};

#[test]
fn a_second_start_is_refused() {
    assert!(eal().dpdk_version().starts_with("DPDK "));
    let again = Eal::init("again", &[]);
    assert!(matches!(again, Err(Error::AlreadyInitialised)));
}

#[test]
fn an_argument_with_a_zero_byte_is_refused_before_anything_starts() {
    in_own_process(
        "dpdk::eal::tests::an_argument_with_a_zero_byte_is_refused_before_anything_starts",
        || {
            let refused = Eal::init("test", &["-m\0".to_owned()]).unwrap_err();
            assert!(matches!(refused, Error::ZeroByte { .. }), "{refused}");
            assert!(Eal::init("test", &eal_args(&own_prefix())).is_ok());
        },
    );
}

#[test]
fn a_start_that_fails_says_what_to_look_at() {
    in_own_process("dpdk::eal::tests::a_start_that_fails_says_what_to_look_at", || {
        let args = [eal_args("guideway-test"), vec!["--vdev=net_nonsense0".to_owned()]].concat();
        let text = Eal::init("test", &args).unwrap_err().to_string();
        assert!(text.contains("see each port's `device`"), "{text}");
        assert!(matches!(Eal::init("test", &[]), Err(Error::AlreadyInitialised)));
    });
}

/// The EAL pins the thread that starts it; the threads of the program must not inherit that.
#[test]
fn the_caller_of_init_keeps_its_cpus() {
    in_own_process("dpdk::eal::tests::the_caller_of_init_keeps_its_cpus", || {
        let before = rustix::thread::sched_getaffinity(None).unwrap();
        let _eal = Eal::init("test", &eal_args(&own_prefix())).unwrap();
        assert_eq!(rustix::thread::sched_getaffinity(None).unwrap(), before);
    });
}

#[test]
fn only_empty_directories_of_dead_processes_are_removed() {
    let parent = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let (dead, alive) = (child.id(), std::process::id());
    let keep = [format!("some-{alive}"), format!("other-{dead}"), "some-".into(), "some-x".into()];
    let full = format!("some-0{dead}");
    for name in keep.iter().chain([&full, &format!("some-{dead}")]) {
        std::fs::create_dir(parent.path().join(name)).unwrap();
    }
    std::fs::write(parent.path().join(&full).join("config"), "").unwrap();
    remove_stale(parent.path(), "some-");
    let left = |name: &String| parent.path().join(name).is_dir();
    assert!(keep.iter().all(left) && left(&full));
    assert!(!left(&format!("some-{dead}")));
}

/// Makes one value of each kind, on an EAL of its own.
fn everything(
    prefix: &str,
) -> (Eal, Mempool, Port<Started>, RxQueue, TxQueue, ring::Sender, ring::Receiver) {
    let eal = Eal::init("test", &eal_args(prefix)).unwrap();
    eal.probe("net_ring0").unwrap();
    let pool = Mempool::new(&eal, "pool", 255, 2048, 0, None).unwrap();
    let port = eal.port_by_name("net_ring0").unwrap();
    let (port, mut rx, mut tx) = port.configure(&settings(), &pool).unwrap().0.start().unwrap();
    let (sender, receiver) = ring::channel(&eal, "ring", 64, None).unwrap();
    (eal, pool, port, rx.remove(0), tx.remove(0), sender, receiver)
}

#[test]
fn the_eal_ends_with_the_last_of_what_was_made_with_it() {
    in_own_process("dpdk::eal::tests::the_eal_ends_with_the_last_of_what_was_made_with_it", || {
        let (eal, pool, port, rx, tx, sender, receiver) = everything(&own_prefix());
        let (go, wait) = mpsc::channel::<()>();
        let thread = lcore::spawn(&eal, "last", None, move || wait.recv()).unwrap();
        drop((eal, pool, port, rx));
        drop((sender, tx));
        assert_eq!(STAGE.load(Ordering::SeqCst), STARTED);
        drop(receiver);
        assert_eq!(STAGE.load(Ordering::SeqCst), STARTED);
        let directory = runtime_directory();
        assert!(directory.is_dir(), "{}", directory.display());
        drop(go);
        assert!(thread.join().unwrap().is_err());
        assert!(!directory.exists(), "{}", directory.display());
        assert_eq!(STAGE.load(Ordering::SeqCst), CLEANED_UP);
        assert!(matches!(Eal::init("test", &[]), Err(Error::AlreadyInitialised)));
    });
}

#[test]
fn packets_may_outlive_everything() {
    in_own_process("dpdk::eal::tests::packets_may_outlive_everything", || {
        let (eal, pool, port, mut rx, mut tx, sender, receiver) = everything("guideway-test");
        let mut received = Burst::new();
        assert_eq!(tx.send(&mut packets(&pool, 9)), 9);
        assert_eq!(rx.receive(&mut received), 9);
        drop((eal, pool, port, rx, tx, sender, receiver));
        assert_eq!(STAGE.load(Ordering::SeqCst), STARTED, "its memory must stay");
        assert_eq!(received.get(8).unwrap().bytes(), [8; 9]);
        received.get_mut(8).unwrap().push_front(20).unwrap().fill(1);
        drop(received);
    });
}

/// Drops a pool, a port, its queues and packets in each of their 120 orders: everything comes back.
#[test]
fn the_order_of_drops_does_not_matter() {
    in_own_process("dpdk::eal::tests::the_order_of_drops_does_not_matter", || {
        let eal = Eal::init("test", &eal_args(&own_prefix())).unwrap();
        let mut orders = vec![vec![]];
        for thing in 0..5 {
            let longer = orders.iter().flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, thing);
                    order
                })
            });
            orders = longer.collect();
        }
        assert_eq!(orders.len(), 120);
        for order in orders {
            let name = unique("net_ring");
            eal.probe(&name).unwrap();
            let pool = Mempool::new(&eal, &unique("pool"), 255, 2048, 0, None).unwrap();
            let port = eal.port_by_name(&name).unwrap();
            let (port, _) = port.configure(&settings(), &pool).unwrap();
            let (port, mut rx, mut tx) = port.start().unwrap();
            for _ in 0..3 {
                assert_eq!(tx[0].send(&mut packets(&pool, 32)), 32);
            }
            let mut burst = Burst::new();
            assert_eq!(rx[0].receive(&mut burst), 32);

            let things: [Box<dyn std::any::Any>; 5] =
                [Box::new(pool), Box::new(port), Box::new(rx), Box::new(tx), Box::new(burst)];
            let mut things = things.map(Some);
            for thing in &order {
                things[*thing] = None;
            }
            eal.free_retired();
            let state = eal.0.state.lock();
            assert!(state.retired.is_empty() && state.claimed.is_empty(), "{order:?}");
        }
        drop(eal);
        assert_eq!(STAGE.load(Ordering::SeqCst), CLEANED_UP);
    });
}
