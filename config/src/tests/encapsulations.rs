//! Encapsulations of pools and backends, and the tunnel source.

use super::mistakes::{each_alone, mistakes};
use super::*;

const POOL: &str = "encapsulation = \"gre\"";
const FIRST: &str = "weight = 1";

/// The backends of the contract's example with these keys for the pool and the first backend.
#[track_caller]
fn backends(pool: &str, first: &str) -> Vec<Backend> {
    let first = format!("weight = 1, {first}");
    let first = first.trim_end_matches(", ");
    let text = changed(&[(POOL, pool), (FIRST, first)]);
    let parsed = parse(&text).unwrap_or_else(|m| panic!("{text}\n{m}"));
    parsed.configuration.pools.into_iter().next().unwrap().backends
}

#[test]
fn a_backend_overrides_its_pool_key_by_key() {
    let found = backends(
        "encapsulation = [\"vxlan\", \"gre-udp\"]\nvni = 7\nudp_port = 5000\nudp_checksum = \"compute\"\n\
         inner_source_mac = \"02:00:00:00:00:07\"\ninner_destination_mac = \"02:00:00:00:00:08\"",
        "encapsulation = \"vxlan\", vni = 8, udp_checksum = \"zero\"",
    );
    let of_pool = Parameters {
        gre_key: None,
        udp_port: Some(5000),
        udp_checksum: Some(UdpChecksum::Compute),
        vni: Some(7),
        inner_source_mac: Some([2, 0, 0, 0, 0, 7]),
        inner_destination_mac: Some([2, 0, 0, 0, 0, 8]),
        label: None,
    };
    assert_eq!(found[0].encapsulations, [Encapsulation::Vxlan]);
    let own = Parameters { vni: Some(8), udp_checksum: Some(UdpChecksum::Zero), ..of_pool };
    assert_eq!(found[0].parameters, own);
    assert_eq!(found[1].encapsulations, [Encapsulation::Vxlan, Encapsulation::GreUdp]);
    assert_eq!(found[1].parameters, of_pool);
}

#[test]
fn keys_and_labels() {
    let found = backends("gre_key = \"flow\"", "encapsulation = \"mpls-gre\", label = 1_048_575");
    assert_eq!(found[0].encapsulations, [Encapsulation::MplsGre]);
    assert_eq!(found[0].parameters.label, Some(1_048_575));
    assert_eq!(found[1].encapsulations, [Encapsulation::Gre]);
    assert_eq!(found[1].parameters.gre_key, Some(GreKey::Flow));
    let found = backends(POOL, "gre_key = 0");
    assert_eq!(found[0].parameters.gre_key, Some(GreKey::Fixed(0)));
    assert_eq!(found[1].parameters.gre_key, None);
}

#[test]
fn mistakes_of_the_settings() {
    const KEY: &str = "pool[0].backends[0].gre_key";
    each_alone(&[
        (&[(POOL, "encapsulation = []")], 28, "pool[0].encapsulation", "is empty"),
        (&[(POOL, "encapsulation = 4")], 28, "pool[0].encapsulation", "is the integer 4"),
        (
            &[(POOL, "encapsulation = [\"gre\", \"greudp\"]")],
            28,
            "pool[0].encapsulation",
            "[1] is the string \"greudp\"; expected \"gre\" or",
        ),
        (
            &[(POOL, "encapsulation = \"vxlan\"")],
            29,
            "pool[0].backends[0].vni",
            "the encapsulation \"vxlan\" needs it, and 2 backends of the pool lack it",
        ),
        (
            &[(FIRST, "encapsulation = [\"gre\", \"mpls-udp\"]")],
            29,
            "pool[0].backends[0].label",
            "the encapsulation \"mpls-udp\" needs it, and 1 backend of the pool lacks it",
        ),
        (
            &[(POOL, "encapsulation = \"mpls-gre\"\nlabel = 15")],
            29,
            "pool[0].label",
            "from 16 to 1048575",
        ),
        (
            &[(POOL, "encapsulation = \"vxlan\"\nvni = 16777216")],
            29,
            "pool[0].vni",
            "from 0 to 16777215",
        ),
        (
            &[(POOL, "encapsulation = \"gue\"\nudp_port = 0")],
            29,
            "pool[0].udp_port",
            "from 1 to 65535",
        ),
        (
            &[(POOL, "encapsulation = \"gue\"\nudp_checksum = true")],
            29,
            "pool[0].udp_checksum",
            "expected \"zero\" or \"compute\"",
        ),
        (
            &[(
                POOL,
                "encapsulation = \"vxlan\"\nvni = 1\ninner_source_mac = \"ff:ff:ff:ff:ff:ff\"",
            )],
            30,
            "pool[0].inner_source_mac",
            "group address",
        ),
        (&[(FIRST, "gre_key = \"hash\"")], 29, KEY, "expected \"flow\""),
        (&[(FIRST, "gre_key = 4294967296")], 29, KEY, "or \"flow\""),
        (
            &[(FIRST, "encapsulation = \"gue\", gre_key = 7")],
            29,
            KEY,
            "is for \"gre\", \"gre-udp\", none of which is the backend's encapsulation",
        ),
        (
            &[(POOL, "encapsulation = \"gre\"\nudp_port = 7")],
            29,
            "pool[0].udp_port",
            "none of which is any backend's encapsulation",
        ),
    ]);
    // A pool's setting for one of its backends alone is used.
    backends("udp_port = 7", "encapsulation = \"gue\"");
    // In a pool without a backend a setting is for later backends.
    parse(&changed(&[(
        "[[pool]]",
        "[[pool]]\nname = 'later'\ngre_key = 7\nbackends = []\n[[pool]]",
    )]))
    .unwrap();
}

#[test]
fn mistakes_of_the_link() {
    each_alone(&[(
        &[(FIRST, "encapsulation = \"l2\""), STATIC],
        29,
        "pool[0].backends[0].encapsulation",
        "is \"l2\", which needs the backend on a port's link; the next hop of 10.0.0.5 is a gateway",
    )]);
    backends(POOL, "encapsulation = [\"l2\", \"gre\"]");
    // A backend on the link needs no tunnel source.
    let near = [("10.0.0.5", "192.0.2.5"), (FIRST, "encapsulation = [\"gre\", \"l2\"]")];
    let sourceless =
        [&near[..], &[("tunnel_source = [\"192.0.2.1\", ", "tunnel_source = [")]].concat();
    parse(&changed(&sourceless)).unwrap();
    // A backend elsewhere needs one, and the lack of it is the only mistake.
    let far = [sourceless[2], sourceless[1], STATIC];
    let found = mistakes(&changed(&far));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "node.tunnel_source"), "{found:?}");
}

#[test]
fn the_kernel_may_have_a_route_to_the_link() {
    let warnings = parse(&changed(&[(FIRST, "encapsulation = \"l2\"")])).unwrap().warnings;
    let fits =
        |w: &&Mistake| w.message.contains("is \"l2\", which needs the backend on a port's link");
    assert_eq!(warnings.iter().filter(fits).count(), 1, "{warnings:?}");
    let sourceless = ("tunnel_source = [\"192.0.2.1\", ", "tunnel_source = [");
    parse(&changed(&[sourceless, (FIRST, "encapsulation = [\"gre\", \"l2\"]")])).unwrap();
    // A tunnel needs a source by any route.
    let found = mistakes(&changed(&[sourceless]));
    assert_eq!((found.len(), found[0].key.as_str()), (1, "node.tunnel_source"), "{found:?}");
}

#[test]
fn mistakes_of_the_tunnel_source() {
    const SOURCE: &str = "\"192.0.2.1\", ";
    let node = |source: &str| parse(&changed(&[(SOURCE, source)])).unwrap().configuration.node;
    let source = |text| node(text).tunnel_source_v4.map(|prefix| prefix.to_string());
    assert_eq!(source("\"192.0.2.64/26\", ").as_deref(), Some("192.0.2.64/26"));
    assert_eq!(source("\"192.0.2.9/32\", ").as_deref(), Some("192.0.2.9/32"));
    assert_eq!(source("\"192.0.2.9\", ").as_deref(), Some("192.0.2.9/32"));
    const KEY: &str = "node.tunnel_source[0]";
    each_alone(&[
        (&[(SOURCE, "\"192.0.2.65/26\", ")], 3, KEY, "192.0.2.64/26 is the prefix without them"),
        (&[(SOURCE, "\"10.0.0.0/15\", ")], 3, KEY, "from 16 to 32"),
        (&[(SOURCE, "\"192.0.2.64/33\", ")], 3, KEY, "from 1 to 32"),
        (
            &[("\"2001:db8::1\"]", "\"2001:db8::/64\"]")],
            3,
            "node.tunnel_source[1]",
            "the flow label distinguishes flows",
        ),
        (
            &[(SOURCE, "\"10.0.0.0/24\", ")],
            29,
            "pool[0].backends[0].address",
            "10.0.0.5 is in the prefix of node.tunnel_source: packets would come back here",
        ),
    ]);
}
