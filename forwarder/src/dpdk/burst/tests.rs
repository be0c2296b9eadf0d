//! Tests of bursts, one by one and against plain vectors.

use proptest::prelude::*;

use super::*;
use crate::dpdk::testing::{eal, marks, packets, pool, unique};
use crate::dpdk::{Mempool, ring};

#[test]
fn a_packet_can_be_kept_outside_of_any_burst() {
    let pool = pool(63);
    let mut from = packets(&pool, 3);
    let mut held = from.drain().nth(1).unwrap();
    assert_eq!((from.len(), pool.in_use()), (0, 1), "the others went with the iterator");
    assert_eq!(held.bytes(), [1, 1]);
    held.bytes_mut()[0] = 7;
    assert!(held.set_metadata([1, u64::MAX]));

    let mut full = packets(&pool, 32);
    let held = full.push(held).unwrap_err();
    let mut to = Burst::new();
    to.push(held).unwrap();
    assert_eq!(
        to.get(0).map(|mbuf| (mbuf.bytes()[0], mbuf.metadata())),
        Some((7, Some([1, u64::MAX])))
    );
    let last = to.drain().next().unwrap();
    assert!(to.is_empty());
    drop((full, to));
    assert_eq!(pool.in_use(), 1);
    drop(last);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn packets_leave_in_their_order_and_each_once() {
    let pool = pool(63);
    let (mut from, mut to) = (packets(&pool, 4), packets(&pool, 31));
    from.iter_mut().for_each(|mbuf| mbuf.bytes_mut()[0] += 10);
    let mut refused = Vec::new();
    let mut leaving = from.drain();
    assert_eq!(leaving.size_hint(), (4, Some(4)));
    refused.extend(leaving.by_ref().take(3).filter_map(|held| to.push(held).err()));
    assert_eq!(marks(&to)[31], 10);
    assert_eq!(refused.iter().map(|held| held.bytes()[0]).collect::<Vec<_>>(), [11, 12]);
    assert_eq!(pool.in_use(), 35);
    drop(leaving);
    assert_eq!(pool.in_use(), 34, "what was not taken");
    assert!(from.is_empty() && from.get(0).is_none() && from.drain().next().is_none());
    drop((from, to, refused));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn an_iterator_that_is_forgotten_loses_packets_and_frees_none_twice() {
    let pool = pool(63);
    let mut burst = packets(&pool, 4);
    let mut leaving = burst.drain();
    drop(leaving.next());
    std::mem::forget(leaving);
    assert_eq!((burst.len(), pool.in_use()), (0, 3));
    assert_eq!(pool.allocate(&mut burst, 2), 2);
    drop(burst);
    assert_eq!(pool.in_use(), 3);
}

#[test]
fn a_burst_takes_all_of_another_or_nothing() {
    let pool = pool(63);
    let (mut to, mut from) = (packets(&pool, 2), packets(&pool, 30));
    to.append(&mut from);
    assert_eq!((to.len(), from.len(), to.remaining()), (32, 0, 0));
    assert_eq!(marks(&to)[..4], [0, 1, 0, 1]);
    to.append(&mut from);
    assert_eq!(pool.allocate(&mut from, 1), 1);
    to.append(&mut from);
    assert_eq!((to.len(), from.len(), pool.in_use()), (32, 1, 33), "no room");
    assert_eq!(pool.allocate(&mut to, 1), 0);
    to.clear();
    assert_eq!((to.remaining(), pool.in_use()), (BURST, 1));
}

#[test]
fn a_burst_may_be_dropped_on_another_thread() {
    let pool = pool(63);
    let burst = packets(&pool, 7);
    std::thread::spawn(move || assert_eq!(burst.len(), 7)).join().unwrap();
    assert_eq!(pool.in_use(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { burst: usize, n: usize },
    Part { burst: usize, n: usize },
    Append { burst: usize },
    Clear { burst: usize },
    Send { burst: usize },
    Receive { burst: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let burst = 0..2_usize;
    prop_oneof![
        3 => (burst.clone(), 0..40_usize).prop_map(|(burst, n)| Step::Allocate { burst, n }),
        3 => (burst.clone(), 0..40_usize).prop_map(|(burst, n)| Step::Part { burst, n }),
        3 => burst.clone().prop_map(|burst| Step::Append { burst }),
        1 => burst.clone().prop_map(|burst| Step::Clear { burst }),
        3 => burst.clone().prop_map(|burst| Step::Send { burst }),
        3 => burst.prop_map(|burst| Step::Receive { burst }),
    ]
}

/// Appends marked packets, and returns their marks.
fn allocate(pool: &Mempool, burst: &mut Burst, n: usize, next: &mut u8) -> Vec<u8> {
    let before = burst.len();
    let count = pool.allocate(burst, n);
    let mark = |i| {
        *next = next.wrapping_add(1);
        burst.get_mut(before + i).unwrap().append(1).unwrap()[0] = *next;
        *next
    };
    (0..count).map(mark).collect()
}

proptest! {
    /// Compares two bursts, a pool that runs dry and a ring that runs full with plain vectors of
    /// marks.
    #[test]
    fn bursts_behave_like_a_list(steps in prop::collection::vec(step(), 1..80)) {
        const MBUFS: usize = 47;
        const RING: usize = 15;
        let pool = Mempool::new(eal(), &unique("model"), 47, 64, 0, None).unwrap();
        let (mut sender, mut receiver) =
            ring::channel(eal(), &unique("model"), 16, None).unwrap();
        let mut bursts = [Burst::new(), Burst::new()];
        let mut models: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        let mut queued: Vec<u8> = Vec::new();
        let mut next = 0;
        for step in steps {
            let [one, two] = &mut bursts;
            match step {
                Step::Allocate { burst, n } => {
                    let room = BURST - models[burst].len();
                    let out = models.iter().flatten().count() + queued.len();
                    let new = allocate(&pool, &mut bursts[burst], n, &mut next);
                    let expected = if n.min(room) <= MBUFS - out { n.min(room) } else { 0 };
                    prop_assert_eq!(new.len(), expected);
                    models[burst].extend(new);
                }
                // Takes `n` packets out: odd ones go to the other burst while it has room, even
                // ones are freed. The rest is freed with the iterator.
                Step::Part { burst, n } => {
                    let (from, to) = if burst == 0 { (one, two) } else { (two, one) };
                    for held in from.drain().take(n) {
                        if held.bytes()[0] % 2 == 1 {
                            let _ = to.push(held);
                        }
                    }
                    for mark in std::mem::take(&mut models[burst]).into_iter().take(n) {
                        if mark % 2 == 1 && models[1 - burst].len() < BURST {
                            models[1 - burst].push(mark);
                        }
                    }
                }
                Step::Append { burst } => {
                    let (from, to) = if burst == 0 { (one, two) } else { (two, one) };
                    to.append(from);
                    if models[0].len() + models[1].len() <= BURST {
                        let all = std::mem::take(&mut models[burst]);
                        models[1 - burst].extend(all);
                    }
                }
                Step::Clear { burst } => {
                    bursts[burst].clear();
                    models[burst].clear();
                }
                Step::Send { burst } => {
                    let sent = models[burst].len().min(RING - queued.len());
                    prop_assert_eq!(sender.send(&mut bursts[burst]), sent);
                    queued.extend(models[burst].drain(..sent));
                }
                Step::Receive { burst } => {
                    let count = queued.len().min(BURST);
                    prop_assert_eq!(receiver.receive(&mut bursts[burst]), count);
                    models[burst] = queued.drain(..count).collect();
                }
            }
            for (burst, model) in bursts.iter().zip(&models) {
                prop_assert_eq!(&marks(burst), model);
                prop_assert_eq!(burst.iter().len(), model.len());
            }
            let out = models.iter().flatten().count() + queued.len();
            prop_assert_eq!(pool.in_use() as usize, out);
            prop_assert_eq!(sender.room(), RING - queued.len());
            prop_assert_eq!(receiver.is_empty(), queued.is_empty());
        }
        drop((bursts, sender, receiver));
        prop_assert_eq!(pool.in_use(), 0);
    }
}
