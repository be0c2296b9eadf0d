//! Where probes go, where they come from, and how many: `[probe]`, `node.check_source`, and checks with their pools.

use std::time::{Duration, Instant};

use super::checks::{CHECKED, KIND, check, each_alone, mistakes_of, warnings_of, with};
use super::mistakes::{Case, mistakes};
use crate::parse;

const BACKENDS: &str = "backends = [ { name = \"b1\", address = \"10.0.0.5\" }, \
                        { name = \"b2\", address = \"2001:db8:b::2\" } ]";
const SOURCES: &str = "check_source = [\"198.51.100.1\", \"192.0.2.10\"]";

#[test]
fn mistakes_of_sources() {
    const KEY: &str = "node.check_source[0]";
    let source = |address: &'static str| ("198.51.100.1", address);
    let own = "10.0.0.5 is an address of node.check_source: packets would come back here";
    let bgp = "[bgp]\nlocal_as = 65001\n[[bgp.peer]]\nname = \"t\"\naddress = \"192.0.2.254\"\n\
               as = 65000\nsource = \"192.0.2.10\"\n[[check]]";
    let apart = ("192.0.2.1/24", "192.0.2.2/24");
    let seventeen: Vec<String> = (1..18).map(|n| format!("198.51.100.{n}")).collect();
    let seventeen = format!("check_source = {seventeen:?}");
    each_alone(
        &[
            (&[source("fe80::1")], 4, KEY, "link-local"),
            (&[source("192.0.2.10")], 4, "node.check_source[1]", "listed twice"),
            (&[(SOURCES, &seventeen)], 4, "node.check_source", "has 17 addresses; there can be 16"),
            (&[source("192.0.2.1")], 4, KEY, "is of node.tunnel_source"),
            (
                &[source("192.0.9.7"), ("[\"192.0.2.1\",", "[\"192.0.9.0/24\",")],
                4,
                KEY,
                "is of node.tunnel_source",
            ),
            (&[source("203.0.113.10")], 4, KEY, "is the address of the service on line 20"),
            (&[source("10.0.0.5")], 17, "pool[0].backends[0].address", own),
            (
                &[source("192.0.2.77")],
                4,
                KEY,
                "in a network of the port on line 9, where nobody replies to ARP for it",
            ),
            (
                &[source("2001:db8::77")],
                4,
                KEY,
                "nobody replies to neighbor discovery for it; add it to the port's addresses",
            ),
            (
                &[source("192.0.2.254")],
                13,
                "port[0].gateways[0]",
                "192.0.2.254 is an address of node.check_source; expected another host's",
            ),
            (
                &[("[[check]]", bgp)],
                4,
                "node.check_source[1]",
                "192.0.2.10 is the source of the BGP peer on line 31",
            ),
        ],
        mistakes_of,
    );
    // A port's own address that is not the tunnel's.
    let of_port = [apart, source("192.0.2.2")];
    assert_eq!(warnings_of(&of_port), []);
}

#[test]
fn mistakes_of_the_way_to_the_forwarder() {
    let probe = |keys: &str| format!("[probe]\n{keys}\n[[port]]");
    let (interface, announced) = (probe("interface = \"edge0\""), probe("table = 1000"));
    let announced = format!("[announce]\n{announced}");
    let device = format!("[announce]\n{}", probe("interface = \"gwvip\""));
    let default = "[announce]\ntable = 1001\n[[port]]";
    let (main, local) = (probe("table = 254"), probe("table = 255"));
    let few = probe("source_ports = \"2000-2003\"");
    let listen = |listener: &str| format!("[metrics]\nlisten = [\"{listener}\"]\n[[port]]");
    let (one, any) = (listen("198.51.100.1:10000"), listen("0.0.0.0:59999"));
    let cases: &[Case<'_>] = &[
        (
            &[("[[port]]", &interface)],
            10,
            "probe.interface",
            "the interface of the port on line 11",
        ),
        (&[("\"edge0\"", "\"gwcheck\"")], 4, "probe.interface", "the port on line 9"),
        (&[("[[port]]", &device)], 11, "probe.interface", "as announce.interface"),
        (&[("[[port]]", &announced)], 11, "probe.table", "is 1000, as announce.table"),
        (&[("[[port]]", default)], 4, "probe.table", "is 1001, as announce.table"),
        (&[("[[port]]", &main)], 10, "probe.table", "the kernel's table \"main\""),
        (&[("[[port]]", &local)], 10, "probe.table", "the kernel's table \"local\""),
        (
            &[("[[port]]", &few), (", \"192.0.2.10\"]", "]")],
            10,
            "probe.source_ports",
            "has 4 ports, and 4 probes to IPv4 addresses through tunnels need 2 each, 8 in all, of \
             1 source;",
        ),
        (&[("[[port]]", &one)], 10, "metrics.listen[0]", "from 198.51.100.1, an IPv4 address"),
        (&[("[[port]]", &any)], 10, "metrics.listen[0]", "outside of 10000-59999"),
    ];
    each_alone(cases, mistakes_of);
    let values: &[(&str, &str)] = &[
        ("interface = \"..\"", "no path"),
        ("interface = \"all\"", "the kernel has no device of this one"),
        ("table = 0", "from 1"),
        ("ports_each = 1", "from 2 to 4"),
        ("ports_each = 5", "from 2 to 4"),
        ("source_ports = \"1023-2000\"", "ports below 1024"),
        ("source_ports = \"3000-2000\"", "expected 2000-3000"),
        ("source_ports = \"3000\"", "two ports"),
        ("source_ports = \"3000-\"", "two ports"),
        ("source_ports = \"3000-99999\"", "two ports"),
        ("source_ports = \"+3000-4000\"", "two ports"),
        ("source_ports = 3000", "expected a string"),
    ];
    for (key, words) in values {
        let found = mistakes_of(&[("[[port]]", &probe(key))]);
        assert!(found.len() == 1 && found[0].line == 10, "{key}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
    // Two sources have room for what one has not, and another family's listener takes nothing.
    assert_eq!(warnings_of(&[("[[port]]", &few)]), []);
    for listener in ["198.51.100.1:9999", "[::]:10000", "198.51.100.2:10000", "/run/s"] {
        assert_eq!(warnings_of(&[("[[port]]", &listen(listener))]), []);
    }
    // Without sources there is no device and no table.
    let direct = [
        (SOURCES, ""),
        (KIND, "kind = \"http\"\nvia = \"direct\""),
        ("kind = \"ping\"", "kind = \"ping\"\nvia = \"direct\""),
        ("\"edge0\"", "\"gwcheck\""),
    ];
    assert_eq!(warnings_of(&direct), []);
    let configuration = parse(&with(&direct)).unwrap().configuration;
    assert!(!configuration.has_tunnel_checks());
}

#[test]
fn mistakes_of_destinations() {
    let no_service = "[[pool]]\nname = \"idle\"\nchecks = [\"web\"]\n\
                      backends = [{ name = \"i\", address = \"10.0.0.9\" }]\n[[service]]";
    let l2_idle = no_service.replace("\"10.0.0.9\"", "\"192.0.2.9\", encapsulation = \"l2\"");
    let v6 = ("203.0.113.10", "2001:db8:f::10");
    let on_link = "backends = [ { name = \"b1\", address = \"10.0.0.5\" }, \
                   { name = \"b3\", address = \"192.0.2.7\", encapsulation = \"l2\" } ]";
    let keys = |keys: &'static str| format!("kind = \"http\"\n{keys}");
    let (address, tunnel) = (keys("address = \"203.0.113.10\""), keys("via = \"tunnel\""));
    let (of_v6, port) = (keys("address = \"2001:db8:f::1\""), keys("port = 8080"));
    let direct = keys("via = \"direct\"");
    each_alone(
        &[
            (
                &[(SOURCES, "")],
                1,
                "node.check_source",
                "has no IPv4 address, and probes through tunnels to 203.0.113.10 need one as source, \
                 those of check \"web\" on line 25, and of 1 check more; add one",
            ),
            (
                &[v6],
                4,
                "node.check_source",
                "has no IPv6 address, and probes through tunnels to 2001",
            ),
            (
                &[(KIND, &of_v6)],
                4,
                "node.check_source",
                "has no IPv6 address, and probes through tunnels to 2001:db8:f::1 need one as \
                 source, those of check \"web\" on line 25; add one",
            ),
            (
                &[("device", "interface = \"none\"\ndevice"), (", \"192.0.2.10\"]", "]")],
                4,
                "node.check_source",
                "by the interface of a port, and no port has one",
            ),
            (
                &[(BACKENDS, on_link), (KIND, &tunnel)],
                28,
                "check[0].via",
                "no tunnel leads to \"b3\" of pool \"web\" on line 17, whose encapsulation is only",
            ),
            (
                &[("[[service]]", no_service)],
                20,
                "pool[1].checks[0]",
                "\"web\" takes its address and port from a service, and none uses the pool; set \
                 both in the check, or via = \"direct\"",
            ),
            (
                &[("[[service]]", no_service), (KIND, &address)],
                20,
                "pool[1].checks[0]",
                "takes its port from a service, and none uses the pool; set it in the check",
            ),
            (
                &[("[[service]]", no_service), (KIND, &port)],
                20,
                "pool[1].checks[0]",
                "takes its address from a service, and none uses the pool; set it in the check, or",
            ),
            (
                &[("[[service]]", no_service), (KIND, &direct)],
                20,
                "pool[1].checks[0]",
                "takes its port from a service",
            ),
            (
                &[("[[service]]", &l2_idle)],
                20,
                "pool[1].checks[0]",
                "takes its port from a service",
            ),
        ],
        mistakes_of,
    );
    // What needs no service, or has one by another pool or as a backup.
    let both = keys("port = 80\naddress = \"203.0.113.10\"");
    let found = warnings_of(&[("[[service]]", no_service), (KIND, &both)]);
    let found: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(found, ["pool[1]"], "an unused pool");
    for key in ["pools = [\"idle\"]\nbackends", "backup = \"idle\"\nbackends"] {
        assert_eq!(warnings_of(&[("[[service]]", no_service), ("backends", key)]), []);
    }
    // A default that suits each backend.
    assert_eq!(warnings_of(&[(BACKENDS, on_link)]), []);
}

/// Checks of a pool go to the first service of their protocol, whichever pool leads to the backends.
#[test]
fn a_pool_has_a_first_service() {
    const MORE: &str = "[[service]]\nname = \"dns\"\naddress = \"203.0.113.53\"\nprotocol = \"udp\"\n\
                        port = 53\npool = \"all\"\n[[service]]\nname = \"web2\"\n\
                        address = \"203.0.113.11\"\nprotocol = \"tcp\"\nport = 81\npool = \"all\"\n\
                        [[pool]]\nname = \"all\"\npools = [\"web\"]\nbackup = \"last\"\n\
                        [[pool]]\nname = \"last\"\n\
                        backends = [{ name = \"b9\", address = \"10.0.0.9\" }]\n\
                        [[pool]]\nname = \"nobodys\"\nbackends = []\n";
    use crate::Protocol::{Tcp, Udp};
    let configuration = parse(&(CHECKED.to_owned() + MORE)).unwrap().configuration;
    let first = configuration.first_services();
    let name = |pool, protocol| {
        first.of(pool, protocol).map(|service| configuration.services[service].name.as_str())
    };
    // "web", its own service and those of "all".
    assert_eq!(
        [Some(Tcp), Some(Udp), None].map(|it| name(0, it)),
        [Some("web"), Some("dns"), Some("web")]
    );
    // "all".
    assert_eq!(
        [Some(Tcp), Some(Udp), None].map(|it| name(1, it)),
        [Some("web2"), Some("dns"), Some("dns")]
    );
    // "last", its backup.
    assert_eq!(
        [Some(Tcp), Some(Udp), None].map(|it| name(2, it)),
        [Some("web2"), Some("dns"), Some("dns")]
    );
    assert_eq!([Some(Tcp), Some(Udp), None].map(|it| name(3, it)), [None; 3]);
    assert_eq!(first.of(4, None), None);
    // A pool with a backup never panics by default.
    let thresholds: Vec<u8> = configuration.pools.iter().map(|pool| pool.panic_threshold).collect();
    assert_eq!(thresholds, [50, 100, 50, 50]);
}

#[test]
fn mistakes_of_sizes() {
    let size = |kind: &str, size: u16| format!("kind = \"{kind}\"\nsize = {size}");
    let direct = |kind: &str, number: u16| size(kind, number) + "\nvia = \"direct\"";
    let wrong = |keys: &str| {
        let found = mistakes_of(&[(KIND, keys)]);
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        assert_eq!((found[0].line, found[0].key.as_str()), (28, "check[0].size"));
        found[0].message.clone()
    };
    assert!(wrong(&size("http", 127)).contains("over IPv4 has 128 bytes"));
    // One of the backends has an IPv6 address.
    assert!(wrong(&direct("ping", 63)).contains("the shortest probe of \"ping\" over IPv6 has 64"));
    assert!(wrong(&direct("https", 147)).contains("over IPv6 has 148 bytes"));
    let long = wrong(&size("ping", 1457));
    assert!(long.contains("is 1457; tunnels have room for 1456 bytes"), "{long}");
    assert_eq!(check(&size("http", 128)).size, Some(128));
    assert_eq!(check(&size("https", 1456)).size, Some(1456));
    // The kernel's routes know what fits.
    assert_eq!(check(&direct("http", 9216)).size, Some(9216));
    let pings =
        |size: &str| warnings_of(&[("kind = \"ping\"", &format!("kind = \"ping\"\n{size}"))]);
    assert_eq!(pings("size = 44"), []);
    assert_eq!(pings("size = 64\nvia = \"direct\""), []);
    // A check that nobody names goes nowhere, so that its size is not judged.
    let unnamed =
        warnings_of(&[("checks = [\"host\"]", "#"), ("\"ping\"", "\"ping\"\nsize = 9000")]);
    assert_eq!(unnamed.len(), 1, "{unnamed:#?}");
}

#[test]
fn each_warning_alone() {
    let https = "kind = \"https\"\nverify = true";
    let dns = [("\"tcp\"", "\"udp\""), ("port = 80", "port = 53")];
    let all = "[[pool]]\nname = \"all\"\npools = [\"web\"]\nchecks = [\"web\"]\n[[service]]\n\
               name = \"all\"\naddress = \"203.0.113.11\"\nprotocol = \"tcp\"\nport = 80\n\
               pool = \"all\"\n[[service]]";
    let probe = [
        (SOURCES, ""),
        (KIND, "kind = \"http\"\nvia = \"direct\""),
        ("kind = \"ping\"", "kind = \"ping\"\nvia = \"direct\""),
        ("[[port]]", "[probe]\ntable = 7\n[[port]]"),
    ];
    each_alone(
        &[
            (&[("[\"host\"]", "[\"web\"]")], 28, "check[1]", "of no pool and no service"),
            (&[(KIND, https)], 28, "check[0].verify", "there is no sni"),
            (&[(KIND, "kind = \"tls\"\nverify = true")], 28, "check[0].verify", "there is no sni"),
            (&[(KIND, "kind = \"ping\"")], 16, "pool[0].checks[0]", "nothing of their services"),
            (
                &[(KIND, "kind = \"http\"\ninterval = 99\ntimeout = 50")],
                28,
                "check[0].interval",
                "is 99: over 10 probes a second",
            ),
            (
                &[(KIND, "kind = \"http\"\nfast_interval = 20\ntimeout = 10")],
                28,
                "check[0].fast_interval",
                "is 20: over 10 probes a second",
            ),
            (
                &dns,
                16,
                "pool[0].checks[0]",
                "\"web\" is \"http\", and takes the port of a service of UDP, 53; set the check's",
            ),
            (
                &[("[[service]]", all)],
                21,
                "pool[1].checks[0]",
                "the pool has no backends of its own",
            ),
            (&probe, 9, "probe", "without node.check_source no probe goes through a tunnel"),
        ],
        warnings_of,
    );
    assert_eq!(warnings_of(&[dns[0], dns[1], (KIND, "kind = \"http\"\nport = 80")]), []);
    assert_eq!(warnings_of(&[dns[0], dns[1], (KIND, "kind = \"udp\"")]), []);
}

/// Few lines can make many targets: they are counted no further than there can be, in no more than seconds.
#[test]
fn targets_are_limited() {
    let begin = Instant::now();
    let backends = |count: u32| {
        let one = |n: u32| {
            let [_, a, b, c] = n.to_be_bytes();
            format!("{{ name = \"s{n}\", address = \"10.{a}.{b}.{c}\" }},\n")
        };
        format!("backends = [\n{}]", (1..=count).map(one).collect::<String>())
    };
    let service = |n: u32| {
        let [.., a, b] = n.to_be_bytes();
        format!(
            "[[service]]\nname = \"v{n}\"\naddress = \"203.1.{a}.{b}\"\nprotocol = \"tcp\"\n\
             port = 80\npool = \"web\"\nchecks = [\"web\"]\n"
        )
    };
    let many = |services: u32, of: u32, via: &str| {
        let table = "[hash]\ntable_size = 5000011";
        let keys = format!("{KIND}\nvia = \"{via}\"");
        let all: String = (1..=services).map(service).collect();
        with(&[("[hash]", table), (BACKENDS, &backends(of)), (KIND, &keys)]) + &all
    };
    let found = mistakes(&many(1000, 1000, "tunnel"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].key, "check");
    assert!(found[0].message.contains("over 65535 probes"), "{found:#?}");
    // The same server by its own address is probed once, however many services it has.
    assert!(parse(&many(1000, 1000, "direct")).is_ok());
    let taken = begin.elapsed();
    assert!(taken < Duration::from_secs(60), "{taken:?}");
}

#[test]
fn another_device_of_probes_needs_a_restart() {
    let old = parse(CHECKED).unwrap().configuration;
    let differences = |keys: &str| {
        let text = with(&[("[[port]]", &format!("[probe]\n{keys}\n[[port]]"))]);
        old.restart_only_differences(&parse(&text).unwrap().configuration)
    };
    assert_eq!(
        differences("interface = \"probes\""),
        ["probe.interface is \"gwcheck\" and would be \"probes\""]
    );
    let nothing: [String; 0] = [];
    assert_eq!(differences("table = 7\nsource_ports = \"2000-9000\"\nports_each = 3"), nothing);
    let other = parse(&with(&[
        (KIND, "kind = \"tcp\"\nrise = 9"),
        (SOURCES, "check_source = [\"198.51.100.9\"]"),
    ]));
    assert_eq!(old.restart_only_differences(&other.unwrap().configuration), nothing);
}

/// Pools that share a server, a check and a tunnel share its probes; another tunnel to it has its own.
#[test]
fn targets_are_shared() {
    let few = "[probe]\nsource_ports = \"2000-2001\"\n[[port]]";
    let one = "backends = [ { name = \"b1\", address = \"10.0.0.5\" } ]";
    let to = "kind = \"http\"\naddress = \"203.0.113.10\"\nport = 80";
    let again = |encapsulation: &str| {
        format!(
            "[[pool]]\nname = \"again\"\nchecks = [\"web\"]\nencapsulation = \"{encapsulation}\"\n\
             backends = [ {{ name = \"other\", address = \"10.0.0.5\" }} ]\n[[service]]\n\
             name = \"again\"\naddress = \"203.0.113.11\"\nprotocol = \"tcp\"\nport = 80\n\
             pool = \"again\"\nchecks = [\"web\"]\n[[service]]"
        )
    };
    let start = [
        (SOURCES, "check_source = [\"198.51.100.1\"]"),
        ("[[port]]", few),
        (BACKENDS, one),
        ("checks = [\"host\"]", "checks = [\"web\"]"),
        (KIND, to),
    ];
    let found = |encapsulation: &str| {
        let again = again(encapsulation);
        let changes = [&start[..], &[("[[service]]", again.as_str())]].concat();
        parse(&with(&changes))
    };
    let unnamed = found("gre").unwrap().warnings;
    assert_eq!(unnamed.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(), ["check[1]"]);
    let mistakes = found("ipip").unwrap_err();
    let mistakes: Vec<_> = mistakes.iter().collect();
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert!(mistakes[0].message.contains("2 probes to IPv4 addresses"), "{mistakes:#?}");
}

/// Changes, and the keys of all mistakes that they make.
type Alone<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

#[test]
fn what_follows_from_another_mistake_is_not_reported() {
    let no_service = [(SOURCES, ""), ("pool = \"web\"", "pool = \"wep\"")];
    let cases: &[Alone<'_>] = &[
        // Whether a service uses the pool is unknown, and where its probes would go.
        (&no_service, &["service[0].pool"]),
        (&[("port = 80", "port = 0")], &["service[0].port"]),
        (&[("203.0.113.10", "203.0.113"), (SOURCES, "")], &["service[0].address"]),
        (&[("\"tcp\"", "\"tpc\""), ("[\"host\"]", "[]")], &["service[0].protocol"]),
        (&[(SOURCES, "check_source = [\"198.51.100\"]")], &["node.check_source[0]"]),
        (&[(KIND, "kind = \"http\"\nvia = \"vip\"\nsize = 9000")], &["check[0].via"]),
        (&[(KIND, "kind = \"ping\"\nsize = 43")], &["check[0].size"]),
        (&[(KIND, "kind = \"pong\"\nport = 7\nsize = 9000")], &["check[0].kind"]),
        (
            &[("10.0.0.5", "10.0.0"), (KIND, "kind = \"http\"\nsize = 1400")],
            &["pool[0].backends[0].address"],
        ),
        (
            &[
                ("checks = [\"web\"]", "checks = [\"web\"]\nencapsulation = \"grr\""),
                (KIND, "kind = \"http\"\nvia = \"tunnel\""),
            ],
            &["pool[0].encapsulation"],
        ),
        (&[("device", "interface = \"a/b\"\ndevice")], &["port[0].interface"]),
    ];
    for (changes, keys) in cases {
        let found = match parse(&with(changes)) {
            Ok(_) => vec![],
            Err(mistakes) => mistakes.iter().map(|it| it.key.clone()).collect(),
        };
        assert_eq!(found, *keys, "{changes:?}");
    }
}
