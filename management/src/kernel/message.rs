//! From netlink messages to what the rest of this directory knows.

use std::net::IpAddr;

use guideway_config::Mac;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
    NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};

use super::view::NeighborState;
use crate::routing::Refusal;
use guideway_netlink::{Refused, family};

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) has_carrier: bool,
    /// Of a VLAN device (IEEE 802.1Q): its VLAN, and the index of the device that it is on.
    pub(super) vlan: Option<(u16, u32)>,
}

/// The device that a message describes.
pub(super) fn device(message: &LinkMessage) -> Option<Device> {
    let (mut name, mut parent, mut id, mut is_tagged) = (None, None, None, true);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Link(index) => parent = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    let LinkInfo::Data(InfoData::Vlan(vlan)) = info else { continue };
                    for item in vlan {
                        match item {
                            InfoVlan::Id(vlan) => id = Some(*vlan),
                            InfoVlan::Protocol(of) => is_tagged = *of == VlanProtocol::Ieee8021Q,
                            _ => (),
                        }
                    }
                }
            }
            _ => (),
        }
    }
    let flags = message.header.flags;
    Some(Device {
        index: message.header.index,
        name: name?,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp),
        vlan: id.filter(|_| is_tagged).zip(parent),
    })
}

/// The device's index, and the address that a message describes.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => (),
        }
    }
    // Of a point-to-point link, the other is the peer's.
    let network = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some((message.header.index, network))
}

/// Whether another host on the link was found to have an address (RFC 4862 section 5.4).
pub(super) fn is_duplicate(message: &AddressMessage) -> bool {
    let is_failed = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Dadfailed));
    message.attributes.iter().any(is_failed)
}

/// An entry of the neighbour tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mac: Option<Mac>,
    pub(super) state: NeighborState,
    /// Whether it is both managed and externally learnt.
    pub(super) is_managed: bool,
}

/// The device's index, the neighbour's address, and the entry that a message describes. `None` for proxied ones.
pub(super) fn neighbor(message: &NeighbourMessage) -> Option<(u32, IpAddr, Entry)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let is_learnt = message.header.flags.contains(NeighbourFlags::ExtLearned);
    let (mut address, mut mac, mut is_managed) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some((*v4).into())
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some((*v6).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = Mac::try_from(&bytes[..]).ok().filter(is_of_host);
            }
            NeighbourAttribute::ExtFlags(flags) => {
                is_managed = is_learnt && flags.contains(NeighbourExtFlags::Managed);
            }
            _ => (),
        }
    }
    let state = match message.header.state {
        NeighbourState::Incomplete => NeighborState::Incomplete,
        NeighbourState::Reachable => NeighborState::Reachable,
        NeighbourState::Stale => NeighborState::Stale,
        NeighbourState::Delay => NeighborState::Delay,
        NeighbourState::Probe => NeighborState::Probe,
        NeighbourState::Failed => NeighborState::Failed,
        NeighbourState::Noarp => NeighborState::NoArp,
        NeighbourState::Permanent => NeighborState::Permanent,
        _ => NeighborState::Missing,
    };
    Some((message.header.ifindex, address?, Entry { mac, state, is_managed }))
}

/// Whether a single host can have a MAC address. Anybody on the link can announce another.
fn is_of_host(mac: &Mac) -> bool {
    mac[0] & 1 == 0 && *mac != [0; 6]
}

/// One hop of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawHop {
    /// The index of the device.
    pub(super) index: u32,
    pub(super) gateway: Option<IpAddr>,
    pub(super) is_alive: bool,
    /// Whether the kernel would put other headers before packets.
    pub(super) encapsulates: bool,
}

/// What the kernel answers about a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) prefix: u8,
    pub(super) table: u32,
    pub(super) protocol: u8,
    pub(super) kind: RawKind,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawKind {
    /// By these hops. None if the kernel names a nexthop object alone.
    Via(Vec<RawHop>),
    Own,
    Refused(Refusal),
    None,
}

/// Asks by which route packets to a destination go, from a source if one is given. With `by_prefix`, the answer is the
/// entry of the routing table; else it is one hop of it.
pub(super) fn question(
    destination: IpAddr,
    source: Option<IpAddr>,
    by_prefix: bool,
) -> RouteMessage {
    /// `RTM_F_LOOKUP_TABLE`: name the table that the route was found in.
    const TABLE: u32 = 0x1000;
    /// `RTM_F_FIB_MATCH`: answer with the entry.
    const ENTRY: u32 = 0x2000;
    let all = if destination.is_ipv4() { 32 } else { 128 };
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = all;
    message.header.flags = RouteFlags::from_bits_retain(TABLE | if by_prefix { ENTRY } else { 0 });
    message.attributes.push(RouteAttribute::Destination(destination.into()));
    if let Some(source) = source {
        message.header.source_prefix_length = all;
        message.attributes.push(RouteAttribute::Source(source.into()));
    }
    message
}

/// An answer to [`question`].
pub(super) fn answer(message: &RouteMessage) -> Answer {
    let header = &message.header;
    let mut table = u32::from(header.table);
    #[expect(clippy::cast_possible_truncation, reason = "the flags of the hop are the low ones")]
    let flags = RouteNextHopFlags::from_bits_retain(header.flags.bits() as u8);
    let mut hops = Vec::new();
    let single = hop(0, flags, &message.attributes);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::MultiPath(several) => {
                let of = several
                    .iter()
                    .map(|next| hop(next.interface_index, next.flags, &next.attributes));
                hops.extend(of);
            }
            _ => (),
        }
    }
    if hops.is_empty() && single.index != 0 {
        hops.push(single);
    }
    let kind = match header.kind {
        RouteType::Unicast => RawKind::Via(hops),
        RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => {
            RawKind::Own
        }
        RouteType::BlackHole => RawKind::Refused(Refusal::Blackhole),
        RouteType::Unreachable => RawKind::Refused(Refusal::Unreachable),
        RouteType::Prohibit => RawKind::Refused(Refusal::Prohibit),
        _ => RawKind::None,
    };
    let prefix = header.destination_prefix_length;
    Answer { prefix, table, protocol: header.protocol.into(), kind }
}

fn hop(index: u32, flags: RouteNextHopFlags, attributes: &[RouteAttribute]) -> RawHop {
    let is_alive = !flags.intersects(RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown);
    let mut hop = RawHop { index, gateway: None, is_alive, encapsulates: false };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => hop.index = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(v4))
            | RouteAttribute::Via(RouteVia::Inet(v4)) => hop.gateway = Some((*v4).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6))
            | RouteAttribute::Via(RouteVia::Inet6(v6)) => hop.gateway = Some((*v6).into()),
            RouteAttribute::EncapType(_) => hop.encapsulates = true,
            _ => (),
        }
    }
    hop
}

/// What a refusal of [`question`] says about the route.
pub(super) fn refusal(refused: &Refused) -> RawKind {
    use rustix::io::Errno;
    // The errors of route types (`fib_props` of the kernel). It says no more of such a route.
    match Errno::from_raw_os_error(refused.errno) {
        Errno::INVAL => RawKind::Refused(Refusal::Blackhole),
        Errno::HOSTUNREACH => RawKind::Refused(Refusal::Unreachable),
        Errno::ACCESS => RawKind::Refused(Refusal::Prohibit),
        _ => RawKind::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbor_has_the_address_of_one_host_or_none() {
        let read = |mac: &[u8], flags: NeighbourFlags| {
            let mut message = NeighbourMessage::default();
            message.header.state = NeighbourState::Reachable;
            message.header.flags = flags;
            let address = IpAddr::from([192, 0, 2, 9]);
            message.attributes.push(NeighbourAttribute::Destination(address.into()));
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
            message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
            neighbor(&message).map(|(_, _, entry)| (entry.mac, entry.is_managed))
        };
        let own = NeighbourFlags::ExtLearned;
        assert_eq!(read(&[2, 0, 0, 0, 0, 9], own), Some((Some([2, 0, 0, 0, 0, 9]), true)));
        for bad in [&[0; 6][..], &[0xff; 6], &[1, 0, 0x5e, 0, 0, 1], &[2; 5], &[2; 8], &[]] {
            assert_eq!(read(bad, own), Some((None, true)), "{bad:?}");
        }
        let others = NeighbourFlags::empty();
        assert_eq!(read(&[2; 6], others), Some((Some([2; 6]), false)), "not ours alone");
        assert_eq!(read(&[2; 6], NeighbourFlags::Proxy), None);
    }
}
