//! A ring to another thread that drops what does not fit, or, in a replay, has it wait.

use std::collections::VecDeque;

use crate::dpdk::{BURST, Burst, OwnedMbuf, ring};

/// A ring to another worker, and the packets that wait for room in it. Each may have a note `N`, which is lost if the
/// packet has to wait: the default note says nothing.
pub struct RingQueue<N = ()> {
    ring: ring::Sender<N>,
    /// `None` where packets are dropped if the ring is full.
    waiting: Option<VecDeque<OwnedMbuf>>,
}

impl<N: Copy + Default> RingQueue<N> {
    /// A queue that sends by `ring`; a lossless queue never drops.
    pub fn new(ring: ring::Sender<N>, lossless: bool) -> RingQueue<N> {
        RingQueue { ring, waiting: lossless.then(VecDeque::new) }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.as_ref().is_none_or(VecDeque::is_empty) && self.ring.room() >= BURST
    }

    /// Sends packets from the front of a burst, with their notes. Returns how many; what stays in the
    /// burst is to be dropped.
    #[inline]
    pub(super) fn send_with(&mut self, burst: &mut Burst, notes: &[N; BURST]) -> usize {
        if self.waiting.is_some() {
            return self.send_or_wait(burst, notes);
        }
        self.ring.send_with(burst, notes)
    }

    /// Sends packets as far as there is room. The others wait, and lose their notes.
    #[cold]
    fn send_or_wait(&mut self, burst: &mut Burst, notes: &[N; BURST]) -> usize {
        let packets = burst.len();
        if !self.retry() {
            self.ring.send_with(burst, notes);
        }
        let waiting = self.waiting.get_or_insert_default();
        waiting.extend(burst.drain());
        packets
    }

    /// Sends waiting packets as far as there is room. Returns whether any still wait.
    #[inline]
    pub(super) fn retry(&mut self) -> bool {
        let Some(waiting) = self.waiting.as_mut().filter(|waiting| !waiting.is_empty()) else {
            return false;
        };
        let mut burst = Burst::new();
        while let Some(mbuf) = waiting.pop_front() {
            // One packet at a time: a burst of one has room, and a packet that is not taken keeps
            // its place.
            let _ = burst.push(mbuf);
            if self.ring.send_with(&mut burst, &[N::default(); BURST]) == 0 {
                waiting.extend(burst.drain());
                waiting.rotate_right(1);
                return true;
            }
        }
        false
    }
}

impl RingQueue {
    /// As [`RingQueue::send_with`], without notes.
    #[inline]
    pub(super) fn send(&mut self, burst: &mut Burst) -> usize {
        self.send_with(burst, &[(); BURST])
    }
}
