//! The requests about rules and routes of probes.
//!
//! Only rules and routes of exactly the form that the controller makes are its own: protocol, priority or metric, and nothing
//! more. All others are an operator's, also those of its protocol, and so are those in the tables that the kernel has by
//! itself: a default route there may be all that makes a node reachable.

use std::collections::BTreeSet;
use std::net::IpAddr;

use guideway_netlink::{Error, Refused, Requests, family};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::routes::PROTOCOL;
use crate::routes::kernel::{FAMILIES, dump, full_length};

/// The priority of the rules: before the kernel's own, and with room for an operator's on both sides.
pub(super) const PRIORITY: u32 = 1000;
/// The metric of the routes by the interface. The kernel makes another one of IPv6's 0.
const METRIC: u32 = 1;
/// The metric of the routes to nowhere, after which none comes.
const LAST: u32 = u32::MAX;
/// `default`, `main` and `local`.
const OF_THE_KERNEL: std::ops::RangeInclusive<u32> = 253..=255;

/// A rule or route of probes, in the order in which they are added: with a rule before its routes, a probe would go by the
/// table `main`. They are removed the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// `unreachable default`, so that no probe goes another way while the interface is missing.
    Nowhere { ipv6: bool, table: u32 },
    /// `default` by the interface of this index.
    Default { ipv6: bool, table: u32, interface: u32 },
    /// `from SOURCE lookup TABLE`.
    Rule { source: IpAddr, table: u32 },
}

/// The rules and routes of probes in the kernel, in a table or in all of them. Rules are read whatever their table.
pub(super) fn read(requests: &mut Requests, table: Option<u32>) -> Result<BTreeSet<Item>, Error> {
    let routes = dump(requests, table)?;
    let mut items: BTreeSet<Item> = routes.iter().filter_map(route).collect();
    for family in FAMILIES {
        let mut message = RuleMessage::default();
        message.header.family = family;
        match requests.dump(&RouteNetlinkMessage::GetRule(message)) {
            Ok(rules) => {
                let rule = |message: &_| match message {
                    RouteNetlinkMessage::NewRule(message) => rule(message),
                    _ => None,
                };
                items.extend(rules.iter().filter_map(rule));
            }
            // A kernel without this family, or without rules.
            Err(Error::Refused(_)) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(items)
}

/// Adds one.
pub(super) fn add(requests: &mut Requests, item: Item) -> Result<Result<(), Refused>, Error> {
    let (message, flags) = match item {
        Item::Rule { source, table } => {
            let message = RouteNetlinkMessage::NewRule(rule_message(source, table));
            (message, NLM_F_CREATE | NLM_F_EXCL)
        }
        _ => (RouteNetlinkMessage::NewRoute(route_message(item)), NLM_F_CREATE),
    };
    answered(requests.change(message, flags))
}

/// Removes one.
pub(super) fn remove(requests: &mut Requests, item: Item) -> Result<Result<(), Refused>, Error> {
    let message = match item {
        Item::Rule { source, table } => RouteNetlinkMessage::DelRule(rule_message(source, table)),
        _ => RouteNetlinkMessage::DelRoute(route_message(item)),
    };
    answered(requests.change(message, 0))
}

/// A refusal is an answer.
fn answered(outcome: Result<(), Error>) -> Result<Result<(), Refused>, Error> {
    match outcome {
        Err(Error::Refused(refused)) => Ok(Err(refused)),
        outcome => outcome.map(Ok),
    }
}

fn rule_message(source: IpAddr, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(source);
    message.header.src_len = full_length(source);
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Source(source));
    message.attributes.push(RuleAttribute::Priority(PRIORITY));
    message.attributes.push(RuleAttribute::Table(table));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
    message
}

/// What a message says of a rule of probes.
pub(super) fn rule(message: &RuleMessage) -> Option<Item> {
    let header = &message.header;
    let (mut source, mut table, mut is_own) = (None, u32::from(header.table), false);
    let mut priority = 0;
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => source = Some(*address),
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Protocol(protocol) => is_own = u8::from(*protocol) == PROTOCOL,
            // The kernel says of each rule that it suppresses no length.
            RuleAttribute::SuppressPrefixLen(u32::MAX) => (),
            _ => return None,
        }
    }
    let source = source.filter(|&source| full_length(source) == header.src_len)?;
    let is_plain = header.action == RuleAction::ToTable
        && header.flags.is_empty()
        && (header.dst_len, header.tos) == (0, 0);
    let is_own = is_own && is_plain && priority == PRIORITY && !OF_THE_KERNEL.contains(&table);
    is_own.then_some(Item::Rule { source, table })
}

fn route_message(item: Item) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    let (ipv6, table, metric) = match item {
        Item::Nowhere { ipv6, table } => {
            message.header.kind = RouteType::Unreachable;
            (ipv6, table, LAST)
        }
        Item::Default { ipv6, table, interface } => {
            message.header.kind = RouteType::Unicast;
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(interface));
            (ipv6, table, METRIC)
        }
        // A rule's place is in the other kind of message.
        Item::Rule { source, table } => (source.is_ipv6(), table, METRIC),
    };
    message.header.address_family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.push(RouteAttribute::Priority(metric));
    message
}

/// What a message of a dump says of a route of probes.
fn route(message: &RouteNetlinkMessage) -> Option<Item> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = &message.header;
    let ipv6 = match header.address_family {
        AddressFamily::Inet => false,
        AddressFamily::Inet6 => true,
        _ => return None,
    };
    let (mut table, mut metric, mut interface) = (u32::from(header.table), 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => {
                return None;
            }
            _ => (),
        }
    }
    let is_own = u8::from(header.protocol) == PROTOCOL
        && header.destination_prefix_length == 0
        && header.source_prefix_length == 0
        && !OF_THE_KERNEL.contains(&table);
    match (header.kind, metric) {
        _ if !is_own => None,
        (RouteType::Unreachable, LAST) => Some(Item::Nowhere { ipv6, table }),
        (RouteType::Unicast, METRIC) => Some(Item::Default { ipv6, table, interface: interface? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    const ITEMS: [Item; 4] = [
        Item::Nowhere { ipv6: false, table: 1001 },
        Item::Nowhere { ipv6: true, table: 1001 },
        Item::Default { ipv6: false, table: 1001, interface: 7 },
        Item::Default { ipv6: true, table: 1001, interface: 7 },
    ];

    fn known() -> (RuleMessage, Item) {
        let source = IpAddr::from([192, 0, 2, 7]);
        (rule_message(source, 1001), Item::Rule { source, table: 1001 })
    }

    #[test]
    fn messages_have_the_bytes_of_the_kernels_headers() {
        let (message, _) = known();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        // `struct fib_rule_hdr` of linux/fib_rules.h, then FRA_SRC 2, FRA_PRIORITY 6, FRA_TABLE 15, FRA_PROTOCOL 21.
        let mut expected = vec![2, 0, 32, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        expected.extend([8, 0, 2, 0, 192, 0, 2, 7]);
        expected.extend([8, 0, 6, 0, 0xe8, 3, 0, 0]);
        expected.extend([8, 0, 15, 0, 0xe9, 3, 0, 0]);
        expected.extend([5, 0, 21, 0, 200, 0, 0, 0]);
        assert_eq!(bytes, expected);
        let message = route_message(ITEMS[1]);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        // `struct rtmsg` of linux/rtnetlink.h with RTN_UNREACHABLE 7, then RTA_TABLE 15, RTA_PRIORITY 6.
        let mut expected = vec![10, 0, 0, 0, 0, 200, 0, 7, 0, 0, 0, 0];
        expected.extend([8, 0, 15, 0, 0xe9, 3, 0, 0]);
        expected.extend([8, 0, 6, 0, 255, 255, 255, 255]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let (mut message, item) = known();
        assert_eq!(rule(&message), Some(item));
        // As the kernel shows it.
        message.attributes.push(RuleAttribute::SuppressPrefixLen(u32::MAX));
        assert_eq!(rule(&message), Some(item));
        for item in ITEMS {
            assert_eq!(route(&RouteNetlinkMessage::NewRoute(route_message(item))), Some(item));
        }
    }

    #[test]
    fn other_rules_and_routes_are_an_operators() {
        let changed = |change: fn(&mut RuleMessage)| {
            let (mut message, _) = known();
            change(&mut message);
            rule(&message)
        };
        assert_eq!(changed(|it| it.attributes.truncate(3)), None, "no protocol");
        assert_eq!(changed(|it| it.header.src_len = 24), None);
        assert_eq!(changed(|it| it.header.action = RuleAction::Blackhole), None);
        assert_eq!(changed(|it| it.attributes.push(RuleAttribute::FwMark(1))), None);
        assert_eq!(changed(|it| it.attributes[1] = RuleAttribute::Priority(999)), None);
        assert_eq!(changed(|it| it.attributes[2] = RuleAttribute::Table(254)), None);
        let changed = |change: fn(&mut RouteMessage)| {
            let mut message = route_message(ITEMS[2]);
            change(&mut message);
            route(&RouteNetlinkMessage::NewRoute(message))
        };
        assert_eq!(changed(|it| it.header.protocol = RouteProtocol::Static), None);
        assert_eq!(changed(|it| it.header.destination_prefix_length = 1), None);
        assert_eq!(changed(|it| it.header.kind = RouteType::BlackHole), None);
        assert_eq!(changed(|it| it.attributes.push(RouteAttribute::Table(254))), None);
        assert_eq!(changed(|it| it.attributes.push(RouteAttribute::Priority(2))), None);
        assert_eq!(
            changed(|it| it.attributes.retain(|it| !matches!(it, RouteAttribute::Oif(_)))),
            None
        );
    }
}
