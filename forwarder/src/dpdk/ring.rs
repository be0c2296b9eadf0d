//! Rings that hand packets from one thread to one other, without a lock.
//!
//! A ring of size n holds n - 1 packets. Packets in it are freed when both ends are gone.
//!
//! Each end writes its own cache line of the ring, and the slots. It reads the other end's line, which costs as much as a
//! packet or two, only if it does not know of enough room or of enough packets.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys as sys;

use super::burst::{BURST, Burst};
use super::eal::{Eal, c_string};
use super::error::{Errno, Error, Result};
use super::mempool::{FRAME, any};

/// What a receiver knows of a new ring.
const NOTHING_SEEN: sys::guideway_ring_seen = sys::guideway_ring_seen { ready: 0, fetched: 0 };

/// Makes a ring of `size` slots, a power of two, and returns its two ends. The name is unique in
/// the process. `socket` is the NUMA node, if it matters.
pub fn channel(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(Sender, Receiver)> {
    channel_with_notes(eal, name, size, socket)
}

/// As [`channel`], for packets each with a note: what the sender knows about it.
pub fn channel_with_notes<N: Copy>(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(Sender<N>, Receiver<N>)> {
    let c_name = c_string("the ring name", name)?;
    let (flags, node) = (sys::GUIDEWAY_RING_SPSC, any(socket));
    // SAFETY: a C string that is copied, and numbers that DPDK checks; the EAL runs.
    let raw = unsafe { sys::rte_ring_create_elem(c_name.as_ptr(), slot::<N>(), size, node, flags) };
    let raw = NonNull::new(raw).ok_or_else(|| Error::Ring {
        name: name.to_owned(),
        size,
        errno: Errno::last(),
    })?;
    let ring = Arc::new(Ring { raw, _eal: eal.clone() });
    let sender = Sender { ring: Arc::clone(&ring), room: 0, _notes: PhantomData };
    Ok((sender, Receiver { ring, seen: NOTHING_SEEN, _notes: PhantomData }))
}

/// Bytes of a ring for each packet.
const fn slot<N>() -> u32 {
    const { assert!(size_of::<N>().is_multiple_of(4) && size_of::<N>() < 1024) };
    #[expect(clippy::cast_possible_truncation, reason = "the assertion says that it is not")]
    return (size_of::<*mut sys::rte_mbuf>() + size_of::<N>()) as u32;
}

/// The end that packets enter, each with a note `N`. It is written with each burst, so it shares no cache line with what
/// another thread has.
#[derive(Debug)]
#[repr(align(128))]
pub struct Sender<N = ()> {
    ring: Arc<Ring>,
    /// Slots that are known to be free.
    room: u32,
    /// Not `Sync`.
    _notes: PhantomData<Cell<N>>,
}

impl<N: Copy> Sender<N> {
    /// Moves packets from the front of `burst` into the ring, with the notes at their places, as
    /// many as there is room for, and returns how many. The others move up.
    #[inline]
    pub fn send_with(&mut self, burst: &mut Burst, notes: &[N; BURST]) -> usize {
        let ring = self.ring.raw.as_ptr();
        let (notes, size) = (notes.as_ptr().cast(), size_of::<N>());
        let enqueue = |slots, count| {
            let room = &raw mut self.room;
            // SAFETY: the ring lives as long as `self`. This is its one producer: a sender is neither `Sync` nor `Clone`
            // and is borrowed mutably, so `room` is what this function left there. There are that many mbufs and
            // notes, and the ring was made for notes of this size.
            unsafe { sys::guideway_ring_enqueue(ring, slots, notes, size, count, room) }
        };
        // SAFETY: the ring owns the mbufs that it takes, from the first on, and leaves the others.
        unsafe { burst.take_front_with(enqueue) }
    }

    /// The number of packets for which there is room, or fewer: the other end only takes packets
    /// out.
    #[inline]
    pub fn room(&self) -> usize {
        // SAFETY: the ring lives as long as `self`.
        unsafe { sys::guideway_ring_free_count(self.ring.raw.as_ptr()) as usize }
    }
}

impl Sender {
    /// As [`Sender::send_with`], without notes.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        self.send_with(burst, &[(); BURST])
    }
}

/// The end that packets leave. It shares no cache line either.
#[derive(Debug)]
#[repr(align(128))]
pub struct Receiver<N = ()> {
    ring: Arc<Ring>,
    /// What is known about the packets that wait.
    seen: sys::guideway_ring_seen,
    /// Not `Sync`.
    _notes: PhantomData<Cell<N>>,
}

impl<N: Copy> Receiver<N> {
    /// Fills `burst` with waiting packets, and `notes` with their notes, and returns how many. Packets that were in the
    /// burst are freed.
    ///
    /// The sender's CPU has the packets in its cache. When this returns they are on the way, and so are the next ones.
    #[inline]
    pub fn receive_with(&mut self, burst: &mut Burst, notes: &mut [N; BURST]) -> usize {
        burst.clear();
        // SAFETY: a receiver is the ring's one consumer, neither `Sync` nor `Clone` and borrowed
        // mutably; so `seen` is what this function left there. The sender's notes are an `N` each,
        // and the burst is empty, so it gets no more packets than there is room for notes.
        unsafe {
            self.ring.receive(burst, notes.as_mut_ptr().cast(), size_of::<N>(), &mut self.seen)
        }
    }

    /// Whether no packet waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // SAFETY: the ring lives as long as `self`.
        unsafe { sys::guideway_ring_count(self.ring.raw.as_ptr()) == 0 }
    }
}

impl Receiver {
    /// As [`Receiver::receive_with`], without notes.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        self.receive_with(burst, &mut [(); BURST])
    }
}

#[derive(Debug)]
struct Ring {
    raw: NonNull<sys::rte_ring>,
    _eal: Eal,
}

// SAFETY: a ring is shared memory for one producer and one consumer on any threads. There is one of
// each, and any thread may count.
unsafe impl Send for Ring {}
// SAFETY: there is one producer and one consumer, as for `Send`.
unsafe impl Sync for Ring {}

impl Ring {
    /// # Safety
    /// No other thread takes packets out meanwhile. `seen` is true. The ring's notes have `note_size` bytes, or that is
    /// 0, and there is room for as many notes as the burst has for packets.
    unsafe fn receive(
        &self,
        burst: &mut Burst,
        notes: *mut c_void,
        note_size: usize,
        seen: &mut sys::guideway_ring_seen,
    ) -> usize {
        let ring = self.raw.as_ptr();
        let dequeue = |slots, room| {
            // SAFETY: the caller is the one consumer, and right about `seen` and the notes; `room`
            // slots are free.
            unsafe { sys::guideway_ring_dequeue(ring, slots, notes, note_size, room, seen, FRAME) }
        };
        // SAFETY: `Sender::send_with` put these mbufs in and gave them up.
        unsafe { burst.append_with(dequeue) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let (mut burst, mut seen) = (Burst::new(), NOTHING_SEEN);
        // SAFETY: both ends are gone, so nobody else takes packets out. The notes are left.
        while unsafe { self.receive(&mut burst, ptr::null_mut(), 0, &mut seen) } > 0 {
            burst.clear();
        }
        // SAFETY: both ends are gone, and the ring is empty.
        unsafe { sys::rte_ring_free(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::dpdk::testing::{eal, marks, packets, pool, unique};
    use crate::dpdk::{Mempool, lcore};

    #[test]
    fn packets_pass_in_order_as_far_as_there_is_room() {
        let pool = pool(127);
        let (mut sender, mut receiver) = channel(eal(), &unique("ring"), 32, None).unwrap();
        assert_eq!((sender.room(), receiver.is_empty()), (31, true));
        let mut burst = packets(&pool, 32);
        assert_eq!((sender.send(&mut burst), marks(&burst)), (31, vec![31]));
        assert_eq!((sender.room(), receiver.is_empty()), (0, false));
        assert_eq!(sender.send(&mut burst), 0);
        let mut received = packets(&pool, 5);
        assert_eq!(receiver.receive(&mut received), 31);
        assert_eq!(marks(&received), (0..31).collect::<Vec<_>>());
        assert_eq!((receiver.receive(&mut received), received.len()), (0, 0));
        assert_eq!(pool.in_use(), 1);
    }

    /// Bursts of all sizes, so that the ring's end falls between any two packets, and a ring that is full and empty.
    #[test]
    fn each_packet_has_its_note() {
        let pool = pool(127);
        let (mut sender, mut receiver) =
            channel_with_notes::<[u32; 3]>(eal(), &unique("ring"), 64, None).unwrap();
        let note = |packet: u32| [packet, !packet, packet << 16];
        let (mut sent, mut taken, mut received) = (0_u32, 0_u32, Burst::new());
        for round in 0..500_u32 {
            let wanted = u8::try_from(round * 7 % 33).unwrap();
            let mut burst = packets(&pool, wanted);
            let mut notes = [[0; 3]; BURST];
            for (place, packet) in notes.iter_mut().zip(sent..) {
                *place = note(packet);
            }
            let room = 63 - (sent - taken);
            let went = u32::try_from(sender.send_with(&mut burst, &notes)).unwrap();
            assert_eq!(went, room.min(wanted.into()));
            sent += went;
            if round % 3 == 0 {
                continue;
            }
            let came = receiver.receive_with(&mut received, &mut notes);
            assert_eq!(came, usize::try_from(sent - taken).unwrap().min(BURST));
            for place in &notes[..came] {
                assert_eq!(*place, note(taken));
                taken += 1;
            }
        }
        assert!(taken > 3000, "{taken}");
        drop((received, sender, receiver));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn what_is_left_is_freed_with_the_second_end() {
        let pool = pool(127);
        for receiver_first in [true, false] {
            let (mut sender, receiver) = channel(eal(), &unique("ring"), 128, None).unwrap();
            for _ in 0..3 {
                assert_eq!(sender.send(&mut packets(&pool, 32)), 32);
            }
            let (first, second): (Box<dyn Send>, Box<dyn Send>) = if receiver_first {
                (Box::new(receiver), Box::new(sender))
            } else {
                (Box::new(sender), Box::new(receiver))
            };
            drop(first);
            assert_eq!(pool.in_use(), 96);
            drop(second);
            assert_eq!(pool.in_use(), 0);
        }
    }

    #[test]
    fn an_impossible_ring_is_an_error_that_says_what_to_change() {
        let name = unique("ring");
        let text = channel(eal(), &name, 100, None).unwrap_err().to_string();
        assert!(text.contains("100 slots") && text.contains("a power of two"), "{text}");
        let _kept = channel(eal(), &name, 64, None).unwrap();
        let text = channel(eal(), &name, 64, None).unwrap_err().to_string();
        assert!(text.contains(&name) && text.contains("the name is taken"), "{text}");
    }

    /// The lines of rings that are made one after the other, each with the thread that writes it: the two ends of a
    /// ring, and what both read.
    #[test]
    fn each_end_writes_lines_of_its_own() {
        /// Bytes that a CPU may fetch together: two cache lines.
        const PAIR: usize = 128;
        let rings: Vec<_> =
            (0..9).map(|_| channel(eal(), &unique("ring"), 64, None).unwrap()).collect();
        let mut writers = std::collections::HashMap::new();
        for (n, (sender, _)) in rings.iter().enumerate() {
            let start = sender.ring.raw.as_ptr().addr();
            let at = |offset: u32| start + offset as usize;
            // Size and mask stand at the beginning. Nobody writes them, and both ends read them.
            for (writer, address) in [
                ((n, "nobody"), start),
                ((n, "nobody"), at(sys::GUIDEWAY_RING_PRODUCER) - PAIR),
                ((n, "sender"), at(sys::GUIDEWAY_RING_PRODUCER)),
                ((n, "receiver"), at(sys::GUIDEWAY_RING_CONSUMER)),
                ((n, "both"), at(sys::GUIDEWAY_RING_SLOTS)),
                ((n, "both"), at(sys::GUIDEWAY_RING_SLOTS) + 63 * size_of::<usize>()),
            ] {
                let other = *writers.entry(address / PAIR).or_insert(writer);
                assert_eq!(other, writer, "{address:#x}");
            }
        }
    }

    /// One lcore fills packets and sends them, another checks them: none is lost, doubled or out of
    /// order, and all are back in the pool, those in caches too.
    #[test]
    fn two_lcores_hand_packets_over() {
        const PACKETS: u64 = 50_000;
        let pool = Mempool::new(eal(), &unique("pool"), 1023, 256, 64, None).unwrap();
        let (mut sender, mut receiver) = channel(eal(), &unique("ring"), 256, None).unwrap();

        let source = pool.clone();
        let producer = lcore::spawn(eal(), "producer", None, move || {
            let (mut burst, mut next) = (Burst::new(), 0);
            while next < PACKETS || !burst.is_empty() {
                let wanted = (PACKETS - next).min(burst.remaining() as u64);
                let from = burst.len();
                source.allocate(&mut burst, usize::try_from(wanted).unwrap());
                for i in from..burst.len() {
                    let bytes = burst.get_mut(i).unwrap().append(8).unwrap();
                    bytes.copy_from_slice(&next.to_be_bytes());
                    next += 1;
                }
                if sender.send(&mut burst) == 0 {
                    thread::yield_now();
                }
            }
        });
        let consumer = lcore::spawn(eal(), "consumer", None, move || {
            let (mut burst, mut next) = (Burst::new(), 0_u64);
            while next < PACKETS {
                if receiver.receive(&mut burst) == 0 {
                    thread::yield_now();
                }
                for mbuf in burst.iter() {
                    assert_eq!(mbuf.bytes(), next.to_be_bytes());
                    next += 1;
                }
            }
            assert!(receiver.is_empty());
        });
        producer.unwrap().join().unwrap();
        consumer.unwrap().join().unwrap();
        assert_eq!(pool.in_use(), 0);
    }
}
