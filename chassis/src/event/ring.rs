//! The last events, for any number of readers. Each reader keeps its own place.
//!
//! A reader waits on a condition, or has itself woken by a descriptor (a [`Bell`]) if it waits for other
//! descriptors too.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use guideway_api::{Event, Happening};
use parking_lot::{Condvar, Mutex};
use rustix::event::{EventfdFlags, eventfd};

/// A ring of events.
#[derive(Debug)]
pub struct Ring {
    /// When it was made, in milliseconds from 1970 on: another ring counts from 1 again.
    instance: u64,
    capacity: usize,
    kept: Mutex<Kept>,
    /// Notified by each event, and by [`Ring::close`].
    changed: Condvar,
}

#[derive(Debug)]
struct Kept {
    /// The number of the next event.
    next: u64,
    events: VecDeque<Arc<Event>>,
    /// How many of each kind were ever recorded, by [`Happening::index`].
    counts: Vec<u64>,
    is_closed: bool,
    bells: Vec<Weak<Hung>>,
    /// Some bell is armed.
    has_armed: bool,
}

/// A bell as the ring and its reader have it.
#[derive(Debug)]
struct Hung {
    descriptor: OwnedFd,
    is_armed: Mutex<bool>,
}

/// A descriptor that becomes readable with the next event, once it is armed.
#[derive(Debug)]
pub struct Bell {
    ring: Arc<Ring>,
    hung: Arc<Hung>,
}

impl Bell {
    /// Takes back what has rung, and rings once more: with the first event of number `from` or later, at once if
    /// there is one, or if the ring is closed.
    pub fn arm(&self, from: u64) {
        // Fails only if the bell has not rung.
        let _ = rustix::io::read(&self.hung.descriptor, &mut [0; 8]);
        let mut kept = self.ring.kept.lock();
        *self.hung.is_armed.lock() = true;
        kept.has_armed = true;
        if kept.next > from || kept.is_closed {
            kept.ring_bells();
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hung.descriptor.as_fd()
    }
}

impl Kept {
    /// Rings every armed bell, which disarms it: a burst of events costs each reader one call.
    fn ring_bells(&mut self) {
        if !std::mem::take(&mut self.has_armed) {
            return;
        }
        self.bells.retain(|bell| {
            let Some(bell) = bell.upgrade() else { return false };
            if std::mem::take(&mut *bell.is_armed.lock()) {
                // A write of 1 to a counter at 0 cannot fail, nor block.
                let _ = rustix::io::write(&bell.descriptor, &1_u64.to_ne_bytes());
            }
            true
        });
    }

    /// The number of the first event that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.next - self.events.len() as u64
    }
}

/// What a reader gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Events between the reader's place and the first of these that are no longer kept.
    pub lost: u64,
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// The reader's next place.
    pub next: u64,
    /// Nothing will be recorded any more.
    pub is_closed: bool,
}

impl Ring {
    /// A ring that keeps so many events.
    pub fn new(capacity: usize) -> Ring {
        let counts = vec![0; Happening::KINDS.len()];
        let kept = Kept {
            next: 1,
            events: VecDeque::new(),
            counts,
            is_closed: false,
            bells: Vec::new(),
            has_armed: false,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // At least 1: clients take 0 for a daemon that does not say it.
        let instance = u64::try_from(now.as_millis()).unwrap_or(0).max(1);
        Ring { instance, capacity, kept: Mutex::new(kept), changed: Condvar::new() }
    }

    /// Adds an event, and returns its number.
    pub(super) fn push(&self, time: String, happening: Happening) -> u64 {
        let mut kept = self.kept.lock();
        kept.counts[happening.index()] += 1;
        let event = Arc::new(Event { sequence: kept.next, time, happening });
        kept.next += 1;
        // Freed after the lock.
        let _oldest = (kept.events.len() == self.capacity).then(|| kept.events.pop_front());
        kept.events.push_back(event);
        kept.ring_bells();
        let number = kept.next - 1;
        drop(kept);
        self.changed.notify_all();
        number
    }

    /// A bell for one reader. It rings no more once it is dropped.
    ///
    /// # Errors
    /// If the operating system refuses a descriptor.
    pub fn bell(self: &Arc<Ring>) -> io::Result<Bell> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let hung = Arc::new(Hung { descriptor, is_armed: Mutex::new(false) });
        let mut kept = self.kept.lock();
        kept.bells.retain(|bell| bell.strong_count() > 0);
        kept.bells.push(Arc::downgrade(&hung));
        drop(kept);
        Ok(Bell { ring: Arc::clone(self), hung })
    }

    /// At most `limit` events from number `from` on.
    pub fn read(&self, from: u64, limit: usize) -> Batch {
        Ring::read_kept(&self.kept.lock(), from, limit)
    }

    /// Waits until there is an event of number `from` or later, the ring is closed, or the deadline has passed.
    pub fn wait(&self, from: u64, limit: usize, deadline: Instant) -> Batch {
        let mut kept = self.kept.lock();
        while kept.next <= from && !kept.is_closed {
            if self.changed.wait_until(&mut kept, deadline).timed_out() {
                break;
            }
        }
        Ring::read_kept(&kept, from, limit)
    }

    fn read_kept(kept: &Kept, from: u64, limit: usize) -> Batch {
        // A place beyond the last event, as of a reader that knew the daemon before its restart, is that of the next.
        let from = from.clamp(1, kept.next);
        let start = from.max(kept.first());
        let skipped = usize::try_from(start - kept.first()).unwrap_or(usize::MAX);
        let events: Vec<_> = kept.events.iter().skip(skipped).take(limit).cloned().collect();
        let next = start + events.len() as u64;
        Batch { lost: start - from, events, next, is_closed: kept.is_closed }
    }

    /// What tells this ring from that of a daemon before this one.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.kept.lock().next
    }

    /// The number of the first event that is kept, or of the next one.
    pub fn first(&self) -> u64 {
        self.kept.lock().first()
    }

    /// How many events of each kind were ever recorded, by [`Happening::index`].
    pub fn counts(&self) -> Vec<u64> {
        self.kept.lock().counts.clone()
    }

    /// How many bells there are.
    #[cfg(test)]
    pub(crate) fn bells(&self) -> usize {
        self.kept.lock().bells.iter().filter(|bell| bell.strong_count() > 0).count()
    }

    /// Ends every wait, now and later.
    pub fn close(&self) {
        let mut kept = self.kept.lock();
        kept.is_closed = true;
        kept.ring_bells();
        drop(kept);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use proptest::prelude::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn push(ring: &Ring, port: &str) {
        ring.push(String::new(), Happening::LinkUp { port: port.into() });
    }

    fn numbers(batch: &Batch) -> Vec<u64> {
        batch.events.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn a_slow_reader_is_told_what_it_lost() {
        let ring = Ring::new(3);
        assert_eq!(ring.read(1, 9), Batch { next: 1, ..Batch::default() });
        (0..5).for_each(|_| push(&ring, "edge0"));
        let batch = ring.read(1, 2);
        assert_eq!((batch.lost, numbers(&batch), batch.next), (2, vec![3, 4], 5));
        let batch = ring.read(batch.next, 2);
        assert_eq!((batch.lost, numbers(&batch), batch.next), (0, vec![5], 6));
        assert_eq!(ring.read(6, 2).events, []);
        assert_eq!(ring.read(u64::MAX, 2).next, 6, "a place of a daemon before this one");
        assert_eq!(ring.counts().iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_bell_rings_once_for_each_time_that_it_is_armed() {
        let ring = Arc::new(Ring::new(3));
        let bell = ring.bell().unwrap();
        let has_rung = || {
            let mut polled = [PollFd::new(&bell, PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
        };
        push(&ring, "edge0");
        assert!(!has_rung(), "it was not armed");
        bell.arm(1);
        assert!(has_rung(), "there is an event already");
        bell.arm(2);
        assert!(!has_rung());
        push(&ring, "edge0");
        push(&ring, "edge0");
        assert!(has_rung());
        bell.arm(4);
        assert!(!has_rung(), "two events rang once");
        ring.close();
        assert!(has_rung());
        bell.arm(4);
        assert!(has_rung(), "a closed ring has nothing to wait for");
        drop(bell);
        drop(ring.bell().unwrap());
        assert_eq!(ring.kept.lock().bells.len(), 1, "those that were dropped are forgotten");
    }

    /// What one reader does, and what the writer does meanwhile.
    #[derive(Clone, Debug)]
    enum Step {
        Write(u8),
        Read(usize, usize),
    }

    fn step(readers: usize) -> impl Strategy<Value = Step> {
        let write = (1..9_u8).prop_map(Step::Write);
        prop_oneof![write, (0..readers, 1..7_usize).prop_map(|(who, limit)| Step::Read(who, limit))]
    }

    proptest! {
        /// Readers of any pace get each event once and in order, or are told that it is lost; never both.
        #[test]
        fn what_is_read_and_what_is_lost_add_up(
            capacity in 1..12_usize,
            steps in proptest::collection::vec(step(3), 0..200),
        ) {
            let ring = Ring::new(capacity);
            let mut model: Vec<String> = Vec::new();
            let mut places = [1_u64; 3];
            for step in steps {
                match step {
                    Step::Write(count) => for _ in 0..count {
                        let name = format!("p{}", model.len());
                        push(&ring, &name);
                        model.push(name);
                    },
                    Step::Read(who, limit) => {
                        let batch = ring.read(places[who], limit);
                        let begin = places[who] + batch.lost;
                        let oldest = (model.len() as u64).saturating_sub(capacity as u64) + 1;
                        prop_assert_eq!(batch.lost, oldest.saturating_sub(places[who]));
                        prop_assert!(batch.events.len() <= limit);
                        for (number, event) in (begin..).zip(&batch.events) {
                            let port = model[usize::try_from(number).unwrap() - 1].clone();
                            prop_assert_eq!(event.sequence, number);
                            prop_assert_eq!(&event.happening, &Happening::LinkUp { port });
                        }
                        prop_assert_eq!(batch.next, begin + batch.events.len() as u64);
                        let is_at_end = batch.events.len() < limit;
                        prop_assert!(!is_at_end || batch.next == model.len() as u64 + 1);
                        places[who] = batch.next;
                    }
                }
                prop_assert_eq!(ring.next(), model.len() as u64 + 1);
                prop_assert_eq!(ring.counts().iter().sum::<u64>(), model.len() as u64);
            }
        }
    }

    #[test]
    fn a_reader_waits_for_the_next_event_and_no_longer_than_the_deadline() {
        let ring = Ring::new(3);
        let far = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            let reader = scope.spawn(|| ring.wait(1, 9, far));
            push(&ring, "edge0");
            assert_eq!(numbers(&reader.join().unwrap()), [1]);
            assert_eq!(ring.wait(2, 9, Instant::now()).events, []);
            let reader = scope.spawn(|| ring.wait(2, 9, far));
            ring.close();
            assert!(reader.join().unwrap().is_closed);
        });
    }
}
