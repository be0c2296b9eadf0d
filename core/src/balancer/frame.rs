//! What the packet path needs of packet buffers: [`Frame`], a [`Burst`] of them, and an [`Allocator`].
//!
//! Mbufs implement these on the packet path, and [`Buffer`] in tests, fuzzers and benchmarks. A frame has one
//! owner (`OwnedMbuf`, `Box<Buffer>`), which derefs to it. Code that keeps frames or passes them on is generic over
//! that owner.

use std::ops::{Deref, DerefMut};

use super::prefetch::prefetch;
use crate::wire::ethernet;

/// The largest number of frames in a burst: what DPDK's vector receive functions are made for.
pub const BURST: usize = 32;

/// Bytes before the border of [`Frame::reframe`]. An mbuf has 142 before the IP header of a packet.
pub const BEFORE: usize = 112;

/// Bytes behind the border of [`Frame::reframe`]: the shortest IP packet that has ports.
pub const BEHIND: usize = 28;

/// The bytes on both sides of a place in a frame.
pub type Border = [u8; BEFORE + BEHIND];

/// A frame that can be rewritten in place: an mbuf on the packet path, a plain buffer in tests.
///
/// A frame may have several segments. The first one has all headers, and is all that is read and rewritten here;
/// the others follow it as they are.
pub trait Frame: Sized {
    /// The first segment of the frame, from the Ethernet header on.
    fn bytes(&self) -> &[u8];

    /// The length of the first segment. Unlike [`Frame::bytes`] it leaves the address alone, which on the fast path
    /// saves registers.
    #[inline(always)]
    fn first_length(&self) -> usize {
        self.bytes().len()
    }

    /// The length of the whole frame, over all segments.
    fn length(&self) -> usize;

    /// Whether the frame has one segment, so that [`Frame::bytes`] is all of it.
    fn is_contiguous(&self) -> bool;

    /// Whether others may read or write the buffer too, so that it must not be rewritten.
    fn is_shared(&self) -> bool;

    /// The first `N` bytes of a frame that may be rewritten and has one segment; otherwise `None`.
    #[inline(always)]
    fn head<const N: usize>(&self) -> Option<&[u8; N]> {
        if !self.is_contiguous() || self.is_shared() {
            return None;
        }
        self.bytes().first_chunk()
    }

    /// Asks the CPU to load the headers. A frame for which that is not worth the effort does nothing.
    #[inline(always)]
    fn prefetch_headers(&self) {}

    /// Shortens the first segment to `length` bytes, if it is longer.
    fn truncate(&mut self, length: usize);

    /// Adds `n` bytes of any value before the frame and returns the whole first segment. Returns `None`, and
    /// changes nothing, if there is not enough headroom.
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Replaces the Ethernet header by `N` bytes of any value, keeps `length` bytes behind it, and returns the
    /// new bytes. Returns `None`, and changes nothing, if there is not enough headroom, or the frame is shorter, has
    /// several segments or is shared.
    fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]>;

    /// Replaces the first `from` bytes by `to` bytes of any value and keeps `length` bytes behind them. Returns the
    /// border between both with its surroundings. Of those, bytes that are not in the frame may be written too.
    ///
    /// Returns `None`, and changes nothing, if the frame is shorter, has several segments, is shared, or has not so many
    /// bytes before the border, or if `length` is less than [`BEHIND`].
    fn reframe(&mut self, from: usize, to: usize, length: u16) -> Option<&mut Border>;

    /// Removes `n` bytes from the front of the frame and returns the rest of the first segment. Returns `None`,
    /// and changes nothing, if that is shorter.
    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Adds `n` bytes of any value behind a frame of one segment and returns them. Returns `None`, and changes
    /// nothing, if there is not enough room.
    fn append(&mut self, n: usize) -> Option<&mut [u8]>;
}

/// Up to [`BURST`] frames with one owner, in order.
pub trait Burst: Default {
    /// What owns one frame.
    type Owned: DerefMut<Target: Frame>;

    /// The frames.
    fn frames(&self) -> &[Self::Owned];

    /// The frames, to write.
    fn frames_mut(&mut self) -> impl ExactSizeIterator<Item = &mut <Self::Owned as Deref>::Target>;

    /// A frame, to write.
    fn frame_mut(&mut self, place: usize) -> Option<&mut <Self::Owned as Deref>::Target>;

    /// Takes the frames out, one after the other.
    fn drain(&mut self) -> impl Iterator<Item = Self::Owned>;

    /// Appends a frame.
    ///
    /// # Errors
    /// The frame, if the burst is full.
    fn push(&mut self, frame: Self::Owned) -> Result<(), Self::Owned>;

    /// Drops all frames.
    fn clear(&mut self);

    /// Asks the CPU to load the cache line at `value`, without waiting for it.
    fn prefetch<T>(value: &T);
}

/// Where new frames come from.
pub trait Allocator<F> {
    /// An empty frame with the usual headroom, or `None` if no buffer is left.
    fn allocate(&self) -> Option<F>;
}

/// A frame in ordinary memory, for tests, fuzzers and benchmarks.
#[derive(Clone, Debug)]
pub struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    /// How many bytes further segments have. There is nothing of them but this number.
    behind: usize,
    is_shared: bool,
}

impl Buffer {
    /// A copy of `frame` with `headroom` bytes before it and none behind it.
    pub fn new(frame: &[u8], headroom: usize) -> Buffer {
        let mut memory = vec![0; headroom];
        memory.extend_from_slice(frame);
        Buffer {
            end: memory.len(),
            memory: memory.into(),
            start: headroom,
            behind: 0,
            is_shared: false,
        }
    }

    /// An empty frame with room before and behind it.
    pub fn empty(headroom: usize, room: usize) -> Buffer {
        let memory = vec![0; headroom + room].into();
        Buffer { memory, start: headroom, end: headroom, behind: 0, is_shared: false }
    }

    /// This frame with further segments of `length` bytes in all.
    pub fn followed_by(self, length: usize) -> Buffer {
        Buffer { behind: length, ..self }
    }

    /// This frame, as if others could write it too.
    pub fn shared(self) -> Buffer {
        Buffer { is_shared: true, ..self }
    }

    /// Makes this a copy of `frame`, with `headroom` bytes before it, in the same memory. Returns `None`, and
    /// changes nothing, if that is too small.
    pub fn refill(&mut self, frame: &[u8], headroom: usize) -> Option<()> {
        let end = headroom + frame.len();
        self.memory.get_mut(headroom..end)?.copy_from_slice(frame);
        (self.start, self.end, self.behind) = (headroom, end, 0);
        Some(())
    }
}

/// Frames are equal if their bytes are, whatever the memory around these holds.
impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        let of = |frame: &Buffer| (frame.behind, frame.is_shared);
        self.bytes() == other.bytes() && of(self) == of(other)
    }
}

impl Frame for Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    #[inline]
    fn length(&self) -> usize {
        self.end - self.start + self.behind
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        self.behind == 0
    }

    #[inline]
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    #[inline]
    fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start + length);
    }

    #[inline]
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(&mut self.memory[self.start..self.end])
    }

    #[inline]
    fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]> {
        let end = self.start + ethernet::LENGTH + usize::from(length);
        let start = self.start.checked_sub(N - ethernet::LENGTH)?;
        if end > self.end || self.behind > 0 || self.is_shared {
            return None;
        }
        (self.start, self.end) = (start, end);
        self.memory[start..end].first_chunk_mut()
    }

    #[inline]
    fn reframe(&mut self, from: usize, to: usize, length: u16) -> Option<&mut Border> {
        let (border, length) = (self.start + from, usize::from(length));
        let begin = border.checked_sub(BEFORE)?;
        let start = border.checked_sub(to)?;
        if border + length > self.end || length < BEHIND || self.behind > 0 || self.is_shared {
            return None;
        }
        (self.start, self.end) = (start, border + length);
        self.memory[begin..border + BEHIND].first_chunk_mut()
    }

    #[inline]
    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_add(n).filter(|&start| start <= self.end)?;
        Some(&mut self.memory[self.start..self.end])
    }

    #[inline]
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        let end = self.end.checked_add(n).filter(|_| self.behind == 0)?;
        let added = self.memory.get_mut(self.end..end)?;
        self.end = end;
        Some(added)
    }
}

/// Makes frames in ordinary memory, of which there always is enough.
#[derive(Clone, Copy, Debug)]
pub struct Buffers {
    /// Bytes before each new frame.
    pub headroom: usize,
    /// Bytes for the frame itself.
    pub room: usize,
}

impl Allocator<Box<Buffer>> for Buffers {
    fn allocate(&self) -> Option<Box<Buffer>> {
        Some(Box::new(Buffer::empty(self.headroom, self.room)))
    }
}

/// Frames in ordinary memory, each with an owner that is a pointer, as that of an mbuf is.
pub type BufferBurst = Vec<Box<Buffer>>;

/// A burst in ordinary memory. It has room for [`BURST`] packets from the start if it is made with that capacity.
impl Burst for BufferBurst {
    type Owned = Box<Buffer>;

    #[inline(always)]
    fn frames(&self) -> &[Box<Buffer>] {
        // There never are more, which the compiler does not know.
        &self[..self.len().min(BURST)]
    }

    #[inline(always)]
    fn frames_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Buffer> {
        let length = self.len().min(BURST);
        self[..length].iter_mut().map(|buffer| &mut **buffer)
    }

    #[inline(always)]
    fn frame_mut(&mut self, place: usize) -> Option<&mut Buffer> {
        self.get_mut(place).map(|buffer| &mut **buffer)
    }

    #[inline(always)]
    fn drain(&mut self) -> impl Iterator<Item = Box<Buffer>> {
        Vec::drain(self, ..)
    }

    #[inline(always)]
    fn push(&mut self, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        if self.len() == BURST {
            return Err(frame);
        }
        Vec::push(self, frame);
        Ok(())
    }

    #[inline]
    fn clear(&mut self) {
        Vec::clear(self);
    }

    #[inline(always)]
    fn prefetch<T>(value: &T) {
        prefetch(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_moves_as_far_as_there_is_room() {
        let mut buffer = Buffer::new(&[1, 2, 3], 2);
        assert_eq!(buffer.pull_front(2), Some(&mut [3][..]));
        assert_eq!(buffer.pull_front(2), None);
        assert_eq!(buffer.pull_front(usize::MAX), None);
        assert_eq!(buffer.bytes(), [3], "a refusal changes nothing");
        assert_eq!(buffer.push_front(4).map(|frame| frame.len()), Some(5));
        assert_eq!(buffer.push_front(1), None);
    }

    #[test]
    fn the_end_moves_as_far_as_there_is_room() {
        let mut buffer = Buffer::empty(2, 3);
        assert_eq!((buffer.bytes(), buffer.length()), (&[][..], 0));
        buffer.append(2).unwrap().copy_from_slice(&[1, 2]);
        assert_eq!(buffer.append(2), None);
        assert_eq!(buffer.append(usize::MAX), None);
        assert_eq!(buffer.bytes(), [1, 2], "a refusal changes nothing");
        buffer.truncate(1);
        buffer.append(2).unwrap().copy_from_slice(&[3, 4]);
        assert_eq!(buffer.bytes(), [1, 3, 4]);
    }

    #[test]
    fn further_segments_count_and_forbid_what_needs_one_segment() {
        let mut buffer = Buffer::new(&[0; 60], 64).followed_by(1000);
        assert_eq!((buffer.bytes().len(), buffer.length()), (60, 1060));
        assert!(!buffer.is_contiguous() && buffer.head::<14>().is_none());
        assert_eq!(buffer.wrap::<38>(46), None);
        assert_eq!(buffer.reframe(14, 38, 46), None);
        assert_eq!(buffer.append(0), None);
        buffer.push_front(24).unwrap();
        buffer.truncate(70);
        assert_eq!((buffer.bytes().len(), buffer.length()), (70, 1070));
    }

    #[test]
    fn a_burst_takes_32() {
        let mut burst = BufferBurst::new();
        let packet = || Box::new(Buffer::new(&[], 0));
        for _ in 0..BURST {
            assert_eq!(Burst::push(&mut burst, packet()), Ok(()));
        }
        assert_eq!(Burst::push(&mut burst, packet()), Err(packet()));
        assert_eq!((burst.frames().len(), Burst::drain(&mut burst).count()), (BURST, BURST));
    }
}
