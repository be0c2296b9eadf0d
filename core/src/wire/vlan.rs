//! VLAN tags: 802.1Q (`0x8100`) and 802.1ad (`0x88a8`), 4 bytes each, between the MAC addresses and the ethertype.
//!
//! [`Tag`] begins behind the tag's own ethertype: it is the control word and the next ethertype. The forwarder accepts
//! at most [`MAX_TAGS`], in any mix of the two kinds.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet;

/// The most tags of a frame: 802.1ad has a customer tag inside a service tag.
pub const MAX_TAGS: usize = 2;

/// Bytes that one tag adds to a frame.
pub const LENGTH: usize = 4;

/// A tag, behind its ethertype.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Tag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits).
    pub control: U16,
    /// The ethertype of what follows the tag.
    pub ethertype: U16,
}

const _: () = assert!(size_of::<Tag>() == LENGTH);

impl Tag {
    /// A tag before `ethertype`, with the low 3 bits of `priority` and the low 12 of `identifier`.
    pub const fn new(priority: u8, identifier: u16, ethertype: u16) -> Tag {
        let control = (priority as u16 & 7) << 13 | identifier & 0xfff;
        Tag { control: U16::new(control), ethertype: U16::new(ethertype) }
    }

    /// The VLAN identifier; 0 if the tag has a priority only.
    pub const fn identifier(&self) -> u16 {
        self.control.get() & 0xfff
    }

    /// The priority code point, 0 to 7.
    pub const fn priority(&self) -> u8 {
        self.control.to_bytes()[0] >> 5
    }

    /// Whether the frame may be dropped before others.
    pub const fn drop_eligible(&self) -> bool {
        self.control.get() & 0x1000 != 0
    }
}

/// An 802.1Q tag as it stands behind the MAC addresses: its own ethertype, then the control word with the low 3 bits of
/// `priority` and the low 12 of `identifier`.
pub const fn tag(priority: u8, identifier: u16) -> [u8; LENGTH] {
    let control = Tag::new(priority, identifier, 0).control.to_bytes();
    let [high, low] = ethernet::VLAN.to_be_bytes();
    [high, low, control[0], control[1]]
}

/// Whether a tag follows `ethertype`.
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ethernet::VLAN | ethernet::SERVICE_VLAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_priority_5_drop_eligible_vlan_100() {
        let tag = Tag::ref_from_bytes(&[0xb0, 0x64, 0x86, 0xdd]).unwrap();
        assert_eq!((tag.priority(), tag.drop_eligible(), tag.identifier()), (5, true, 100));
        assert_eq!(tag.ethertype.get(), ethernet::IPV6);
    }

    #[test]
    fn writes_priority_5_vlan_100() {
        assert_eq!(tag(5, 100), [0x81, 0, 0xa0, 0x64]);
        assert_eq!(tag(0, 0xf000 | 4094), [0x81, 0, 0x0f, 0xfe], "12 bits");
    }

    #[test]
    fn only_two_ethertypes_are_tags() {
        let tags: Vec<u16> = (0..=u16::MAX).filter(|&ethertype| is_tag(ethertype)).collect();
        assert_eq!(tags, [0x8100, 0x88a8]);
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(priority in 0u8..8, identifier in 0u16..4096, ethertype: u16) {
            let built = Tag::new(priority, identifier, ethertype);
            let read = Tag::read_from_bytes(built.as_bytes()).unwrap();
            prop_assert_eq!(read.priority(), priority);
            prop_assert_eq!(read.identifier(), identifier);
            prop_assert_eq!(read.ethertype.get(), ethertype);
            prop_assert!(!read.drop_eligible());
        }
    }
}
