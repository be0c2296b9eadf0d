//! `[bgp]` and `[[bgp.peer]]`: what they say, and each mistake and warning.

use super::EXAMPLE;
use super::mistakes::mistakes;
use crate::{BgpPeer, Community, Family, Mistake, parse};

/// The last line of the contract's text.
const BEHIND: usize = 36;

/// The lines are counted from [`BEHIND`] on.
const BGP: &str = "[announce]
[bgp]
local_as = 65001
allowed = [\"203.0.113.0/24\", \"2001:db8:f::/48\"]
[[bgp.peer]]
name = \"tor1\"
address = \"192.0.2.254\"
as = 65000
";

const PEER: &str = "[[bgp.peer]]\nname = \"tor1\"\naddress = \"192.0.2.254\"\nas = 65000\n";

fn with(changes: &[(&str, &str)], more: &str) -> String {
    let mut text = BGP.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old:?} is not in the text");
        text = text.replacen(old, new, 1);
    }
    EXAMPLE.to_owned() + &text + more
}

fn warnings(changes: &[(&str, &str)], more: &str) -> Vec<Mistake> {
    parse(&with(changes, more)).unwrap().warnings
}

fn peer(more: &str) -> BgpPeer {
    let parsed = parse(&with(&[], more)).unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.configuration.bgp.peers[0].clone()
}

/// Changes to the text and what is added to it, then line, key and words of the one finding.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, usize, &'a str, &'a str);

#[track_caller]
fn each_alone(cases: &[Case<'_>], found: impl Fn(&[(&str, &str)], &str) -> Vec<Mistake>) {
    for &(changes, more, line, key, words) in cases {
        let found = found(changes, more);
        assert_eq!(found.len(), 1, "{changes:?} {more}: {found:#?}");
        let place = (found[0].line, found[0].key.as_str());
        assert_eq!(place, (BEHIND + line, key), "{changes:?} {more}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
}

#[test]
fn a_peer_has_defaults_and_settings() {
    let default = peer("");
    assert_eq!((default.ttl_hops, default.ttl_security, default.bfd), (1, true, true));
    assert_eq!((default.hold_time.as_secs(), default.keepalive().as_secs()), (9, 3));
    assert!(default.has(Family::V4) && !default.has(Family::V6));

    let full = peer(
        "local_as = 65002\nsource = \"192.0.2.1\"\npassword_file = \"/etc/p\"\nttl_hops = 3\n\
         ttl_security = false\nhold_time = 90\nkeepalive = 30\nbfd_interval = 50\n\
         bfd_multiplier = 5\nfamilies = [\"ipv6\", \"ipv4\"]\n\
         next_hops = [\"2001:db8::1\", \"192.0.2.9\"]\n\
         communities = [\"65001:100\", \"65001:1:4294967295\", \"65535:65281\"]\nmed = 7\n\
         prepend = 2\n",
    );
    assert!(full.has(Family::V4) && full.has(Family::V6));
    assert_eq!(full.next_hops.len(), 2);
    assert_eq!(
        full.communities,
        [
            Community::Standard(65001, 100),
            Community::Large(65001, 1, u32::MAX),
            // No export: a choice like another.
            Community::Standard(65535, 65281),
        ]
    );
    // Only the other family, over several hops and without BFD; hold times without end.
    peer("families = [\"ipv6\"]\nnext_hops = [\"2001:db8::1\"]\n");
    peer("ttl_hops = 254\nbfd = false\nhold_time = 0\n");
    peer("hold_time = 3\nkeepalive = 1\n");
    peer("hold_time = 65535\nkeepalive = 21845\n");
}

#[test]
fn the_identifier_is_an_address_of_the_node() {
    let id = |changes: &[(&str, &str)]| {
        parse(&with(changes, "")).unwrap().configuration.router_id().unwrap().to_string()
    };
    assert_eq!(id(&[]), "192.0.2.1");
    assert_eq!(id(&[("local_as", "router_id = \"10.1.1.1\"\nlocal_as")]), "10.1.1.1");
}

#[test]
fn each_mistake_is_reported_alone() {
    let of = |key: &str| format!("bgp.peer[0].{key}");
    let second = PEER.replace("tor1", "tor2");
    let other = second.replace(".254", ".253");
    let source = |n: u8| format!("source = \"192.0.2.{n}\"\n");
    let sourced = [source(1), second.clone(), source(1)].concat();
    let (name, address, number) = (of("name"), of("address"), of("as"));
    let long = format!("\"{}\"", "x".repeat(60));
    each_alone(
        &[
            (&[("local_as = 65001\n", "")], "", 2, "bgp.local_as", "the peer on line 40"),
            (&[("65001", "0")], "", 3, "bgp.local_as", "from 1 to 4294967294"),
            (&[("65001", "23456")], "", 3, "bgp.local_as", "AS_TRANS"),
            (&[("65001", "65535")], "", 3, "bgp.local_as", "is 65535, reserved"),
            (&[("as = 65000", "as = 23456")], "", 8, &number, "nobody has it"),
            (&[], "local_as = 23456", 9, &of("local_as"), "nobody has it"),
            (&[("\"tor1\"", "\"tor 1\"")], "", 6, &name, "1 to 59 letters"),
            (&[("\"tor1\"", &long)], "", 6, &name, "1 to 59 letters"),
            (
                &[],
                &other.replace("tor2", "tor1"),
                10,
                "bgp.peer[1].name",
                "is \"tor1\" as on line 42; each must have its own",
            ),
            (&[("192.0.2.254", "fe80::1")], "", 7, &address, "link-local"),
            (&[], &second, 11, "bgp.peer[1].address", "that of the peer on line 41"),
            (&[], &sourced, 12, "bgp.peer[1].address", "need a source each"),
            (&[], "source = \"2001:db8::1\"", 9, &of("source"), "both are of one family"),
            (&[], "source = \"192.0.2.254\"", 9, &of("source"), "the peer's own address"),
            (&[], "ttl_hops = 2", 5, &of("source"), "BFD over several hops needs it"),
            (&[], "ttl_hops = 255", 9, &of("ttl_hops"), "from 1 to 254"),
            (&[], "hold_time = 1", 9, &of("hold_time"), "0 for no end, or at least 3"),
            (&[], "hold_time = 2\nkeepalive = 9", 9, &of("hold_time"), "is 2; expected"),
            (&[], "keepalive = 4", 9, &of("keepalive"), "a third of that, 3, is the most"),
            (&[], "keepalive = 0", 9, &of("keepalive"), "from 1 to 21845"),
            (&[], "families = [\"ipv4\", \"ipv4\"]", 9, &of("families[1]"), "listed twice"),
            (
                &[],
                "families = [\"ipv4\", \"ipv6\"]",
                5,
                &of("next_hops"),
                "a session over ipv4 needs one to tell ipv6 addresses",
            ),
            (
                &[],
                "next_hops = [\"192.0.2.9\", \"192.0.2.8\"]",
                9,
                &of("next_hops[1]"),
                "a second ipv4 address",
            ),
            (
                &[],
                "next_hops = [\"2001:db8::9\"]",
                9,
                &of("next_hops[0]"),
                "the peer is told none of that family",
            ),
            (&[], "next_hops = [\"192.0.2.254\"]", 9, &of("next_hops[0]"), "the peer itself"),
            (&[], "communities = [\"1:2\", \"1:2\"]", 9, &of("communities[1]"), "listed twice"),
            (&[], "communities = [\"65536:1\"]", 9, &of("communities[0]"), "at most 65535"),
            (&[], "communities = [\"1:2:3:4\"]", 9, &of("communities[0]"), "expected a community"),
            (
                &[("2001:db8:f::/48", "203.0.113.7/24")],
                "",
                4,
                "bgp.allowed[1]",
                "203.0.113.0/24 is on line 40, too",
            ),
            (
                &[("local_as", "router_id = \"0.0.0.0\"\nlocal_as")],
                "",
                3,
                "bgp.router_id",
                "expected a number in the form 192.0.2.1",
            ),
        ],
        |changes, more| mistakes(&with(changes, more)),
    );
    // Two sessions with one peer, each from another address.
    let apart = [source(1), second, source(2)].concat();
    assert_eq!(warnings(&[], &apart), []);
}

#[test]
fn an_identifier_is_asked_for_where_there_is_none() {
    // No IPv4 address anywhere: neither the tunnel's nor a port's.
    const TEXT: &str = "[node]\nname = \"a\"\ntunnel_source = [\"2001:db8::1\"]\n[hash]\n\
        key = \"000102030405060708090a0b0c0d0e0f\"\n[dpdk]\nworkers = [0]\n[[port]]\n\
        name = \"p\"\ndevice = \"net_null0\"\naddresses = [\"2001:db8::1/64\"]\n\
        gateways = [\"2001:db8::fe\"]\n[bgp]\nlocal_as = 65001\n[[bgp.peer]]\nname = \"t\"\n\
        address = \"2001:db8::fe\"\nas = 65000\n";
    let found = mistakes(TEXT);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].line, found[0].key.as_str()), (13, "bgp.router_id"));
    assert!(parse(&TEXT.replace("[bgp]", "[bgp]\nrouter_id = \"1.2.3.4\"")).is_ok());
    assert!(
        parse(&TEXT.replace("\"2001:db8::1/64\"", "\"2001:db8::1/64\", \"10.0.0.1/8\"")).is_ok()
    );
    // Nobody needs one without a peer.
    let (without, _) = TEXT.split_once("[[bgp.peer]]").unwrap();
    assert!(parse(without).is_ok());
}

#[test]
fn each_warning_is_reported_alone() {
    let of = |key: &str| format!("bgp.peer[0].{key}");
    each_alone(
        &[
            (
                &[("2001:db8:f::/48", "2001:db8:f::1/48")],
                "",
                4,
                "bgp.allowed[1]",
                "which lies in 2001:db8:f::/48",
            ),
            (
                &[],
                "hold_time = 0\nkeepalive = 3",
                10,
                &of("keepalive"),
                "hold_time is 0, so that none are sent",
            ),
            (
                &[],
                "communities = [\"1:2\", \"65535:0\"]",
                9,
                &of("communities[1]"),
                "graceful shutdown",
            ),
            (&[], "communities = [\"65535:666\"]", 9, &of("communities[0]"), "blackhole"),
            (&[("as = 65000", "as = 65001")], "prepend = 1", 9, &of("prepend"), "own AS, 65001"),
        ],
        warnings,
    );
    let parsed = parse(&with(&[("2001:db8:f::/48", "2001:db8:f::1/48")], "")).unwrap();
    let allowed = parsed.configuration.bgp.allowed;
    assert_eq!(allowed[1].to_string(), "2001:db8:f::/48");
}

#[test]
fn what_follows_from_another_mistake_is_not_reported() {
    for (changes, more) in [
        (("192.0.2.254", "192.0.2"), "source = \"2001:db8::1\"\nnext_hops = [\"2001:db8::9\"]\n"),
        (("65001", "0"), "prepend = 1\n"),
        (("as = 65000", "as = 65000\nhold_time = -1"), "keepalive = 20\n"),
        (("as = 65000", "as = 65000\nfamilies = [\"ipv5\"]"), "next_hops = [\"2001:db8::9\"]\n"),
    ] {
        let found = mistakes(&with(&[changes], more));
        assert_eq!(found.len(), 1, "{changes:?} {more}: {found:#?}");
    }
}
