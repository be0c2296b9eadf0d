//! The Internet checksum: the one's complement of the one's complement sum of 16-bit words (RFC 1071), and its
//! incremental update (RFC 1624).
//!
//! The sum is the same in either byte order, if the result is written in the order in which the words were read (RFC
//! 1071 section 2B). So [`Checksum`] adds 8 bytes at a time in the machine's own order.

/// A sum under way. Slices of any length are summed as if they lay one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checksum {
    /// One's complement sum, in the machine's byte order.
    sum: u64,
    /// Whether an odd number of bytes was added, so that the next one is the low byte of a word.
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

    /// Whether `bytes`, with their checksum field, have a right checksum.
    pub fn is_valid(bytes: &[u8]) -> bool {
        Checksum::of(bytes) == 0
    }

    /// The sum of the pseudo-header of TCP and UDP over IPv4 (RFC 9293 section 3.1). `length` is that of the transport
    /// header and data.
    pub fn pseudo_v4(source: [u8; 4], destination: [u8; 4], protocol: u8, length: u16) -> Checksum {
        Checksum::new()
            .add_bytes(&source)
            .add_bytes(&destination)
            .add_u16(protocol.into())
            .add_u16(length)
    }

    /// The sum of the pseudo-header of upper layers over IPv6 (RFC 8200 section 8.1). `length` is that of the
    /// upper-layer header and data, without extension headers.
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
        let (words, mut rest) = bytes.as_chunks::<8>();
        let mut sum = 0;
        for word in words {
            sum = ones_add(sum, u64::from_ne_bytes(*word));
        }
        if let Some((word, behind)) = rest.split_first_chunk::<4>() {
            sum = ones_add(sum, u32::from_ne_bytes(*word).into());
            rest = behind;
        }
        if let Some((word, behind)) = rest.split_first_chunk::<2>() {
            sum = ones_add(sum, u16::from_ne_bytes(*word).into());
            rest = behind;
        }
        if let [last] = rest {
            sum = ones_add(sum, u16::from_ne_bytes([*last, 0]).into());
        }
        // RFC 1071 section 2B: at an odd offset the bytes are swapped in their words.
        let sum = if self.odd { sum.rotate_left(8) } else { sum };
        Checksum { sum: ones_add(self.sum, sum), odd: self.odd ^ (bytes.len() % 2 == 1) }
    }

    /// Adds a word of 16 bits.
    #[inline]
    pub fn add_u16(self, word: u16) -> Checksum {
        self.add_bytes(&word.to_be_bytes())
    }

    /// Adds two words of 16 bits.
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

    /// The checksum as UDP writes it. 0 becomes 0xffff, because 0 means that there is none (RFC 768).
    pub fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// One's complement sum: the carry is added at the bottom.
#[inline]
fn ones_add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u64::from(carry)
}

/// The checksum after the word `old` became `new`, anywhere in the data (RFC 1624, equation 3).
///
/// Equal to a full computation unless all data are zero now. Zeros have two checksums: a full computation gives 0xffff,
/// this one 0. No IP or transport header is ever all zero.
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    fold(!checksum as u32 + !old as u32 + new as u32)
}

/// The checksum after two adjacent words, such as an IPv4 address, became `new`. See [`update_u16`].
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    fold(!checksum as u32 + (!old >> 16) + (!old & 0xffff) + (new >> 16) + (new & 0xffff))
}

/// The checksum of a sum of few words, which carries at most twice.
const fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    let [_, _, high, low] = ((sum >> 16) + (sum & 0xffff)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn rfc_1071_section_3() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Checksum::of(&bytes), 0x220d);
    }

    #[test]
    fn rfc_1624_section_4() {
        assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn ipv4_header() {
        let mut header = *b"\x45\0\0\x3c\x1c\x46\x40\0\x40\x06\0\0\xac\x10\x0a\x63\xac\x10\x0a\x0c";
        assert_eq!(Checksum::of(&header), 0xb1e6);
        assert!(!Checksum::is_valid(&header));
        header[10..12].copy_from_slice(&[0xb1, 0xe6]);
        assert!(Checksum::is_valid(&header));
    }

    /// The SYN of the vectors, section 1.4.
    #[test]
    fn tcp_over_ipv4() {
        let segment = b"\x9c\x40\0\x50\0\0\0\x01\0\0\0\0\x50\x02\xfa\xf0\0\0\0\0";
        let sum = Checksum::pseudo_v4([198, 51, 100, 1], [203, 0, 113, 10], 6, 20);
        assert_eq!(sum.add_bytes(segment).finish(), 0xb220);
    }

    /// The neighbour advertisement of the vectors, section 1.4.
    #[test]
    fn icmpv6() {
        let source = 0x2001_0db8_0000_0000_0000_0000_0000_0010u128.to_be_bytes();
        let destination = 0xff02_0000_0000_0000_0000_0000_0000_0001u128.to_be_bytes();
        let message = b"\x88\0\0\0\x20\0\0\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x10\x02\x01\x02\0\0\0\0\x10";
        let sum = Checksum::pseudo_v6(source, destination, 58, 32);
        assert_eq!(sum.add_bytes(message).finish(), 0xf8fd);
    }

    #[test]
    fn udp_never_writes_zero() {
        assert_eq!(Checksum::new().add_u16(0xffff).finish_udp(), 0xffff);
        assert_eq!(Checksum::new().add_u16(0xfffe).finish_udp(), 0x0001);
    }

    /// RFC 1624 section 3: the older equation 2 gives 0xffff here, which a full sum never gives.
    #[test]
    fn update_gives_the_zero_that_a_full_sum_gives() {
        let (old, new) = ([0x55u8, 0x55, 0x22, 0xd1], [0xdd_u8, 0x2e, 0x22, 0xd1]);
        assert_eq!(update_u16(plain(&old), 0x5555, 0xdd2e), plain(&new));
        assert_eq!(plain(&[0xff, 0xff]), 0);
        assert_eq!(update_u16(plain(&[0, 1]), 0x0001, 0xffff), 0);
    }

    /// The only difference: zeros have the checksum 0xffff, and an update gives its other form, 0.
    #[test]
    fn update_to_all_zero_gives_the_other_zero() {
        assert_eq!(plain(&[0, 0]), 0xffff);
        assert_eq!(update_u16(plain(&[0x12, 0x34]), 0x1234, 0), 0);
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes in vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Checksum::of(&bytes), plain(&bytes));
        }

        #[test]
        fn ones_carry_all_the_way(length in 0usize..100) {
            let bytes = vec![0xff; length];
            prop_assert_eq!(Checksum::of(&bytes), plain(&bytes));
        }

        #[test]
        fn parts_of_any_length_sum_as_the_whole(parts in vec(vec(any::<u8>(), 0..20), 0..8)) {
            let sum = parts.iter().fold(Checksum::new(), |sum, part| sum.add_bytes(part));
            prop_assert_eq!(sum.finish(), plain(&parts.concat()));
        }

        #[test]
        fn update_equals_a_full_sum(
            mut bytes in vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 6..40),
            word in any::<prop::sample::Index>(),
            new in prop_oneof![Just(0), Just(0xffff_ffff), any::<u32>()],
        ) {
            let at = word.index(bytes.len() / 2 - 1) * 2;
            let before = plain(&bytes);
            let field = <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap();
            bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
            let by_double = update_u32(before, u32::from_be_bytes(field), new);
            let [a, b, c, d] = new.to_be_bytes();
            let by_first = update_u16(
                before,
                u16::from_be_bytes([field[0], field[1]]),
                u16::from_be_bytes([a, b]),
            );
            let by_single = update_u16(
                by_first,
                u16::from_be_bytes([field[2], field[3]]),
                u16::from_be_bytes([c, d]),
            );
            let full = plain(&bytes);
            if bytes.iter().all(|&byte| byte == 0) {
                prop_assert_eq!(full, 0xffff);
                prop_assert!(by_double == 0 || before == 0xffff);
            } else if before != 0xffff {
                prop_assert_eq!(by_double, full);
                prop_assert_eq!(by_single, full);
            } else {
                // The data were all zero: only then may the two forms of zero meet.
                prop_assert_eq!(by_double % 0xffff, full % 0xffff);
            }
        }
    }
}
