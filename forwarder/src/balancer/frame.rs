//! What the balancer needs of a packet buffer.

/// A frame that can be rewritten in place: an mbuf on the packet path, a plain buffer in tests.
pub trait Frame {
    /// The frame, from its Ethernet header on.
    fn bytes(&self) -> &[u8];

    /// Cuts the frame to `length` bytes, if it is longer.
    fn truncate(&mut self, length: usize);

    /// Makes room for `n` bytes before the frame and answers the whole frame, those bytes (of any
    /// value) included; `None`, and no change, if there is no such room.
    fn push_front(&mut self, n: usize) -> Option<&mut [u8]>;
}

/// A frame in ordinary memory, with headroom, for tests, fuzzers and benchmarks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// `frame` behind `headroom` bytes.
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
}
