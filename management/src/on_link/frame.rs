//! The frames that announce an address to its link.

use std::net::IpAddr;

use guideway_config::Mac;
use guideway_core::wire::ethernet::VLAN;
use guideway_core::wire::{arp, neighbor};

/// Bytes of both MAC addresses, which a tag follows.
const MACS: usize = 12;

/// The frame that says that an address is at a MAC address, in a VLAN if one is given.
pub(super) fn announcement(mac: Mac, address: IpAddr, vlan: Option<u16>) -> Vec<u8> {
    let frame = match address {
        IpAddr::V4(v4) => arp::announcement(mac, v4.octets()).to_vec(),
        IpAddr::V6(v6) => neighbor::announcement(mac, v6.octets()).to_vec(),
    };
    let Some(vlan) = vlan else { return frame };
    let (macs, rest) = frame.split_at(MACS);
    [macs, &VLAN.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn each_family_has_its_frame() {
        let v4 = announcement(MAC, "192.0.2.100".parse().unwrap(), None);
        assert_eq!((v4.len(), &v4[12..14]), (60, &[0x08, 0x06][..]));
        let v6 = announcement(MAC, "2001:db8::100".parse().unwrap(), None);
        assert_eq!((v6.len(), &v6[12..14]), (86, &[0x86, 0xdd][..]));
    }

    #[test]
    fn a_vlan_is_a_tag_behind_the_mac_addresses() {
        let address = "192.0.2.100".parse().unwrap();
        let (plain, tagged) =
            (announcement(MAC, address, None), announcement(MAC, address, Some(200)));
        assert_eq!(tagged[..12], plain[..12]);
        assert_eq!(tagged[12..16], [0x81, 0, 0, 200]);
        assert_eq!(tagged[16..], plain[12..]);
    }
}
