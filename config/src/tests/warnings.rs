//! Warnings about values that contradict the rest of the network, and values without a warning.

use crate::{Mistake, parse};

const TEXT: &str = r#"
[node]
name = "a"
tunnel_source = ["192.0.2.1", "2001:db8::1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[dpdk]
workers = [0]
[[port]]
name = "p"
device = "net_null0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
gateways = ["192.0.2.254"]
mtu = 1500
mac = "02:00:00:00:00:01"
[[neighbor]]
address = "192.0.2.254"
mac = "02:00:00:00:00:fe"
[[neighbor]]
address = "192.0.2.5"
mac = "02:00:00:00:00:05"
[[pool]]
name = "web"
mss_clamp = 1400
backends = [{ name = "b", address = "192.0.2.5" }]
[[service]]
name = "s"
address = "2001:db8:f::10"
protocol = "tcp"
port = 80
pool = "web"
[tunnel]
peers = ["198.51.100.0/24"]
"#;

/// Changes to the text, then key, line and words of the warning that they cause.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, usize, &'a str);

fn warnings(changes: &[(&str, &str)]) -> Vec<Mistake> {
    let text = changes.iter().fold(TEXT.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    parse(&text).unwrap().warnings
}

#[test]
fn somebody_must_reply_for_an_address_on_the_link() {
    let found = |changes: &[(&str, &str)]| {
        let found = warnings(changes).into_iter().filter(|w| w.key.starts_with("service"));
        found.map(|w| (w.line, w.key, w.message)).collect::<Vec<_>>()
    };
    const SET: (&str, &str) = ("port = 80\n", "port = 80\nanswer_on_link = true\n");
    let on_link = ("2001:db8:f::10", "2001:db8::10");
    let [(line, key, message)] = &found(&[on_link])[..] else { panic!() };
    assert_eq!((*line, key.as_str()), (28, "service[0].address"));
    assert_eq!(
        message,
        "2001:db8::10 lies in a network of the port on line 9, and nobody replies to neighbor \
         discovery for it: hosts there cannot reach it; set answer_on_link = true, or take an \
         address that routers send here"
    );
    let [(.., message)] = &found(&[("2001:db8:f::10", "192.0.2.77")])[..] else { panic!() };
    assert!(message.contains("nobody replies to ARP"), "{message}");
    assert_eq!(found(&[on_link, SET]), []);

    let has_no_effect = |changes: &[(&str, &str)], words: &str| {
        let [(line, key, message)] = &found(changes)[..] else { panic!("{changes:?}") };
        assert_eq!((*line, key.as_str()), (31, "service[0].answer_on_link"));
        assert!(message.contains(words), "{message}");
    };
    has_no_effect(&[SET], "has no effect: 2001:db8:f::10 lies in no port's network");
    let none = ("mtu = 1500", "interface = \"none\"");
    has_no_effect(&[on_link, SET, none], "has no effect: the port on line 9 has no interface");
    // Others set the addresses, and no warning knows them.
    let left = [
        ("addresses = [\"192.0.2.1/24\", \"2001:db8::1/64\"]", "manage_addresses = false"),
        ("gateways = [\"192.0.2.254\"]", "gateways = []"),
    ];
    assert_eq!(found(&[&left[..], &[SET]].concat()), []);

    // Of several services with one address, one with the key decides.
    let second = "[[service]]\nname = \"t\"\naddress = \"2001:db8:f::10\"\nprotocol = \"udp\"\n\
                  port = 81\npool = \"web\"\n";
    let first = format!("{second}[[service]]");
    assert_eq!(found(&[("[[service]]", &first), on_link]).len(), 1);
    assert_eq!(found(&[("[[service]]", &first), on_link, SET]), []);
}

#[test]
fn sensible_values_cause_no_warning() {
    assert_eq!(warnings(&[]), []);
    // An MTU of 1280 bytes and GRE over IPv4; a segment that fills the MTU.
    assert_eq!(warnings(&[("mtu = 1500", "mtu = 1304"), ("1400", "1264")]), []);
    assert_eq!(warnings(&[("1400", "1460")]), []);
    // Without IPv6 services a port may be narrow.
    let narrow =
        [("2001:db8:f::10", "203.0.113.10"), ("mtu = 1500", "mtu = 1300"), ("1400", "1200")];
    assert_eq!(warnings(&narrow), []);
}

#[test]
fn each_warning_is_reported_once_with_its_line() {
    let v4 = ("2001:db8:f::10", "203.0.113.10");
    let cases: &[Case] = &[
        (&[("000102030405060708090a0b0c0d0e0f", &"0".repeat(32))], "hash.key", 6, "all zeros"),
        (
            &[("000102030405060708090a0b0c0d0e0f", "6a3f0c52d9184be7a1c05f7e2b9d4836")],
            "hash.key",
            6,
            "the key of the examples",
        ),
        (
            &[("192.0.2.254", "192.0.2.255")],
            "port[0].gateways[0]",
            13,
            "the broadcast address of 192.0.2.0/24",
        ),
        (
            &[("mtu = 1500", "interface = \"none\"\nmanage_addresses = false\nmtu = 1500")],
            "port[0].manage_addresses",
            15,
            "has no effect",
        ),
        (&[("192.0.2.254", "192.0.2.0")], "port[0].gateways[0]", 13, "the network address"),
        (&[("192.0.2.5", "192.0.2.255")], "pool[0].backends[0].address", 25, "the broadcast"),
        (&[("192.0.2.5\"", "192.0.2.0\"")], "neighbor[1].address", 20, "the network address"),
        (&[("2001:db8:f::10", "192.0.2.255")], "service[0].address", 28, "the broadcast"),
        (
            &[("2001:db8:f::10", "192.0.2.254")],
            "service[0].address",
            28,
            "is the gateway on line 13",
        ),
        (
            &[("02:00:00:00:00:05", "02:00:00:00:00:01")],
            "neighbor[1].mac",
            20,
            "the MAC address of the port on line 15",
        ),
        (&[("1400", "1461")], "pool[0].mss_clamp", 24, "has room for 1460"),
        (&[("mtu = 1500", "mtu = 1303"), ("1400", "1200")], "port[0].mtu", 14, "need 1304"),
        (
            &[("198.51.100.0/24", "192.0.2.0/29"), v4],
            "pool[0].backends[0].address",
            25,
            "among tunnel.peers",
        ),
        (
            &[("[tunnel]", "[punt]\nrouting_peers = ['10.0.0.1/8']\n[tunnel]")],
            "punt.routing_peers",
            33,
            "10.0.0.1 is read as 10.0.0.0/8",
        ),
        (
            &[("[tunnel]", "[cluster]\nmembers = [\"192.0.2.1\", \"192.0.2.5\"]\n[tunnel]"), v4],
            "pool[0].backends[0].address",
            25,
            "a member of the cluster",
        ),
    ];
    for (changes, key, line, words) in cases {
        let found = warnings(changes);
        let fits = |w: &&Mistake| w.key == *key && w.line == *line && w.message.contains(words);
        assert_eq!(found.iter().filter(fits).count(), 1, "{changes:?}: {found:#?}");
    }
}
