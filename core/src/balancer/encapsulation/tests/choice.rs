//! Which of several encapsulations a backend gets, and why.

use super::*;

const PLAIN: Parameters = Parameters {
    gre_key: None,
    udp_port: None,
    udp_checksum: None,
    vni: None,
    inner_source_mac: None,
    inner_destination_mac: None,
    label: None,
};

/// A backend over IPv4, not on the link.
fn far(parameters: &Parameters) -> Constraints<'_> {
    Constraints {
        is_v6: false,
        on_link: false,
        has_source: true,
        source_is_prefix: false,
        parameters,
    }
}

fn list(names: &str) -> Vec<Encapsulation> {
    names.split(' ').map(named).collect()
}

#[track_caller]
fn chosen(names: &str, constraints: &Constraints<'_>) -> &'static str {
    Encapsulation::choose(&list(names), constraints).unwrap().encapsulation.name()
}

#[test]
fn a_source_port_is_best_and_the_shorter_header_next() {
    let far = far(&PLAIN);
    for (names, best) in [
        ("gre gue", "gue"),
        ("vxlan mpls-udp gre-udp gue0", "mpls-udp"),
        ("vxlan gue0 gre-udp", "gue0"),
        ("gre-udp gue0", "gre-udp"),
        ("ipip vxlan", "vxlan"),
        ("mpls-gre gre", "gre"),
        ("gre mpls-gre ipip", "ipip"),
        ("gre", "gre"),
    ] {
        assert_eq!(chosen(names, &far), best, "{names}");
    }
    let near = Constraints { on_link: true, ..far };
    assert_eq!(chosen("l2 gue", &near), "gue");
    assert_eq!(chosen("gre ipip l2", &near), "l2");
    let near = Constraints { is_v6: true, ..near };
    assert_eq!(chosen("gre ipip l2", &near), "l2");
}

#[test]
fn a_key_from_the_flow_counts_where_nothing_better_varies() {
    let keyed = Parameters { gre_key: Some(GreKey::Flow), ..PLAIN };
    assert_eq!(chosen("ipip gre", &far(&keyed)), "gre");
    let prefix = Constraints { source_is_prefix: true, ..far(&keyed) };
    assert_eq!(chosen("gre ipip", &prefix), "ipip");
    let v6 = Constraints { is_v6: true, ..far(&keyed) };
    assert_eq!(chosen("gre ipip", &v6), "ipip");
    let fixed = Parameters { gre_key: Some(GreKey::Fixed(7)), ..PLAIN };
    assert_eq!(chosen("gre ipip", &far(&fixed)), "ipip");
}

#[test]
fn encapsulations_that_cannot_be_sent_are_left_out() {
    let far = far(&PLAIN);
    assert_eq!(chosen("l2 gre", &far), "gre");
    assert_eq!(Encapsulation::choose(&list("l2"), &far), None);
    let sourceless = Constraints { has_source: false, on_link: true, ..far };
    assert_eq!(chosen("gue gre l2", &sourceless), "l2");
    assert_eq!(Encapsulation::choose(&list("gue gre"), &sourceless), None);
    assert_eq!(Encapsulation::choose(&[], &far), None);
}

#[test]
fn the_choice_has_its_reasons() {
    #[track_caller]
    fn because(names: &str, constraints: &Constraints<'_>, entropy: Entropy, left_out: &str) {
        let listed = list(names);
        let choice = Encapsulation::choose(&listed, constraints).unwrap();
        assert_eq!(choice.entropy, entropy, "{names}");
        let reason =
            if constraints.has_source { Unsendable::NotOnLink } else { Unsendable::NoSource };
        let expected: Vec<_> = left_out.split_whitespace().map(|e| (named(e), reason)).collect();
        assert_eq!(choice.left_out(&listed).collect::<Vec<_>>(), expected, "{names}");
    }
    let far = far(&PLAIN);
    because("gre", &far, Entropy::Nothing, "");
    because("gre gue", &far, Entropy::UdpPort, "");
    because("l2 ipip", &Constraints { is_v6: true, ..far }, Entropy::FlowLabel, "l2");
    let sourceless = Constraints { on_link: true, has_source: false, ..far };
    because("gre gue l2", &sourceless, Entropy::Own, "gre gue");
    because("gre", &Constraints { source_is_prefix: true, ..far }, Entropy::SourceAddress, "");
    let v6 = Constraints { is_v6: true, source_is_prefix: true, ..far };
    because("gre", &v6, Entropy::FlowLabel, "");
    let keyed = Parameters { gre_key: Some(GreKey::Flow), ..PLAIN };
    because("gre", &Constraints { parameters: &keyed, ..far }, Entropy::GreKey, "");
}

#[test]
fn names_are_unique_and_required_settings_are_used() {
    let names: std::collections::HashSet<_> = Encapsulation::NAMES.iter().map(|n| n.0).collect();
    assert_eq!(names.len(), Encapsulation::NAMES.len());
    for &(name, encapsulation) in Encapsulation::NAMES {
        assert_eq!(encapsulation.name(), name);
        assert!(encapsulation.required().iter().all(|&key| encapsulation.uses(key)), "{name}");
    }
    for key in Setting::ALL {
        assert!(Encapsulation::NAMES.iter().any(|(_, e)| e.uses(key)), "{}", key.name());
    }
}
