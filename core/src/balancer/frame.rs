//! What the balancer needs of a packet buffer: bytes that grow and shrink at the front.
//!
//! [`Frame`] is implemented by mbufs on the packet path and by [`Buffer`] in tests, fuzzers and benchmarks.

use crate::wire::ethernet;

/// A frame that can be rewritten in place: an mbuf on the packet path, a plain buffer in tests.
pub trait Frame {
    /// The frame, from its Ethernet header on.
    fn bytes(&self) -> &[u8];

    /// Shortens the frame to `length` bytes, if it is longer.
    fn truncate(&mut self, length: usize);

    /// Adds `n` bytes of any value before the frame and returns the whole frame. Returns `None`, and changes
    /// nothing, if there is not enough headroom.
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]>;

    /// Replaces the Ethernet header by `N` bytes of any value, keeps `length` bytes behind it, and returns the
    /// new bytes. Returns `None` if there is not enough headroom or the frame is too short; the frame may then
    /// have been shortened.
    #[inline]
    fn wrap<const N: usize>(&mut self, length: u16) -> Option<&mut [u8; N]> {
        self.truncate(ethernet::LENGTH + usize::from(length));
        self.push_front(N - ethernet::LENGTH)?.first_chunk_mut()
    }

    /// Removes `n` bytes from the front of the frame and returns the rest. Returns `None`, and changes nothing,
    /// if the frame is shorter.
    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]>;
}

/// A frame in ordinary memory, with headroom, for tests, fuzzers and benchmarks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// A copy of `frame` with `headroom` bytes before it.
    pub fn new(frame: &[u8], headroom: usize) -> Buffer {
        let mut memory = vec![0; headroom];
        memory.extend_from_slice(frame);
        Buffer { memory, start: headroom }
    }
}

impl Frame for Buffer {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    fn truncate(&mut self, length: usize) {
        self.memory.truncate(self.start + length);
    }

    fn push_front(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(&mut self.memory[self.start..])
    }

    fn pull_front(&mut self, n: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_add(n)?;
        let rest = self.memory.get_mut(start..)?;
        self.start = start;
        Some(rest)
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
}
