//! `[announce]`, `[[vip]]` and `[bgp]` together: what they say, and each mistake and warning.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::EXAMPLE;
use super::mistakes::{Case, mistakes};
use crate::{AnnounceWhen, BgpMode, Mistake, OnQuorumLoss, parse};

/// The line on which the text after the contract's begins.
const BEHIND: usize = 37;

/// The lines are counted from [`BEHIND`] on.
const ANNOUNCE: &str = "[announce]
bgp = \"managed\"
announce_when = \"all\"
linger = 1000
[[vip]]
address = \"203.0.113.10\"
announce_when = [\"web\"]
[bgp]
local_as = 65001
allowed = [\"203.0.113.0/24\", \"2001:db8:f::/48\"]
[[bgp.peer]]
name = \"tor1\"
address = \"192.0.2.254\"
as = 65000
[[service]]
name = \"dns\"
address = \"2001:db8:f::53\"
protocol = \"udp\"
port = 53
pool = \"web\"
[[service]]
name = \"web-tls\"
address = \"203.0.113.10\"
protocol = \"tcp\"
port = 443
pool = \"web\"
";

const ALL: (&str, &str) = ("\"all\"", "[\"web\", \"dns\"]");
const NO_ANNOUNCE: (&str, &str) =
    ("[announce]\nbgp = \"managed\"\nannounce_when = \"all\"\nlinger = 1000\n", "");
const PEER: &str = "[[bgp.peer]]\nname = \"tor1\"\naddress = \"192.0.2.254\"\nas = 65000\n";

fn with(changes: &[(&str, &str)]) -> String {
    let mut text = EXAMPLE.to_owned() + ANNOUNCE;
    for (old, new) in changes {
        assert!(text.contains(old), "{old:?} is not in the text");
        text = text.replacen(old, new, 1);
    }
    text
}

fn warnings(changes: &[(&str, &str)]) -> Vec<Mistake> {
    parse(&with(changes)).unwrap().warnings
}

#[test]
fn sections_fit_together() {
    let parsed = parse(&with(&[])).unwrap();
    assert_eq!(parsed.warnings, []);
    let configuration = parsed.configuration;
    let announce = configuration.announce.as_ref().unwrap();
    assert_eq!((announce.interface.as_str(), announce.table), ("gwvip", 1000));
    assert_eq!((announce.bgp, announce.linger), (BgpMode::Managed, Duration::from_secs(1)));
    let (web, dns): (IpAddr, IpAddr) =
        ([203, 0, 113, 10].into(), "2001:db8:f::53".parse().unwrap());
    let named = AnnounceWhen::Services(vec!["web".to_owned()]);
    assert_eq!(configuration.quorum_of(web), Some((&named, OnQuorumLoss::Keep)));
    assert_eq!(configuration.quorum_of(dns), Some((&AnnounceWhen::All, OnQuorumLoss::Keep)));
    assert_eq!(parse(EXAMPLE).unwrap().configuration.quorum_of(web), None);
    // A list for all addresses, of which each has one.
    assert_eq!(warnings(&[ALL]), []);
    // Without [announce] nothing of the rest counts.
    assert_eq!(warnings(&[NO_ANNOUNCE, ("allowed", "#")]).len(), 2);
    // BIRD or FRR by the operator's configuration need neither peers nor prefixes here.
    for mode in ["external", "none"] {
        assert_eq!(warnings(&[("managed", mode), ("allowed", "#"), (PEER, "")]), []);
    }
}

#[test]
fn each_mistake_is_reported_alone() {
    let vip = ("address = \"203.0.113.10\"\nannounce", "address = \"203.0.113.11\"\nannounce");
    let names = |names| [("announce_when = [\"web\"]", names)];
    let usual = |names| [("\"all\"", names), ("announce_when = [\"web\"]\n", "")];
    let when = "vip[0].announce_when[0]";
    let tls = ("announce_when = [\"web\"]", "announce_when = [\"web-tsl\"]");
    let cases: &[Case<'_>] = &[
        (
            &[vip],
            5,
            "vip[0].address",
            "203.0.113.11 has no service; the nearest that has is 203.0.113.10",
        ),
        (&[tls], 6, when, "there is no service \"web-tsl\"; the nearest is \"web-tls\""),
        (
            &names("announce_when = [\"dns\"]"),
            6,
            when,
            "\"dns\" is a service of 2001:db8:f::53, not of 203.0.113.10",
        ),
        (
            &names("announce_when = [\"web\", \"web-tls\", \"web\"]"),
            6,
            "vip[0].announce_when[2]",
            "\"web\" is listed twice",
        ),
        (&usual("[\"web\", \"dsn\"]"), 2, "announce.announce_when[1]", "the nearest is \"dns\""),
        (&usual("[\"web\", \"dns\", \"dns\"]"), 2, "announce.announce_when[2]", "listed twice"),
        (
            &[("\"all\"", "[\"web\"]")],
            2,
            "announce.announce_when",
            "names no service of 2001:db8:f::53; name one, or write a [[vip]]",
        ),
        (
            &[("\"all\"", "[\"dns\"]"), ("announce_when = [\"web\"]\n", "")],
            2,
            "announce.announce_when",
            "names no service of 203.0.113.10;",
        ),
        (&[(PEER, "")], 7, "bgp.peer", "is missing, and announce.bgp is \"managed\""),
        (
            &[("[\"203.0.113.0/24\", \"2001:db8:f::/48\"]", "[]")],
            9,
            "bgp.allowed",
            "has no prefix, so that no address could be announced",
        ),
        (&[("allowed", "#")], 7, "bgp.allowed", "write for example allowed = "),
        (
            &[("[announce]", "[announce]\ninterface = \"edge0\"")],
            1,
            "announce.interface",
            "is \"edge0\", the interface of the port on line 14",
        ),
    ];
    for &(changes, line, key, words) in cases {
        let found = mistakes(&with(changes));
        assert_eq!(found.len(), 1, "{changes:?}: {found:#?}");
        let place = (found[0].line, found[0].key.as_str());
        assert_eq!(place, (BEHIND + line, key), "{changes:?}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
    // Without [bgp] both that it lacks are found where it would be asked for.
    let none = "[bgp]\nlocal_as = 65001\nallowed = [\"203.0.113.0/24\", \"2001:db8:f::/48\"]\n";
    let found = mistakes(&with(&[(none, ""), (PEER, "")]));
    let keys: Vec<_> = found.iter().map(|it| (it.line - BEHIND, it.key.as_str())).collect();
    assert_eq!(keys, [(1, "bgp.peer"), (1, "bgp.allowed")]);
    // An interface of a port that has none is free.
    let free = [("[announce]", "[announce]\ninterface = \"edge0\""), super::STATIC];
    assert!(!parse(&with(&free)).is_err_and(|it| it.iter().any(|it| it.key.contains("interface"))));
}

#[test]
fn what_follows_from_another_mistake_is_not_reported() {
    for changes in [
        // The address, or the name, may be the one that is meant.
        [
            ("address = \"2001:db8:f::53\"", "address = \"2001:db8:f::5g\""),
            ("[\"web\"]", "[\"x\"]"),
        ],
        [("name = \"dns\"", "name = \"d s\""), ("[\"web\"]", "[\"dn\"]")],
        [("\"203.0.113.10\"\nann", "\"203.0.113.1O\"\nann"), ("\"all\"", "[\"dns\"]")],
        [("as = 65000", "as = 0"), ("\"all\"", "\"any\"")],
        [("\"2001:db8:f::/48\"]", "\"2001:db8:f::/129\"]"), ("\"all\"", "\"any\"")],
    ] {
        let found = mistakes(&with(&changes));
        assert_eq!(found.len(), 1, "{changes:?}: {found:#?}");
    }
}

#[test]
fn each_warning_is_reported_alone() {
    let no_effect = "has no effect: without a section [announce]";
    let without_vip = "[[vip]]\naddress = \"203.0.113.10\"\nannounce_when = [\"web\"]\n";
    let without_bgp =
        "[bgp]\nlocal_as = 65001\nallowed = [\"203.0.113.0/24\", \"2001:db8:f::/48\"]\n";
    let cases: &[Case<'_>] = &[
        (&[NO_ANNOUNCE, (without_bgp, ""), (PEER, "")], 0, "vip", no_effect),
        (&[NO_ANNOUNCE, (without_vip, "")], 0, "bgp", no_effect),
        (
            &[(", \"2001:db8:f::/48\"", "")],
            16,
            "service[1].address",
            "2001:db8:f::53 is outside of bgp.allowed",
        ),
        (&[("linger = 1000", "linger = 0")], 3, "announce.linger", "is 0: a forwarder that stops"),
    ];
    for &(changes, line, key, words) in cases {
        let found = warnings(changes);
        assert_eq!(found.len(), 1, "{changes:?}: {found:#?}");
        let place = (found[0].line, found[0].key.as_str());
        assert_eq!(place, (BEHIND + line, key), "{changes:?}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
    // Two services on one address are one warning, at the first.
    let outside = warnings(&[("\"203.0.113.0/24\", ", "")]);
    let keys: Vec<_> = outside.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(keys, ["service[0].address"]);
    assert_eq!(warnings(&[("linger = 1000", "linger = 300000")]), []);
}

/// The longest linger ends before systemd loses its patience.
#[test]
fn the_unit_lets_the_longest_linger_end() {
    let unit = include_str!("../../../packaging/guideway.service");
    assert!(unit.lines().any(|line| line == "TimeoutStopSec=320"), "{unit}");
}

#[test]
fn many_addresses_and_many_wrong_ones_are_read_in_seconds() {
    let (mut right, mut wrong) = (with(&[]), with(&[]));
    for index in 0..20_000 {
        let (high, low) = (index / 250, index % 250 + 1);
        let service = |name: &str| {
            format!(
                "[[service]]\nname = '{name}{index}'\naddress = '203.0.{high}.{low}'\n\
                 protocol = 'udp'\nport = 9\npool = 'web'\n"
            )
        };
        right += &service("s");
        wrong += &service("s");
        if index < 10_000 {
            right +=
                &format!("[[vip]]\naddress = '203.0.{high}.{low}'\nannounce_when = ['s{index}']\n");
            wrong += &format!(
                "[[vip]]\naddress = '198.51.{high}.{low}'\nannounce_when = ['s{index}']\n"
            );
        }
    }
    let start = Instant::now();
    assert_eq!(parse(&right).unwrap().configuration.vips.len(), 10_001);
    let found = parse(&wrong).unwrap_err();
    assert_eq!(found.iter().len() + found.more(), 10_000);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
}
