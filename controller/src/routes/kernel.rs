//! The requests about routes and about the interface.
//!
//! A route is a `unicast` one of full length, by the interface and without a next hop. Tables are read with the kernel's
//! filter by protocol and table: a node may have the Internet's routes in its table `main`, which would be a million
//! messages. Of this protocol's routes, those of full length are virtual addresses', and default routes may be those of
//! probes (`probes/`). All others are nobody's, and left alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use guideway_netlink::{Error, Refused, Requests, family};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::PROTOCOL;
use super::plan::Route;

pub(super) const ENOENT: i32 = 2;
pub(super) const ESRCH: i32 = 3;
pub(super) const EEXIST: i32 = 17;
pub(super) const ENODEV: i32 = 19;
pub(super) const ENETDOWN: i32 = 100;
/// The longest name of an interface, in bytes.
const NAME: usize = 15;
/// The families of routes and rules.
pub(super) const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// The forwarder's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    /// Whether its administrator has set it up. The kernel refuses routes by an interface that is down.
    pub(super) is_up: bool,
}

/// The interface of this name, if there is one.
pub(super) fn link(requests: &mut Requests, name: &str) -> Result<Option<Link>, Error> {
    // The kernel refuses such names as malformed.
    if name.is_empty() || name.len() > NAME {
        return Ok(None);
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    match requests.ask_all(vec![RouteNetlinkMessage::GetLink(message)])?.pop() {
        Some(Ok(RouteNetlinkMessage::NewLink(link))) => Ok(Some(Link {
            index: link.header.index,
            is_up: link.header.flags.contains(LinkFlags::Up),
        })),
        Some(Err(Refused { errno: ENODEV, .. })) => Ok(None),
        Some(Err(refused)) => Err(Error::Refused(refused)),
        _ => Err(Error::Silent),
    }
}

/// Whether a message is about the interface of this name or index.
pub(super) fn is_about(message: &LinkMessage, name: &str, index: Option<u32>) -> bool {
    let is_named =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::IfName(of) if of == name);
    Some(message.header.index) == index || message.attributes.iter().any(is_named)
}

/// Whether a message says that the interface is down.
pub(super) fn is_down(message: &LinkMessage) -> bool {
    !message.header.flags.contains(LinkFlags::Up)
}

/// The routes of the controller that a table of the kernel has, with the least metric of each address.
///
/// # Errors
/// If the kernel does not say it.
pub fn installed(table: u32) -> Result<BTreeMap<IpAddr, u32>, Error> {
    let mut requests = Requests::open()?;
    let mut found = BTreeMap::new();
    for route in read(&mut requests, Some(table))? {
        let metric = found.entry(route.address).or_insert(route.metric);
        *metric = route.metric.min(*metric);
    }
    Ok(found)
}

/// The routes of this protocol to single addresses, in a table or in all of them.
pub(super) fn read(requests: &mut Requests, table: Option<u32>) -> Result<Vec<Route>, Error> {
    Ok(dump(requests, table)?.iter().filter_map(route).collect())
}

/// All routes of this protocol, in a table or in all of them.
pub(super) fn dump(
    requests: &mut Requests,
    table: Option<u32>,
) -> Result<Vec<RouteNetlinkMessage>, Error> {
    let mut routes = Vec::new();
    for family in FAMILIES {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.protocol = RouteProtocol::from(PROTOCOL);
        if let Some(table) = table {
            message.attributes.push(RouteAttribute::Table(table));
        }
        match requests.dump(&RouteNetlinkMessage::GetRoute(message)) {
            Ok(found) => routes.extend(found),
            // There is no such table yet.
            Err(Error::Refused(Refused { errno: ENOENT, .. })) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(routes)
}

/// Adds routes beside those of other protocols or metrics, in this order, with an answer for each.
pub(super) fn add(
    requests: &mut Requests,
    routes: &[Route],
) -> Result<Vec<Result<(), Refused>>, Error> {
    let message = |route: &Route| {
        // In IPv6 all routes have the scope of the universe, and the kernel ignores another one.
        RouteNetlinkMessage::NewRoute(message(route, RouteScope::Link))
    };
    requests.change_all(routes.iter().map(message).collect(), NLM_F_CREATE)
}

/// Removes routes of this protocol, in this order, with an answer for each.
pub(super) fn remove(
    requests: &mut Requests,
    routes: &[Route],
) -> Result<Vec<Result<(), Refused>>, Error> {
    let message = |route: &Route| {
        // Whatever scope it has.
        RouteNetlinkMessage::DelRoute(message(route, RouteScope::NoWhere))
    };
    requests.change_all(routes.iter().map(message).collect(), 0)
}

fn message(route: &Route, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.address);
    message.header.destination_prefix_length = full_length(route.address);
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    let destination = match route.address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes.push(RouteAttribute::Destination(destination));
    message.attributes.push(RouteAttribute::Priority(route.metric));
    message.attributes.push(RouteAttribute::Table(route.table));
    if route.interface != 0 {
        message.attributes.push(RouteAttribute::Oif(route.interface));
    }
    message
}

/// What a message of a dump says of a route of this protocol.
fn route(message: &RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = &message.header;
    if u8::from(header.protocol) != PROTOCOL || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut address, mut metric, mut interface) = (None, 0, 0);
    let mut table = u32::from(header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(index) => interface = *index,
            _ => (),
        }
    }
    let address = address.filter(|&of| full_length(of) == header.destination_prefix_length)?;
    Some(Route { address, metric, table, interface })
}

/// The length of the prefix that is one address.
pub(super) fn full_length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Route {
        let address = "192.0.2.7".parse().unwrap();
        Route { address, metric: 1000, table: 1000, interface: 7 }
    }

    #[test]
    fn a_message_has_the_bytes_of_the_kernels_headers() {
        use netlink_packet_core::Emitable;
        let message = message(&known(), RouteScope::Link);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        // `struct rtmsg` of linux/rtnetlink.h, then RTA_DST 1, RTA_PRIORITY 6, RTA_TABLE 15, RTA_OIF 4.
        let mut expected = vec![2, 32, 0, 0, 0, 200, 253, 1, 0, 0, 0, 0];
        expected.extend([8, 0, 1, 0, 192, 0, 2, 7]);
        expected.extend([8, 0, 6, 0, 0xe8, 3, 0, 0]);
        expected.extend([8, 0, 15, 0, 0xe8, 3, 0, 0]);
        expected.extend([8, 0, 4, 0, 7, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let read = |message| route(&RouteNetlinkMessage::NewRoute(message));
        assert_eq!(read(message(&known(), RouteScope::Link)), Some(known()));
    }

    #[test]
    fn other_routes_are_nobodys() {
        let read = |change: fn(&mut RouteMessage)| {
            let mut message = message(&known(), RouteScope::Link);
            change(&mut message);
            route(&RouteNetlinkMessage::NewRoute(message))
        };
        assert_eq!(read(|message| message.header.protocol = RouteProtocol::Static), None);
        assert_eq!(read(|message| message.header.destination_prefix_length = 24), None);
        assert_eq!(read(|message| message.header.kind = RouteType::BlackHole), None);
        assert_eq!(read(|message| message.attributes.clear()), None, "the default route");
    }
}
