//! Bursts one by one, and against plain vectors.

use proptest::prelude::*;

use super::*;
use crate::dpdk::testing::{eal, marks, packets, pool, unique};
use crate::dpdk::{Pool, ring};

/// Moves the packet at place `i`, if there is one and there is room for it.
fn move_to(from: &mut Burst, i: usize, to: &mut Burst) -> bool {
    from.seat(i).is_some_and(|seat| seat.move_to(to).is_ok())
}

#[test]
fn a_packet_can_be_held_out_of_any_burst() {
    let pool = pool(63);
    let mut from = packets(&pool, 3);
    let mut held = from.take(1).unwrap();
    assert!(from.take(1).is_none() && from.take(3).is_none());
    assert_eq!(marks(&from), [Some(0), None, Some(2)]);
    assert_eq!(held.bytes(), [1, 1]);
    held.bytes_mut()[0] = 7;
    assert!(held.set_note([1, u64::MAX]));
    drop(from);
    assert_eq!(pool.in_use(), 1);

    let mut full = packets(&pool, 32);
    let held = full.push(held).unwrap_err();
    let mut to = Burst::new();
    to.push(held).unwrap();
    assert_eq!(
        to.get(0).map(|mbuf| (mbuf.bytes()[0], mbuf.note())),
        Some((7, Some([1, u64::MAX])))
    );
    let last = to.take(0).unwrap();
    assert!(to.is_empty());
    drop((full, to));
    assert_eq!(pool.in_use(), 1);
    drop(last);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn moving_leaves_a_hole_and_the_places_of_the_others() {
    let pool = pool(63);
    let (mut from, mut to) = (packets(&pool, 4), Burst::new());
    assert!(move_to(&mut from, 1, &mut to));
    assert!(move_to(&mut from, 3, &mut to));
    assert_eq!(marks(&from), [Some(0), None, Some(2), None]);
    assert_eq!(marks(&to), [Some(1), Some(3)]);
    assert_eq!((from.len(), from.packets(), from.remaining()), (4, 2, 28));

    assert!(!move_to(&mut from, 1, &mut to), "a hole has nothing to move");
    assert!(!move_to(&mut from, 4, &mut to), "nor has a place behind the last");
    assert!(!move_to(&mut from, usize::MAX, &mut to));
    assert_eq!(from.iter().count(), 2);
    from.iter_mut().for_each(|mbuf| mbuf.bytes_mut()[0] += 10);
    from.compact();
    assert_eq!(marks(&from), [Some(10), Some(12)]);
    assert_eq!(pool.in_use(), 4);
    drop(from);
    assert_eq!(pool.in_use(), 2);
    drop(to);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn packets_go_on_from_their_seats() {
    let pool = pool(63);
    let (mut from, mut to) = (packets(&pool, 4), packets(&pool, 31));
    drop(from.take(1));
    let mark = |mbuf: Option<&Mbuf>| mbuf.map(|mbuf| mbuf.bytes()[0]);
    assert_eq!(from.among(0..3).map(mark).collect::<Vec<_>>(), [Some(0), None, Some(2)]);
    assert_eq!((from.among(2..5).count(), 0), (0, 0), "out of range");
    let mut held = None;
    for place in 0..4 {
        let Some(mut seat) = from.seat(place) else { continue };
        seat.bytes_mut()[0] += 10;
        match place {
            0 => assert!(seat.move_to(&mut to).is_ok()),
            2 => held = Some(seat.take()),
            _ => assert!(seat.move_to(&mut to).is_err(), "no place is left"),
        }
    }
    assert_eq!(marks(&from), [None, None, None, Some(13)]);
    assert_eq!((marks(&to)[31], held.unwrap().bytes()[0]), (Some(10), 12));
    drop((from, to));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_burst_that_lost_its_last_packet_is_empty() {
    let pool = pool(63);
    let (mut from, mut to) = (packets(&pool, 2), Burst::new());
    assert!(move_to(&mut from, 0, &mut to));
    assert!(!from.is_empty());
    assert!(move_to(&mut from, 1, &mut to));
    assert!(from.is_empty());
    assert!(from.get(0).is_none() && from.get_mut(1).is_none());
    from.clear();
    assert_eq!(from.remaining(), BURST);
}

#[test]
fn a_full_burst_takes_no_more() {
    let pool = pool(63);
    let (mut from, mut to) = (packets(&pool, 1), packets(&pool, 32));
    assert_eq!(to.remaining(), 0);
    assert!(!move_to(&mut from, 0, &mut to));
    assert_eq!((marks(&from), pool.in_use()), (vec![Some(0)], 33));
    assert_eq!(pool.allocate(&mut to, 1), 0);
    to.clear();
    assert!(move_to(&mut from, 0, &mut to));
    assert_eq!(pool.in_use(), 1);
}

#[test]
fn a_burst_may_be_dropped_on_another_thread() {
    let pool = pool(63);
    let burst = packets(&pool, 7);
    std::thread::spawn(move || assert_eq!(burst.packets(), 7)).join().unwrap();
    assert_eq!(pool.in_use(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { burst: usize, n: usize },
    Move { burst: usize, place: usize },
    Compact { burst: usize },
    Clear { burst: usize },
    Send { burst: usize },
    Receive { burst: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let burst = 0..2_usize;
    prop_oneof![
        3 => (burst.clone(), 0..40_usize).prop_map(|(burst, n)| Step::Allocate { burst, n }),
        9 => (burst.clone(), 0..40_usize).prop_map(|(burst, place)| Step::Move { burst, place }),
        1 => burst.clone().prop_map(|burst| Step::Compact { burst }),
        1 => burst.clone().prop_map(|burst| Step::Clear { burst }),
        3 => burst.clone().prop_map(|burst| Step::Send { burst }),
        3 => burst.prop_map(|burst| Step::Receive { burst }),
    ]
}

/// What a burst should hold: a mark for each packet, `None` for each hole.
type Model = Vec<Option<u8>>;

fn compacted(model: &Model) -> Model {
    model.iter().copied().filter(Option::is_some).collect()
}

/// Appends marked packets, and says how many.
fn allocate(pool: &Pool, burst: &mut Burst, n: usize, next: &mut u8) -> Model {
    let before = burst.len();
    let count = pool.allocate(burst, n);
    let mark = |i| {
        *next = next.wrapping_add(1);
        burst.get_mut(before + i).unwrap().append(1).unwrap()[0] = *next;
        Some(*next)
    };
    (0..count).map(mark).collect()
}

proptest! {
    /// Two bursts, a pool that runs dry and a ring that runs full, against plain vectors.
    #[test]
    fn bursts_do_as_a_list_would(steps in prop::collection::vec(step(), 1..80)) {
        const MBUFS: usize = 47;
        const RING: usize = 15;
        let pool = Pool::new(eal(), &unique("model"), 47, 64, 0, None).unwrap();
        let (mut sender, mut receiver) =
            ring::channel(eal(), &unique("model"), 16, None).unwrap();
        let mut bursts = [Burst::new(), Burst::new()];
        let mut models: [Model; 2] = [Vec::new(), Vec::new()];
        let mut queued: Model = Vec::new();
        let mut next = 0;
        for step in steps {
            let [one, two] = &mut bursts;
            match step {
                Step::Allocate { burst, n } => {
                    let room = BURST - models[burst].len();
                    let out: usize = models.iter().flatten().flatten().count() + queued.len();
                    let new = allocate(&pool, &mut bursts[burst], n, &mut next);
                    let expected = if n.min(room) <= MBUFS - out { n.min(room) } else { 0 };
                    prop_assert_eq!(new.len(), expected);
                    models[burst].extend(new);
                }
                Step::Move { burst, place } => {
                    let (from, to) = if burst == 0 { (one, two) } else { (two, one) };
                    let there = models[burst].get(place).copied().flatten();
                    let can = there.is_some() && models[1 - burst].len() < BURST;
                    prop_assert_eq!(move_to(from, place, to), can);
                    if can {
                        models[burst][place] = None;
                        models[1 - burst].push(there);
                    }
                }
                Step::Compact { burst } => {
                    bursts[burst].compact();
                    models[burst] = compacted(&models[burst]);
                }
                Step::Clear { burst } => {
                    bursts[burst].clear();
                    models[burst].clear();
                }
                Step::Send { burst } => {
                    let mut model = compacted(&models[burst]);
                    let sent = model.len().min(RING - queued.len());
                    prop_assert_eq!(sender.send(&mut bursts[burst]), sent);
                    queued.extend(model.drain(..sent));
                    models[burst] = model;
                }
                Step::Receive { burst } => {
                    let count = queued.len().min(BURST);
                    prop_assert_eq!(receiver.receive(&mut bursts[burst]), count);
                    models[burst] = queued.drain(..count).collect();
                }
            }
            for (burst, model) in bursts.iter().zip(&models) {
                prop_assert_eq!(&marks(burst), model);
                prop_assert_eq!(burst.packets(), compacted(model).len());
            }
            let out: usize = models.iter().flatten().flatten().count() + queued.len();
            prop_assert_eq!(pool.in_use() as usize, out);
            prop_assert_eq!(sender.room(), RING - queued.len());
            prop_assert_eq!(receiver.is_empty(), queued.is_empty());
        }
        drop((bursts, sender, receiver));
        prop_assert_eq!(pool.in_use(), 0);
    }
}
