//! Which of several encapsulations a backend gets, and the reason in words.

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
fn chosen(names: &str, constraints: &Constraints<'_>) -> (&'static str, String) {
    let listed = list(names);
    let choice = Encapsulation::choose(&listed, constraints).unwrap();
    (choice.encapsulation.name(), choice.why(&listed))
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
        assert_eq!(chosen(names, &far).0, best, "{names}");
    }
    let near = Constraints { on_link: true, ..far };
    assert_eq!(chosen("l2 gue", &near).0, "gue");
    assert_eq!(chosen("gre ipip l2", &near).0, "l2");
    let near = Constraints { is_v6: true, ..near };
    assert_eq!(chosen("gre ipip l2", &near).0, "l2");
}

#[test]
fn a_key_from_the_flow_counts_where_nothing_better_varies() {
    let keyed = Parameters { gre_key: Some(GreKey::Flow), ..PLAIN };
    assert_eq!(chosen("ipip gre", &far(&keyed)).0, "gre");
    let prefix = Constraints { source_is_prefix: true, ..far(&keyed) };
    assert_eq!(chosen("gre ipip", &prefix).0, "ipip");
    let v6 = Constraints { is_v6: true, ..far(&keyed) };
    assert_eq!(chosen("gre ipip", &v6).0, "ipip");
    let fixed = Parameters { gre_key: Some(GreKey::Fixed(7)), ..PLAIN };
    assert_eq!(chosen("gre ipip", &far(&fixed)).0, "ipip");
}

#[test]
fn encapsulations_that_cannot_be_sent_are_left_out() {
    let far = far(&PLAIN);
    assert_eq!(chosen("l2 gre", &far).0, "gre");
    assert_eq!(Encapsulation::choose(&list("l2"), &far), None);
    let sourceless = Constraints { has_source: false, on_link: true, ..far };
    assert_eq!(chosen("gue gre l2", &sourceless).0, "l2");
    assert_eq!(Encapsulation::choose(&list("gue gre"), &sourceless), None);
    assert_eq!(Encapsulation::choose(&[], &far), None);
}

#[test]
fn the_reason_in_words() {
    let far = far(&PLAIN);
    let why = |names, constraints: &Constraints<'_>| chosen(names, constraints).1;
    assert_eq!(why("gre", &far), "the only one listed: flows do not differ in the outer header");
    assert_eq!(
        why("gre gue", &far),
        "best for multipath of gre, gue: flows differ in the UDP source port"
    );
    assert_eq!(
        why("l2 ipip", &Constraints { is_v6: true, ..far }),
        "best for multipath of l2, ipip: flows differ in the IPv6 flow label; not l2: the backend is \
         not on the link"
    );
    assert_eq!(
        why("gre gue l2", &Constraints { on_link: true, has_source: false, ..far }),
        "best for multipath of gre, gue, l2: packets keep their own addresses and ports; not gre, \
         gue: no tunnel_source of the family"
    );
    assert_eq!(
        why("gre", &Constraints { source_is_prefix: true, ..far }),
        "the only one listed: flows differ in the source address"
    );
    let keyed = Parameters { gre_key: Some(GreKey::Flow), ..PLAIN };
    assert_eq!(
        why("gre", &Constraints { parameters: &keyed, ..far }),
        "the only one listed: flows differ in the GRE key"
    );
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
