//! The protocol's facts as words for people, for cells of tables.

use guideway_api::{EncapsulationChoice, FlowField, NextHop, Unsendable};

pub(super) fn next_hop(next_hop: &NextHop) -> String {
    match next_hop {
        NextHop::Resolved { address, mac, .. } => format!("{address} at {mac}"),
        NextHop::NoMac { address, .. } => format!("{address} (no neighbor)"),
        NextHop::NoRoute => "no route".to_owned(),
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
        let resolved = NextHop::Resolved { port: port.clone(), address, mac };
        assert_eq!(next_hop(&resolved), "192.0.2.254 at 02:00:00:00:00:fe");
        assert_eq!(next_hop(&NextHop::NoMac { port, address }), "192.0.2.254 (no neighbor)");
        assert_eq!(next_hop(&NextHop::NoRoute), "no route");
    }
}
