//! The hops that a packet has left: IPv4's time to live, IPv6's hop limit.

/// Lowers the time to live or the hop limit of an IP packet by one, with IPv4's header checksum. `ip` begins with the
/// packet's header. Returns `None`, and changes nothing, if the packet has no hop left (RFC 1812 section 5.3.1, RFC
/// 8200 section 3), or if `ip` is too short.
#[inline]
pub fn lower(ip: &mut [u8]) -> Option<()> {
    const TTL: usize = 8;
    const CHECKSUM: usize = 10;
    const HOP_LIMIT: usize = 7;
    let head: &mut [u8; CHECKSUM + 2] = ip.first_chunk_mut()?;
    if head[0] >> 4 == 4 {
        if head[TTL] <= 1 {
            return None;
        }
        head[TTL] -= 1;
        // The word with the time to live falls by 0x100, so the checksum rises by as much, with its carry added at
        // the bottom (RFC 1141). In the other byte order that is 1 (RFC 1071 section 2B). 0xffff is the other form
        // of zero, against which RFC 1624 section 3 warns.
        let sum = u32::from(u16::from_le_bytes([head[CHECKSUM], head[CHECKSUM + 1]])) + 1;
        #[expect(clippy::cast_possible_truncation, reason = "the carry was added")]
        let checksum = (sum + u32::from(sum >= 0xffff)) as u16;
        [head[CHECKSUM], head[CHECKSUM + 1]] = checksum.to_le_bytes();
    } else {
        if head[HOP_LIMIT] <= 1 {
            return None;
        }
        head[HOP_LIMIT] -= 1;
    }
    Some(())
}

/// Whether a packet has a hop left, so that [`lower`] succeeds.
#[cold]
pub fn may_go_on(ip: &[u8]) -> bool {
    ip.first_chunk::<12>().is_some_and(|head| lower(&mut { *head }).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Checksum;

    proptest! {
        #[test]
        fn the_checksum_is_that_of_the_new_header(mut header in any::<[u8; 20]>(), ttl in 2u8..) {
            (header[0], header[8]) = (0x45, ttl);
            header[10..12].fill(0);
            let checksum = Checksum::of(&header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            lower(&mut header).unwrap();
            prop_assert_eq!(header[8], ttl - 1);
            let updated = [header[10], header[11]];
            header[10..12].fill(0);
            prop_assert_eq!(updated, Checksum::of(&header).to_be_bytes());
        }
    }

    #[test]
    fn the_last_hop_changes_nothing() {
        for ttl in [0, 1] {
            let (mut v4, mut v6) = ([0x45; 20], [0x60; 40]);
            (v4[8], v6[7]) = (ttl, ttl);
            let before = (v4, v6);
            assert_eq!((lower(&mut v4), lower(&mut v6)), (None, None));
            assert_eq!((v4, v6), before);
        }
        let mut v6 = [0x60; 40];
        v6[7] = 2;
        assert_eq!((lower(&mut v6), v6[7]), (Some(()), 1));
        assert_eq!(lower(&mut [0x45; 11]), None, "too short");
    }
}
