//! `[cluster]`, `[tunnel]` and `[fragments]`: their meaning, and each mistake in them.

use std::net::IpAddr;
use std::time::Duration;

use super::mistakes::{Case, mistakes};
use super::{EXAMPLE, STATIC, changed};
use crate::{FragmentPolicy, Fragments, Member, Mistake, parse};

/// The line on which the text after the contract's begins.
const BEHIND: usize = 37;

const CLUSTER: &str = "[cluster]
members = [\"192.0.2.3\", \"192.0.2.1\", \"2001:db8::2\"]
down = [\"192.0.2.3\"]
[tunnel]
peers = [\"192.0.2.0/24\", \"2001:db8::/32\"]
[fragments]
contexts = 100
packets = 50
bytes = 70000
timeout = 250
";

fn with(changes: &[(&str, &str)]) -> String {
    let mut text = CLUSTER.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old:?} is not in the text");
        text = text.replacen(old, new, 1);
    }
    EXAMPLE.to_owned() + &text
}

#[test]
fn every_key_is_read() {
    let parsed = parse(&with(&[])).unwrap();
    let configuration = parsed.configuration;
    let member = |address: &str, is_own, is_down| Member {
        address: address.parse::<IpAddr>().unwrap(),
        is_own,
        is_down,
    };
    assert_eq!(
        configuration.cluster.members,
        [
            member("192.0.2.3", false, true),
            member("192.0.2.1", true, false),
            member("2001:db8::2", false, false)
        ]
    );
    let peers: Vec<String> = configuration.tunnel.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["192.0.2.0/24", "2001:db8::/32"]);
    let expected = Fragments {
        contexts: 100,
        packets: 50,
        bytes: 70_000,
        timeout: Duration::from_millis(250),
    };
    assert_eq!(configuration.fragments, expected);
    let fragments = |text: &str| parse(text).unwrap().configuration.services[0].fragments;
    assert_eq!(fragments(EXAMPLE), FragmentPolicy::Follow);
    for (word, policy) in [("follow", FragmentPolicy::Follow), ("drop", FragmentPolicy::Drop)] {
        let text = format!("port = 80\nfragments = \"{word}\"");
        assert_eq!(fragments(&changed(&[("port = 80", &text)])), policy);
    }
}

#[test]
fn each_mistake_is_reported_alone() {
    let cases: &[Case<'_>] = &[
        (&[("members", "member")], 0, "cluster.members", "is missing"),
        (
            &[("[\"192.0.2.3\", \"192.0.2.1\", \"2001:db8::2\"]\ndown = [\"192.0.2.3\"]", "[]")],
            0,
            "cluster.members",
            "is empty",
        ),
        (
            &[("\"192.0.2.1\"", "\"192.0.2.4\"")],
            1,
            "cluster.members",
            "no address of node.tunnel_source",
        ),
        (
            &[("\"2001:db8::2\"", "\"192.0.2.3\"")],
            1,
            "cluster.members[2]",
            "192.0.2.3 is listed twice",
        ),
        (
            &[("\"2001:db8::2\"", "\"203.0.113.10\"")],
            1,
            "cluster.members[2]",
            "is the address of the service on line 33",
        ),
        (&[("\"2001:db8::2\"", "\"fe80::1\"")], 1, "cluster.members[2]", "link-local"),
        (
            &[("down = [\"192.0.2.3\"]", "down = [\"192.0.2.4\"]")],
            2,
            "cluster.down[0]",
            "192.0.2.4 is not among the members",
        ),
        (
            &[("down = [\"192.0.2.3\"]", "down = [\"192.0.2.3\", \"192.0.2.3\"]")],
            2,
            "cluster.down[1]",
            "twice",
        ),
        (
            &[("\"2001:db8::/32\"", "\"192.0.2.9/24\"")],
            4,
            "tunnel.peers[1]",
            "192.0.2.0/24 is listed twice",
        ),
        (&[("\"2001:db8::/32\"", "\"192.0.2.9\"")], 4, "tunnel.peers[1]", "with its prefix length"),
        (
            &[("contexts = 100", "contexts = 49")],
            7,
            "fragments.contexts",
            "fewer than the 50 packets",
        ),
        (&[("timeout = 250", "timeout = 60001")], 9, "fragments.timeout", "from 1 to 60000"),
        (&[("bytes = ", "byte = ")], 8, "fragments.byte", "the nearest known one is \"bytes\""),
    ];
    for &(changes, line, key, words) in cases {
        let found = mistakes(&with(changes));
        let fits = |m: &&Mistake| m.key == key && m.message.contains(words);
        let fitting: Vec<_> = found.iter().filter(fits).collect();
        assert_eq!(fitting.len(), 1, "{changes:?}: {found:#?}");
        assert_eq!(fitting[0].line, BEHIND + line, "{changes:?}: {found:#?}");
        let misspelt = usize::from(key == "cluster.members" && words == "is missing");
        assert_eq!(found.len(), 1 + misspelt, "{changes:?}: {found:#?}");
    }
}

#[test]
fn members_must_be_other_hosts_within_reach() {
    let port = "[[port]]\nname = 'x'\ndevice = 'net_null0'\naddresses = ['198.18.0.1/24']\n";
    let text = with(&[("\"2001:db8::2\"", "\"198.18.0.1\"")])
        .replace("[[neighbor]]", &format!("{port}[[neighbor]]"));
    let found = mistakes(&text);
    assert_eq!((found.len(), found[0].key.as_str()), (1, "cluster.members[2]"));
    assert!(found[0].message.contains("is the address of the port on line 25"), "{found:?}");

    let text = with(&[]).replace(", \"2001:db8::fe\"]", "]").replace(", \"2001:db8::1/64\"", "");
    // The kernel may have a route.
    parse(&text).unwrap();
    let text = text.replace(STATIC.0, STATIC.1);
    let keys: Vec<String> = mistakes(&text).into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(keys, ["pool[0].backends[1].address", "cluster.members[2]"]);

    let text = with(&[])
        .replace(", \"2001:db8::1\"]", "]")
        .replace(", { name = \"b2\", address = \"2001:db8:b::2\" }", "");
    let found = mistakes(&text);
    assert_eq!((found.len(), found[0].key.as_str()), (1, "cluster.members[2]"));
    assert!(found[0].message.contains("has no IPv6 address"), "{found:?}");
}

#[test]
fn each_warning() {
    let warned = |text: &str, key: &str, words: &str| {
        let found = parse(text).unwrap().warnings;
        let fits = |w: &&Mistake| w.key == key && w.message.contains(words);
        assert_eq!(found.iter().filter(fits).count(), 1, "{found:#?}");
    };
    warned(
        &with(&[]).replace(STATIC.0, STATIC.1),
        "cluster.members[0]",
        "the next hop 192.0.2.3 of 1 member has no [[neighbor]]",
    );
    warned(&with(&[]), "cluster.members", "has both families");
    let text = with(&[("192.0.2.0/24", "192.0.2.7/24")]);
    warned(&text, "tunnel.peers", "192.0.2.7 is read as 192.0.2.0/24");
    let text = with(&[("\"2001:db8::2\"]", "\"192.0.2.2\"]")])
        .replace(", \"2001:db8::1\"]", "]")
        .replace(", { name = \"b2\", address = \"2001:db8:b::2\" }", "");
    warned(&text, "tunnel.peers", "nothing comes from 2001:db8::");
}

#[test]
fn room_for_fragments_needs_a_restart_to_change() {
    let old = parse(&with(&[])).unwrap().configuration;
    let differences = |changes: &[(&str, &str)]| {
        old.restart_only_differences(&parse(&with(changes)).unwrap().configuration)
    };
    assert_eq!(
        differences(&[("down = [\"192.0.2.3\"]\n", ""), ("\"2001:db8::/32\"", "")]),
        [""; 0]
    );
    assert_eq!(
        differences(&[("contexts = 100", "contexts = 200"), ("bytes = 70000", "bytes = 7")]),
        ["fragments.contexts is 100 and would be 200", "fragments.bytes is 70000 and would be 7"]
    );
}
