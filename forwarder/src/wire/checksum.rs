//! The Internet checksum: the one's complement of the one's complement sum of 16-bit words (RFC 1071), and
//! its incremental update (RFC 1624).
//!
//! The sum does not care in which byte order the words are read, as long as the result is written in the
//! same (RFC 1071 section 2B), so [`Checksum`] adds 8 bytes at a time in the machine's own order.

/// A sum in the making. Slices are summed as if they lay one behind the other, whatever their lengths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// One's complement sum, in the machine's byte order.
    sum: u64,
    /// Whether an odd number of bytes is in, so that the next one is the low byte of a word.
    odd: bool,
}

impl Checksum {
    /// Nothing summed yet.
    pub const fn new() -> Checksum {
        Checksum { sum: 0, odd: false }
    }

    /// The checksum of `bytes`, whose own checksum field is 0.
    pub fn of(bytes: &[u8]) -> u16 {
        Checksum::new().add_bytes(bytes).finish()
    }

    /// Whether `bytes`, checksum field included, sum up to what they should.
    pub fn is_valid(bytes: &[u8]) -> bool {
        Checksum::of(bytes) == 0
    }

    /// The pseudo-header of TCP and UDP over IPv4 (RFC 9293 section 3.1). `length` is of the transport
    /// header and data.
    pub fn pseudo_v4(source: [u8; 4], destination: [u8; 4], protocol: u8, length: u16) -> Checksum {
        Checksum::new()
            .add_bytes(&source)
            .add_bytes(&destination)
            .add_u16(protocol.into())
            .add_u16(length)
    }

    /// The pseudo-header of upper layers over IPv6 (RFC 8200 section 8.1). `length` is of the upper-layer
    /// header and data, without extension headers.
    pub fn pseudo_v6(
        source: [u8; 16],
        destination: [u8; 16],
        protocol: u8,
        length: u32,
    ) -> Checksum {
        Checksum::new()
            .add_bytes(&source)
            .add_bytes(&destination)
            .add_u32(length)
            .add_u32(protocol.into())
    }

    /// Adds `bytes`.
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Checksum {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut sum = 0;
        for word in words {
            sum = ones_add(sum, u64::from_ne_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            sum = ones_add(sum, u64::from_ne_bytes(last));
        }
        // RFC 1071 section 2B: at an odd offset each byte has the other's place in its word.
        let sum = if self.odd { sum.rotate_left(8) } else { sum };
        Checksum { sum: ones_add(self.sum, sum), odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// Adds a word.
    #[inline]
    pub fn add_u16(self, word: u16) -> Checksum {
        self.add_bytes(&word.to_be_bytes())
    }

    /// Adds two words.
    #[inline]
    pub fn add_u32(self, words: u32) -> Checksum {
        self.add_bytes(&words.to_be_bytes())
    }

    /// The checksum.
    #[inline]
    pub fn finish(self) -> u16 {
        let sum = (self.sum >> 32) + (self.sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let [low, high, ..] = sum.to_le_bytes();
        u16::from_be(!u16::from_le_bytes([low, high]))
    }

    /// The checksum as UDP writes it: 0 would mean that there is none (RFC 768).
    pub fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// One's complement sum: the carry comes back in at the bottom.
#[inline]
fn ones_add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

/// The checksum after the word `old` became `new`, wherever in the data it lies (RFC 1624, equation 3).
///
/// Equal to a full computation, unless all the data are now zero: that has two checksums, 0x0000 and
/// 0xffff, of which this gives the first. No IP or transport header is ever all zero.
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    fold(!checksum as u32 + !old as u32 + new as u32)
}

/// As [`update_u16`] for two words that stand together, such as an IPv4 address.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    fold(!checksum as u32 + (!old >> 16) + (!old & 0xffff) + (new >> 16) + (new & 0xffff))
}

/// The checksum of a sum of a few words: two carries at most.
const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let [_, _, high, low] = ((sum >> 16) + (sum & 0xffff)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}
