//! The last events, for any number of readers. Each reader keeps its own place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{Event, Happening};
use parking_lot::{Condvar, Mutex};

/// A ring of events.
#[derive(Debug)]
pub struct Ring {
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
}

impl Kept {
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
        let kept = Kept { next: 1, events: VecDeque::new(), counts, is_closed: false };
        Ring { capacity, kept: Mutex::new(kept), changed: Condvar::new() }
    }

    pub(super) fn push(&self, time: String, happening: Happening) {
        let mut kept = self.kept.lock();
        kept.counts[happening.index()] += 1;
        let event = Arc::new(Event { sequence: kept.next, time, happening });
        kept.next += 1;
        // Freed after the lock.
        let _oldest = (kept.events.len() == self.capacity).then(|| kept.events.pop_front());
        kept.events.push_back(event);
        drop(kept);
        self.changed.notify_all();
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

    /// The number of the next event.
    pub fn next(&self) -> u64 {
        self.kept.lock().next
    }

    /// How many events of each kind were ever recorded, by [`Happening::index`].
    pub fn counts(&self) -> Vec<u64> {
        self.kept.lock().counts.clone()
    }

    /// Ends every wait, now and later.
    pub fn close(&self) {
        self.kept.lock().is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

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
