//! The MPLS label stack (RFC 3032), carried by GRE or UDP.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |                Label                  | TC  |S|       TTL     |
//! ```
//!
//! The stack ends with the entry that has S. This host is the end of every label's path, so labels
//! and TTLs are not used. No field names the protocol after the stack: like a router, the agent
//! uses the first four bits of the packet, 4 or 6.

use super::inner::{Error, Inner, inner_of_any_family};

const ENTRY: usize = 4;
const BOTTOM: u8 = 0x01;

/// Finds the inner packet after the label stack at `start` of `payload`.
pub(super) fn inner_after_labels(payload: &[u8], start: usize) -> Result<Inner, Error> {
    let stack = payload.get(start..).ok_or(Error::Truncated)?;
    let (entries, _) = stack.as_chunks::<ENTRY>();
    let bottom = entries.iter().position(|entry| entry[2] & BOTTOM != 0).ok_or(Error::Truncated)?;
    inner_of_any_family(payload, start + ENTRY * (bottom + 1))
}

#[cfg(test)]
mod tests {
    use super::super::Family;
    use super::super::samples::{SYN, V6, found};
    use super::*;

    fn labelled(entries: &[u32], packet: &[u8]) -> Vec<u8> {
        let stack: Vec<_> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        [&stack[..], packet].concat()
    }

    /// RFC 3032, section 2.1: label 1000 with TC 5, then 16 at the bottom.
    #[test]
    fn the_stack_ends_with_s() {
        let two = [1000 << 12 | 5 << 9 | 64, 16 << 12 | 1 << 8 | 64];
        assert_eq!(inner_after_labels(&labelled(&two, &SYN), 0), found(Family::V4, 8, 40));
        assert_eq!(inner_after_labels(&labelled(&two[1..], &V6), 0), found(Family::V6, 4, 48));
        // The explicit null labels of section 2.1.
        assert_eq!(inner_after_labels(&labelled(&[0x0140], &SYN), 0), found(Family::V4, 4, 40));
        assert_eq!(inner_after_labels(&labelled(&[0x2140], &V6), 0), found(Family::V6, 4, 48));
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(inner_after_labels(&labelled(&[0x0001_0040], &[]), 0), Err(Error::Truncated));
        assert_eq!(inner_after_labels(&[0, 1, 1], 0), Err(Error::Truncated));
        assert_eq!(inner_after_labels(&[], 0), Err(Error::Truncated));
        assert_eq!(inner_after_labels(&[0, 1, 1, 64], 0), Err(Error::InnerTruncated));
        // A pseudowire's control word (RFC 4385) begins with 0, an associated channel with 1.
        assert_eq!(inner_after_labels(&[0, 1, 1, 64, 0, 0, 0, 0], 0), Err(Error::InnerHeader));
        assert_eq!(inner_after_labels(&[0, 1, 1, 64, 0x10, 0, 0, 0], 0), Err(Error::InnerHeader));
    }
}
