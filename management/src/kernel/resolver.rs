//! Which way the kernel would send: one question for each destination.

use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_route::RouteNetlinkMessage;
use rustc_hash::FxHashMap;

use super::message::{self, Answer, RawHop, RawKind};
use super::mirror::Mirror;
use crate::routing::{Hop, Kind, Route};
use guideway_netlink::{Error, Refused, Requests};

/// `EINVAL`: a blackhole, or a source that is no address of this node any more.
const EINVAL: i32 = 22;

/// Asks about destinations. `source_of` is the source of packets to one, if it is an address of this node.
pub(super) fn resolve(
    requests: &mut Requests,
    mirror: &Mirror,
    destinations: &[IpAddr],
    source_of: impl Fn(IpAddr) -> Option<IpAddr>,
) -> Result<Vec<Arc<Route>>, Error> {
    let ask = |requests: &mut Requests, questions: Vec<_>| requests.ask_all(questions);
    let question =
        |to, from, by_prefix| RouteNetlinkMessage::GetRoute(message::question(to, from, by_prefix));
    let questions = destinations.iter().map(|&to| question(to, source_of(to), true)).collect();
    let mut answers: Vec<Answer> = ask(requests, questions)?.into_iter().map(read).collect();

    // With `nexthop_compat_mode` off, the kernel names a nexthop object alone. A question without the prefix is then
    // answered with one of its hops.
    let of_object = |answer: &Answer| matches!(&answer.kind, RawKind::Via(hops) if hops.is_empty());
    // The source may have been removed since, of which the word is on its way.
    let may_be_source = |to, answer: &Answer| {
        answer.kind == message::refusal(&Refused { errno: EINVAL, words: None })
            && source_of(to).is_some()
    };
    let again: Vec<usize> = (0..answers.len())
        .filter(|&n| of_object(&answers[n]) || may_be_source(destinations[n], &answers[n]))
        .collect();
    let questions = again.iter().map(|&n| {
        let to = destinations[n];
        let by_prefix = !of_object(&answers[n]);
        question(to, source_of(to).filter(|_| !by_prefix), by_prefix)
    });
    for (&n, answer) in again.iter().zip(ask(requests, questions.collect())?) {
        let second = read(answer);
        if of_object(&answers[n]) { answers[n].kind = second.kind } else { answers[n] = second }
    }

    // Most destinations are behind the same few gateways: they share an answer.
    let mut shared: FxHashMap<Route, Arc<Route>> = FxHashMap::default();
    let mut names = FxHashMap::default();
    let routes = answers.into_iter().map(|answer| {
        let route = route(mirror, &mut names, answer);
        Arc::clone(shared.entry(route).or_insert_with_key(|route| Arc::new(route.clone())))
    });
    Ok(routes.collect())
}

fn read(answer: Result<RouteNetlinkMessage, Refused>) -> Answer {
    match answer {
        Ok(RouteNetlinkMessage::NewRoute(route)) => message::answer(&route),
        Ok(_) => nowhere(RawKind::None),
        Err(refused) => nowhere(message::refusal(&refused)),
    }
}

fn nowhere(kind: RawKind) -> Answer {
    Answer { prefix: 0, table: 0, protocol: 0, kind }
}

fn route(mirror: &Mirror, names: &mut FxHashMap<u32, Arc<str>>, answer: Answer) -> Route {
    let mut hop = |RawHop { index, gateway, is_alive, encapsulates }| {
        let name = names.entry(index).or_insert_with(|| mirror.name_of(index));
        if encapsulates {
            // Guideway has encapsulations of its own, and adds none of the kernel's.
            let interface = format!("{name} with an encapsulation").into();
            return Hop { interface, link: None, gateway, is_alive };
        }
        Hop { interface: Arc::clone(name), link: mirror.link_of(index), gateway, is_alive }
    };
    let kind = match answer.kind {
        RawKind::Via(hops) => Kind::Via(hops.into_iter().map(&mut hop).collect()),
        RawKind::Own => Kind::Own,
        RawKind::Refused(refusal) => Kind::Refused(refusal),
        RawKind::None => Kind::None,
    };
    Route { prefix: answer.prefix, table: answer.table, protocol: answer.protocol, kind }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{
        RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
        RouteVia,
    };

    use super::*;
    use crate::kernel::mirror::PortInterface;
    use crate::routing::Refusal;

    fn message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.kind = kind;
        message.header.destination_prefix_length = 16;
        message.header.table = 254;
        message.attributes = attributes;
        message
    }

    fn of(answer: Result<RouteMessage, i32>) -> Route {
        let mirror = Mirror::new(vec![PortInterface { port: 0, interface: "edge0".to_owned() }]);
        let answer = answer.map(RouteNetlinkMessage::NewRoute);
        let answer = read(answer.map_err(|errno| Refused { errno, words: None }));
        route(&mirror, &mut FxHashMap::default(), answer)
    }

    #[test]
    fn each_error_of_the_kernel_is_a_kind_of_route() {
        for (errno, kind) in [
            (22, Kind::Refused(Refusal::Blackhole)),
            (113, Kind::Refused(Refusal::Unreachable)),
            (13, Kind::Refused(Refusal::Prohibit)),
            (101, Kind::None),
            (11, Kind::None),
        ] {
            assert_eq!(of(Err(errno)).kind, kind, "{errno}");
        }
    }

    #[test]
    fn an_answer_has_its_table_its_prefix_and_its_hops() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let over_v6 = RouteVia::from(ip("fe80::9"));
        let single = message(
            RouteType::Unicast,
            vec![RouteAttribute::Table(1000), RouteAttribute::Oif(9), RouteAttribute::Via(over_v6)],
        );
        let route = of(Ok(single));
        assert_eq!((route.prefix, route.table), (16, 1000));
        let Kind::Via(hops) = route.kind else { panic!("no hops") };
        let hop = Hop {
            interface: "device 9".into(),
            link: None,
            gateway: Some(ip("fe80::9")),
            is_alive: true,
        };
        assert_eq!(hops, [hop]);

        let next = |index, flags, gateway| {
            let mut next = RouteNextHop::default();
            next.interface_index = index;
            next.flags = flags;
            next.attributes = vec![RouteAttribute::Gateway(ip(gateway).into())];
            next
        };
        let several = vec![
            next(1, RouteNextHopFlags::Linkdown, "192.0.2.8"),
            next(2, RouteNextHopFlags::empty(), "192.0.2.9"),
        ];
        let Kind::Via(hops) =
            of(Ok(message(RouteType::Unicast, vec![RouteAttribute::MultiPath(several)]))).kind
        else {
            panic!("no hops")
        };
        let hops: Vec<_> =
            hops.into_iter().map(|hop| (hop.gateway.unwrap(), hop.is_alive)).collect();
        assert_eq!(hops, [(ip("192.0.2.8"), false), (ip("192.0.2.9"), true)]);
    }

    #[test]
    fn a_dead_hop_and_one_of_this_node() {
        let mut dead = message(RouteType::Unicast, vec![RouteAttribute::Oif(9)]);
        dead.header.flags = RouteFlags::from_bits_retain(0x2000 | 1);
        assert!(matches!(of(Ok(dead)).kind, Kind::Via(hops) if !hops[0].is_alive));
        for kind in [RouteType::Local, RouteType::Broadcast, RouteType::Anycast] {
            assert_eq!(of(Ok(message(kind, vec![RouteAttribute::Oif(1)]))).kind, Kind::Own);
        }
    }
}
