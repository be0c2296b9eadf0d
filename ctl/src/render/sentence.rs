//! The protocol's facts as words for people, for cells of tables.

use guideway_api::{
    BackendSetting, CrowdedQueue, Duplex, EncapsulationChoice, FlowField, Interface,
    InterfaceState, Learnt, Link, NextHop, Refusal, RingReason, RxQueue, Steering, SteeringMethod,
    Unreachable, Unsendable,
};
use humantime::{format_rfc3339_seconds, parse_rfc3339};

pub(super) fn next_hop(next_hop: &NextHop) -> String {
    let mut sentence = match next_hop {
        NextHop::Resolved { address, mac, .. } => format!("{address} at {mac}"),
        NextHop::NoMac { address, .. } => format!("{address} (no neighbor)"),
        NextHop::Unreachable(reason) => unreachable(reason),
    };
    if let Some(vlan) = next_hop.vlan() {
        sentence += &format!(" in VLAN {vlan}");
    }
    sentence
}

/// What is set for a backend, since when, until when and why.
pub(super) fn setting(setting: &BackendSetting) -> String {
    let value = match (setting.state, setting.weight) {
        (Some(state), _) => format!("state {}", state.name()),
        (None, Some(weight)) => format!("weight {weight}"),
        (None, None) => "nothing".to_owned(),
    };
    let mut sentence = format!("{value} since {}", setting.since);
    if let Some(until) = &setting.until {
        sentence += &format!(" until {until}");
    }
    match &setting.reason {
        Some(reason) => sentence + ": " + reason,
        None => sentence,
    }
}

/// A reason with the end of what it is for, to the second.
pub(super) fn limited(reason: &str, until: Option<&str>) -> String {
    match until {
        None => reason.to_owned(),
        Some(until) => {
            let until = match parse_rfc3339(until) {
                Ok(time) => format_rfc3339_seconds(time).to_string(),
                Err(_) => until.to_owned(),
            };
            format!("{reason} (until {until})").trim_start().to_owned()
        }
    }
}

/// Why there is no usable route.
fn unreachable(reason: &Unreachable) -> String {
    match reason {
        Unreachable::NoRoute => "no route".to_owned(),
        Unreachable::NotAPort { interface } => {
            format!("the kernel's route leaves by {interface}, which is no port's interface")
        }
        Unreachable::LinkDown { port } => format!("port {port} has no link"),
        Unreachable::Refused { kind } => {
            let kind = match kind {
                Refusal::Blackhole => "a blackhole",
                Refusal::Unreachable => "an unreachable",
                Refusal::Prohibit => "a prohibit",
            };
            format!("{kind} route of the kernel refuses packets")
        }
        Unreachable::Own => "the address is this node's own".to_owned(),
    }
}

/// How a route was learnt.
pub(super) fn learnt(learnt: &Learnt) -> String {
    match learnt {
        Learnt::StaticOnLink => "port.addresses: on the port's link".to_owned(),
        Learnt::StaticGateway => "port.gateways".to_owned(),
        Learnt::StaticNeighbor => "[[neighbor]]: on the port's link".to_owned(),
        Learnt::Kernel { table, prefix, protocol } => {
            let name = match table {
                253 => " (default)",
                254 => " (main)",
                255 => " (local)",
                _ => "",
            };
            // The names that iproute2 has.
            let protocol = match protocol {
                2 => "kernel".to_owned(),
                3 => "boot".to_owned(),
                4 => "static".to_owned(),
                9 => "ra".to_owned(),
                12 => "bird".to_owned(),
                16 => "dhcp".to_owned(),
                186 => "bgp".to_owned(),
                188 => "ospf".to_owned(),
                other => other.to_string(),
            };
            format!("kernel: {prefix}, table {table}{name}, protocol {protocol}")
        }
    }
}

/// Why a backend has its encapsulation.
pub(super) fn choice(choice: Option<&EncapsulationChoice>) -> String {
    let Some(EncapsulationChoice { listed, flows_differ_in, left_out }) = choice else {
        return "nothing that is listed can be sent".to_owned();
    };
    let rank = match &listed[..] {
        [_] => "the only one listed".to_owned(),
        _ => format!("best for multipath of {}", listed.join(", ")),
    };
    let field = match flows_differ_in {
        FlowField::UdpSourcePort => "flows differ in the UDP source port",
        FlowField::Own => "packets keep their own addresses and ports",
        FlowField::FlowLabel => "flows differ in the IPv6 flow label",
        FlowField::SourceAddress => "flows differ in the source address",
        FlowField::GreKey => "flows differ in the GRE key",
        FlowField::Nothing => "flows do not differ in the outer header",
    };
    let mut sentence = format!("{rank}: {field}");
    for (reason, words) in [
        (Unsendable::NotOnLink, "the backend is not on the link"),
        (Unsendable::NoSource, "no tunnel_source of the family"),
    ] {
        let left_out = left_out.iter().filter(|left_out| left_out.reason == reason);
        let names: Vec<_> = left_out.map(|left_out| left_out.encapsulation.as_str()).collect();
        if !names.is_empty() {
            sentence += &format!("; not {}: {words}", names.join(", "));
        }
    }
    sentence
}

/// The driver's report, unless the kernel interface is an obstacle.
pub(super) fn link(link: &Link) -> String {
    if let Some(Interface { name, state }) = &link.interface {
        let name = name.as_deref().unwrap_or("of the port");
        let obstacle = match state {
            InterfaceState::Up => "",
            InterfaceState::SetDown => ": set down",
            InterfaceState::NoCarrier => ": no carrier",
            InterfaceState::NotOperational => ": not operational",
            InterfaceState::Removed => " was removed: restart guideway",
        };
        if !obstacle.is_empty() {
            return format!("down, interface {name}{obstacle}");
        }
    }
    if !link.up {
        return "down".to_owned();
    }
    let speed = match link.speed_mbps {
        Some(speed) => format!("{speed} Mb/s"),
        None => "unknown speed".to_owned(),
    };
    let duplex = match link.duplex {
        Some(Duplex::Full) => ", full duplex",
        Some(Duplex::Half) => ", half duplex",
        None => "",
    };
    format!("up, {speed}{duplex}")
}

/// Receive queues, each as `port:queue`.
pub(super) fn queues(queues: &[RxQueue]) -> String {
    let names = queues.iter().map(|RxQueue { port, queue }| format!("{port}:{queue}"));
    names.collect::<Vec<_>>().join(",")
}

/// How packets reach their worker on a port with this driver.
pub(super) fn steering(steering: &Steering, driver: &str) -> String {
    let mut sentence = match steering.method {
        SteeringMethod::OneWorker => "one worker".to_owned(),
        SteeringMethod::Queues { rss: true } => "queues: a queue for each worker".to_owned(),
        SteeringMethod::Queues { rss: false } => format!(
            "queues: a queue for each worker; {driver} offers no RSS and spreads packets by its own \
             method"
        ),
        SteeringMethod::Ring(RingReason::Configured) => "ring: as configured".to_owned(),
        SteeringMethod::Ring(RingReason::NoRss) => {
            format!("ring: {driver} offers no RSS over addresses and ports")
        }
        SteeringMethod::Ring(RingReason::FewQueues { queues, workers }) => {
            let s = if queues == 1 { "" } else { "s" };
            format!("ring: {queues} receive queue{s} for {workers} workers")
        }
    };
    if let Some(queues) = steering.filled_queues {
        sentence += &format!("; {driver} spreads packets over {queues} receive queues");
    }
    if let Some(CrowdedQueue { queue, .. }) = steering.crowded_queue {
        sentence += &format!("; but all flows come to queue {queue}");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use guideway_api::LeftOut;

    use super::*;

    #[track_caller]
    fn reads(listed: &str, field: FlowField, left_out: &str, reason: Unsendable, expected: &str) {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        let left_out = words(left_out).into_iter();
        let made = EncapsulationChoice {
            listed: words(listed),
            flows_differ_in: field,
            left_out: left_out.map(|encapsulation| LeftOut { encapsulation, reason }).collect(),
        };
        assert_eq!(choice(Some(&made)), expected);
    }

    #[test]
    fn methods_of_steering() {
        let of = |method| Steering { method, filled_queues: None, crowded_queue: None };
        let ring = |reason| of(SteeringMethod::Ring(reason));
        let own_method = of(SteeringMethod::Queues { rss: false });
        let configured = ring(RingReason::Configured);
        let crowded_queue = Some(CrowdedQueue { queue: 0, flows: 200 });
        for (made, expected) in [
            (of(SteeringMethod::OneWorker), "one worker"),
            (of(SteeringMethod::Queues { rss: true }), "queues: a queue for each worker"),
            (
                own_method,
                "queues: a queue for each worker; net_x offers no RSS and spreads packets by its own \
                 method",
            ),
            (
                Steering { crowded_queue, ..own_method },
                "queues: a queue for each worker; net_x offers no RSS and spreads packets by its own \
                 method; but all flows come to queue 0",
            ),
            (configured, "ring: as configured"),
            (
                Steering { filled_queues: Some(4), ..configured },
                "ring: as configured; net_x spreads packets over 4 receive queues",
            ),
            (ring(RingReason::NoRss), "ring: net_x offers no RSS over addresses and ports"),
            (
                ring(RingReason::FewQueues { queues: 2, workers: 3 }),
                "ring: 2 receive queues for 3 workers",
            ),
            (
                ring(RingReason::FewQueues { queues: 1, workers: 3 }),
                "ring: 1 receive queue for 3 workers",
            ),
        ] {
            assert_eq!(steering(&made, "net_x"), expected);
        }
    }

    #[test]
    fn links() {
        let up = Link {
            up: true,
            speed_mbps: Some(10_000),
            duplex: Some(Duplex::Full),
            interface: None,
        };
        assert_eq!(link(&up), "up, 10000 Mb/s, full duplex");
        let half = Link { speed_mbps: None, duplex: Some(Duplex::Half), ..up.clone() };
        assert_eq!(link(&half), "up, unknown speed, half duplex");
        assert_eq!(link(&Link::default()), "down");
        let behind = |state, name: Option<&str>| {
            let interface = Some(Interface { name: name.map(String::from), state });
            link(&Link { up: state == InterfaceState::Up, interface, ..up.clone() })
        };
        for (state, expected) in [
            (InterfaceState::Up, "up, 10000 Mb/s, full duplex"),
            (InterfaceState::SetDown, "down, interface eth0: set down"),
            (InterfaceState::NoCarrier, "down, interface eth0: no carrier"),
            (InterfaceState::NotOperational, "down, interface eth0: not operational"),
            (InterfaceState::Removed, "down, interface eth0 was removed: restart guideway"),
        ] {
            assert_eq!(behind(state, Some("eth0")), expected);
        }
        let nameless = "down, interface of the port was removed: restart guideway";
        assert_eq!(behind(InterfaceState::Removed, None), nameless);
        let interface = Some(Interface { name: None, state: InterfaceState::Up });
        assert_eq!(link(&Link { interface, ..Link::default() }), "down", "the driver says so");
    }

    #[test]
    fn choices() {
        use FlowField::*;
        use Unsendable::*;
        for (field, words) in [
            (UdpSourcePort, "the only one listed: flows differ in the UDP source port"),
            (Own, "the only one listed: packets keep their own addresses and ports"),
            (FlowLabel, "the only one listed: flows differ in the IPv6 flow label"),
            (SourceAddress, "the only one listed: flows differ in the source address"),
            (GreKey, "the only one listed: flows differ in the GRE key"),
            (Nothing, "the only one listed: flows do not differ in the outer header"),
        ] {
            reads("gre", field, "", NoSource, words);
        }
        let words = "best for multipath of gre, gue: flows differ in the UDP source port";
        reads("gre gue", UdpSourcePort, "", NoSource, words);
        let words = "best for multipath of l2, ipip: flows differ in the IPv6 flow label; not l2: the \
                     backend is not on the link";
        reads("l2 ipip", FlowLabel, "l2", NotOnLink, words);
        let words = "best for multipath of gre, gue, l2: packets keep their own addresses and ports; \
                     not gre, gue: no tunnel_source of the family";
        reads("gre gue l2", Own, "gre gue", NoSource, words);
        assert_eq!(choice(None), "nothing that is listed can be sent");
    }

    #[test]
    fn next_hops() {
        let (port, address) = ("edge0".to_owned(), "192.0.2.254".parse().unwrap());
        let mac = "02:00:00:00:00:fe".to_owned();
        let resolved =
            |vlan| NextHop::Resolved { port: port.clone(), vlan, address, mac: mac.clone() };
        assert_eq!(next_hop(&resolved(None)), "192.0.2.254 at 02:00:00:00:00:fe");
        let tagged = "192.0.2.254 at 02:00:00:00:00:fe in VLAN 200";
        assert_eq!(next_hop(&resolved(Some(200))), tagged);
        let no_mac = NextHop::NoMac { port: port.clone(), vlan: None, address };
        assert_eq!(next_hop(&no_mac), "192.0.2.254 (no neighbor)");
        for (reason, expected) in [
            (Unreachable::NoRoute, "no route"),
            (
                Unreachable::NotAPort { interface: "eth1".to_owned() },
                "the kernel's route leaves by eth1, which is no port's interface",
            ),
            (Unreachable::LinkDown { port }, "port edge0 has no link"),
            (
                Unreachable::Refused { kind: Refusal::Blackhole },
                "a blackhole route of the kernel refuses packets",
            ),
            (
                Unreachable::Refused { kind: Refusal::Unreachable },
                "an unreachable route of the kernel refuses packets",
            ),
            (
                Unreachable::Refused { kind: Refusal::Prohibit },
                "a prohibit route of the kernel refuses packets",
            ),
            (Unreachable::Own, "the address is this node's own"),
        ] {
            assert_eq!(next_hop(&NextHop::Unreachable(reason)), expected);
        }
    }

    #[test]
    fn origins_of_routes() {
        let kernel =
            |table, protocol| Learnt::Kernel { table, prefix: "10.0.0.0/8".to_owned(), protocol };
        for (origin, expected) in [
            (Learnt::StaticOnLink, "port.addresses: on the port's link"),
            (Learnt::StaticGateway, "port.gateways"),
            (Learnt::StaticNeighbor, "[[neighbor]]: on the port's link"),
            (kernel(100, 12), "kernel: 10.0.0.0/8, table 100, protocol bird"),
            (kernel(253, 99), "kernel: 10.0.0.0/8, table 253 (default), protocol 99"),
            (kernel(254, 2), "kernel: 10.0.0.0/8, table 254 (main), protocol kernel"),
            (kernel(255, 4), "kernel: 10.0.0.0/8, table 255 (local), protocol static"),
        ] {
            assert_eq!(learnt(&origin), expected);
        }
    }
}
