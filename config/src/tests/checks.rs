//! `[[check]]`: what its keys say, and each mistake of one check.

use std::net::IpAddr;
use std::time::Duration;

use super::mistakes::{Case, mistakes};
use crate::{
    Check, CheckHttp, CheckKind, CheckTls, DrainSign, Exchange, InitialState, Mistake, Via, parse,
};

/// A service over tunnels, with a check of its pool and one of its own.
pub(super) const CHECKED: &str = r#"[node]
name = "lb1"
tunnel_source = ["192.0.2.1", "2001:db8::1"]
check_source = ["198.51.100.1", "192.0.2.10"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[dpdk]
workers = [1]
[[port]]
name = "edge0"
device = "0000:3b:00.0"
addresses = ["192.0.2.1/24", "192.0.2.10/32", "2001:db8::1/64"]
gateways = ["192.0.2.254", "2001:db8::fe"]
[[pool]]
name = "web"
checks = ["web"]
backends = [ { name = "b1", address = "10.0.0.5" }, { name = "b2", address = "2001:db8:b::2" } ]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
checks = ["host"]
[[check]]
name = "web"
kind = "http"
[[check]]
name = "host"
kind = "ping"
"#;

pub(super) const KIND: &str = "kind = \"http\"";

pub(super) fn with(changes: &[(&str, &str)]) -> String {
    let mut text = CHECKED.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old:?} is not in the text");
        text = text.replacen(old, new, 1);
    }
    text
}

#[track_caller]
pub(super) fn each_alone(cases: &[Case<'_>], found: impl Fn(&[(&str, &str)]) -> Vec<Mistake>) {
    for &(changes, line, key, words) in cases {
        let found = found(changes);
        assert_eq!(found.len(), 1, "{changes:?}: {found:#?}");
        assert_eq!((found[0].line, found[0].key.as_str()), (line, key), "{changes:?}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    }
}

pub(super) fn mistakes_of(changes: &[(&str, &str)]) -> Vec<Mistake> {
    mistakes(&with(changes))
}

pub(super) fn warnings_of(changes: &[(&str, &str)]) -> Vec<Mistake> {
    parse(&with(changes)).unwrap_or_else(|mistakes| panic!("{changes:?}: {mistakes}")).warnings
}

/// The first check, with other keys than its kind.
#[track_caller]
pub(super) fn check(keys: &str) -> Check {
    let parsed = parse(&with(&[(KIND, keys)])).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(parsed.warnings, [], "{keys}");
    parsed.configuration.checks[0].clone()
}

fn http() -> CheckHttp {
    CheckHttp {
        tls: None,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: vec![],
        statuses: vec![200..=399],
        expect: None,
        body_limit: 65536,
        drain_signs: vec![],
    }
}

#[test]
fn a_check_has_defaults() {
    let parsed = parse(CHECKED).unwrap();
    assert_eq!(parsed.warnings, []);
    let configuration = parsed.configuration;
    let web = Check {
        name: "web".to_owned(),
        kind: CheckKind::Http(http()),
        via: None,
        address: None,
        port: None,
        size: None,
        interval: Duration::from_secs(2),
        fast_interval: Duration::from_secs(2),
        down_interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        jitter: 10,
        spread: Duration::from_secs(2),
        initial_state: InitialState::Unknown,
        log_failures: false,
    };
    let host = Check { name: "host".to_owned(), kind: CheckKind::Ping, ..web.clone() };
    assert_eq!(configuration.checks, [web, host]);
    let sources = ["198.51.100.1", "192.0.2.10"].map(|text| text.parse::<IpAddr>().unwrap());
    assert_eq!(configuration.node.check_sources, sources);
    assert_eq!(configuration.pools[0].checks, [0]);
    assert_eq!(configuration.pools[0].panic_threshold, 50);
    assert_eq!(configuration.services[0].checks, [1]);
    assert!(configuration.has_tunnel_checks());
    // GRE over IPv6.
    assert_eq!(configuration.probe_mtu(), 1500 - 44);
}

#[test]
fn every_key_reaches_its_field() {
    let milliseconds = Duration::from_millis;
    let full = check(
        "kind = 'https'\nvia = 'tunnel'\naddress = '203.0.113.99'\nport = 8443\nsize = 1400\n\
         interval = 5000\nfast_interval = 1000\ndown_interval = 9000\ntimeout = 999\nrise = 1\n\
         fall = 5\njitter = 50\nspread = 30000\ninitial_state = 'down'\nlog_failures = true\n\
         sni = 'a.example'\nverify = true\nca_file = '/ca.pem'\nmethod = 'POST'\n\
         path = '/a?b=%20c'\nhost = '[2001:db8::1]:8443'\n\
         headers = ['X-One: 1', 'Accept:a b ']\nstatuses = ['200', '404-599']\n\
         expect = 'hex:00fF0a'\nbody_limit = 3\nexpect_drain = ['503', '500-501', 'X-Drain', 'X-Drain:  Yes ']",
    );
    let kind = CheckHttp {
        tls: Some(CheckTls {
            sni: Some("a.example".to_owned()),
            verify: true,
            ca_file: Some("/ca.pem".into()),
        }),
        method: "POST".to_owned(),
        path: "/a?b=%20c".to_owned(),
        host: Some("[2001:db8::1]:8443".to_owned()),
        headers: vec![
            ("X-One".to_owned(), "1".to_owned()),
            ("Accept".to_owned(), "a b".to_owned()),
        ],
        statuses: vec![200..=200, 404..=599],
        expect: Some(vec![0, 255, 10]),
        body_limit: 3,
        drain_signs: vec![
            DrainSign::Status(503..=503),
            DrainSign::Status(500..=501),
            DrainSign::Header("X-Drain".to_owned(), None),
            DrainSign::Header("X-Drain".to_owned(), Some("Yes".to_owned())),
        ],
    };
    let expected = Check {
        name: "web".to_owned(),
        kind: CheckKind::Http(kind),
        via: Some(Via::Tunnel),
        address: Some([203, 0, 113, 99].into()),
        port: Some(8443),
        size: Some(1400),
        interval: milliseconds(5000),
        fast_interval: milliseconds(1000),
        down_interval: milliseconds(9000),
        timeout: milliseconds(999),
        rise: 1,
        fall: 5,
        jitter: 50,
        spread: milliseconds(30_000),
        initial_state: InitialState::Down,
        log_failures: true,
    };
    assert_eq!(full, expected);

    let exchange = Exchange { send: Some(b"PING\r\n".to_vec()), expect: Some(b"hex".to_vec()) };
    let tcp = check("kind = 'tcp'\nsend = \"PING\\r\\n\"\nexpect = 'hex'");
    assert_eq!(tcp.kind, CheckKind::Tcp(exchange.clone()));
    let udp = check("kind = 'udp'\nport = 53\nsend = \"PING\\r\\n\"\nexpect = 'hex'");
    assert_eq!(udp.kind, CheckKind::Udp(exchange));
    assert_eq!(check("kind = 'tls'").kind, CheckKind::Tls(CheckTls::default()));

    let parsed = parse(&with(&[(
        "[[port]]",
        "[probe]\ninterface = 'p'\ntable = 7\nsource_ports = '1024-65535'\nports_each = 4\n[[port]]",
    )]));
    let probe = parsed.unwrap().configuration.probe;
    assert_eq!((probe.interface.as_str(), probe.table, probe.ports_each), ("p", 7, 4));
    assert_eq!((probe.source_ports.clone(), probe.ports()), (1024..=65535, 64512));
}

/// A server of several names goes by the name that TLS asks for.
#[test]
fn tls_asks_for_the_host_of_the_request() {
    let sni = |keys: &str| match check(keys).kind {
        CheckKind::Http(CheckHttp { tls: Some(tls), .. }) => tls.sni,
        kind => panic!("{kind:?}"),
    };
    assert_eq!(sni("kind = 'https'"), None);
    for host in ["www.example.com", "www.example.com:8443"] {
        let keys = format!("kind = 'https'\nverify = true\nhost = '{host}'");
        assert_eq!(sni(&keys).as_deref(), Some("www.example.com"));
        assert_eq!(sni(&format!("{keys}\nsni = 'b.example'")).as_deref(), Some("b.example"));
    }
    for host in ["192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[2001:db8::1]:80"] {
        assert_eq!(sni(&format!("kind = 'https'\nhost = '{host}'")), None);
    }
}

#[test]
fn mistakes_of_values() {
    let case = |key: &'static str, value: &str, words: &'static str| {
        let kind = match key {
            "send" => "kind = 'tcp'",
            "sni" | "ca_file" => "kind = 'https'\nverify = true",
            _ => "kind = 'http'",
        };
        let line = 27 + kind.lines().count();
        let key_of_finding = format!("check[0].{key}");
        let keys = format!("{kind}\n{key} = {value}");
        // A wrong name is no reason to report that there is none.
        let found = mistakes_of(&[(KIND, &keys)]);
        assert_eq!(found.len(), 1, "{keys}: {found:#?}");
        let at = found[0].key.split_inclusive(']').take(1).collect::<String>();
        assert_eq!(at, "check[0]", "{keys}: {found:#?}");
        assert!(found[0].key.starts_with(&key_of_finding), "{keys}: {found:#?}");
        assert_eq!(found[0].line, line, "{keys}: {found:#?}");
        assert!(found[0].message.contains(words), "{words:?} is not in {:?}", found[0].message);
    };
    let long = |n: usize| format!("'{}'", "x".repeat(n));
    case("via", "'vip'", "expected \"tunnel\" or \"direct\"");
    case("address", "'127.0.0.1'", "loopback");
    case("port", "0", "from 1 to 65535");
    case("size", "43", "from 44 to 9216");
    case("interval", "9", "from 10 to 3600000");
    case("rise", "0", "from 1 to 1000");
    case("fall", "1001", "from 1 to 1000");
    case("jitter", "51", "from 0 to 50");
    case("initial_state", "'active'", "expected \"unknown\" or \"up\" or \"down\"");
    case("send", "''", "at least one byte");
    case("send", "'hex:'", "at least one byte");
    case("send", "'hex:0'", "two hexadecimal digits");
    case("send", "'hex:0g'", "two hexadecimal digits");
    case("send", "'hex:ä'", "two hexadecimal digits");
    case("send", &long(4097), "it has 4097 bytes; there can be 4096");
    case("sni", "'192.0.2.1'", "TLS asks for no address");
    case("sni", "'2001:db8::1'", "TLS asks for no address");
    case("sni", "'bücher.example'", "others as xn--");
    for wrong in ["''", "'a..b'", "'-a'", "'a-'", "'a b'", "'a.1'", "'a.'", "\"a\\n\""] {
        case("sni", wrong, "expected a host name");
    }
    case("sni", &long(64), "expected a host name");
    case("ca_file", "'ca.pem'", "expected an absolute path");
    case("method", "'get'", "in capital letters");
    case("method", "\"GET \\r\\n\"", "in capital letters");
    case("method", "'CONNECT'", "asks for no tunnel");
    case("path", "'healthz'", "begins with a slash");
    case("path", "'/#top'", "never sent");
    for wrong in ["'/a b'", "\"/a\\r\\nX: y\"", "'/ä'", "\"/\\u0000\""] {
        case("path", wrong, "printable ASCII");
    }
    case("path", &format!("'/{}'", "x".repeat(2048)), "printable ASCII");
    case("host", "'2001:db8::1'", "expected [2001:db8::1]");
    case("host", "'a:99999'", "a port from 0 to 65535");
    case("host", "'a:+80'", "a port from 0 to 65535");
    for wrong in ["''", "'a b'", "\"a\\r\\nX: y\"", "'[1.2.3.4]'", "'1.2.3.999'", "'http://a'"] {
        case("host", wrong, "expected a");
    }
    case("headers", "['X-One']", "expected a header like");
    case("headers", "[': a']", "expected the name of a header");
    case("headers", "['X One: a']", "expected the name of a header");
    case("headers", "[\"X: a\\r\\nY: b\"]", "on one line");
    case("headers", "['X: ä']", "printable ASCII");
    case("headers", "['hOst: a']", "`host` sets it");
    case("headers", "['Content-Length: 4']", "a probe has no body");
    case("headers", "['Connection: close']", "has one request");
    case("headers", &format!("['X: {}']", "x".repeat(1024)), "it has 1027 bytes");
    case("statuses", "[]", "list at least one");
    case("statuses", "'200'", "expected an array");
    case("statuses", "[200]", "[0] is the integer 200; expected a string");
    case("statuses", "['200', '99']", "[1] is \"99\"; expected a status from 100 to 599");
    for wrong in ["'600'", "'2xx'", "'+20'", "'200-'", "'-200'", "'200-300-400'", "'0200'"] {
        case("statuses", &format!("[{wrong}]"), "expected a status from 100 to 599");
    }
    case("statuses", "['399-200']", "expected 200-399, the smaller one first");
    case("body_limit", "16777217", "from 0 to 16777216");
    case("expect_drain", "['99']", "expected a status from 100 to 599");
    case("expect_drain", "['']", "expected a status like 404, or a header");
    case("expect_drain", "['X Drain']", "expected a status like 404, or a header");
    case("expect_drain", "['X-Drain:']", "without a value leave out the colon");
    case("expect_drain", "['X-Drain: a', \"X: a\\n\"]", "on one line");
}

#[test]
fn mistakes_of_one_check() {
    let other =
        "is for \"tcp\", \"udp\", and this check is \"http\"; remove it, or change the kind";
    each_alone(
        &[
            (&[(KIND, "")], 25, "check[0].kind", "is missing"),
            (&[(KIND, "kind = \"dns\"")], 27, "check[0].kind", "expected \"tcp\" or \"tls\" or"),
            (
                &[("\"host\"\nkind", "\"web\"\nkind"), ("[\"host\"]", "[\"web\"]")],
                29,
                "check[1].name",
                "as on line 26",
            ),
            (&[(KIND, "kind = \"http\"\nsend = \"a\"")], 28, "check[0].send", other),
            (&[(KIND, "kind = \"tcp\"\npath = \"/\"")], 28, "check[0].path", "is for \"http\","),
            (&[(KIND, "kind = \"tcp\"\nverify = true")], 28, "check[0].verify", "is for \"tls\","),
            (&[(KIND, "kind = \"tcp\"\nsize = 1400")], 28, "check[0].size", "\"ping\", and this"),
            (
                &[("kind = \"ping\"", "kind = \"ping\"\nport = 7")],
                31,
                "check[1].port",
                "is \"ping\"",
            ),
            (&[(KIND, "kind = \"http\"\nsizes = 7")], 28, "check[0].sizes", "the nearest"),
            (
                &[(KIND, "kind = \"http\"\ntimeout = 2000")],
                28,
                "check[0].timeout",
                "is 2000, and interval is 2000 by default: a probe must end before",
            ),
            (
                &[(KIND, "kind = \"http\"\ndown_interval = 1000")],
                28,
                "check[0].timeout",
                "is 1000 by default, and down_interval is 1000: a probe",
            ),
            (
                &[(KIND, "kind = \"http\"\ninterval = 900\nfast_interval = 800")],
                29,
                "check[0].timeout",
                "is 1000 by default, and fast_interval is 800: a probe",
            ),
            (
                &[(KIND, "kind = \"https\"\nca_file = \"/a\"")],
                28,
                "check[0].ca_file",
                "has no effect without verify",
            ),
            (
                &[(KIND, "kind = \"http\"\nexpect = \"ok\"\nmethod = \"HEAD\"")],
                28,
                "check[0].expect",
                "a response to HEAD has no body",
            ),
            (
                &[(KIND, "kind = \"http\"\nexpect = \"hex:0102\"\nbody_limit = 1")],
                28,
                "check[0].expect",
                "has 2 bytes, and body_limit is 1",
            ),
            (
                &[("checks = [\"web\"]", "checks = [\"wep\"]")],
                16,
                "pool[0].checks[0]",
                "there is no check \"wep\"; the nearest is \"web\"",
            ),
            (
                &[("checks = [\"host\"]", "checks = [\"host\", \"hosts\"]")],
                24,
                "service[0].checks[1]",
                "there is no check \"hosts\"; the nearest is \"host\"",
            ),
            (
                &[("checks = [\"web\"]", "checks = [\"web\", \"web\"]")],
                16,
                "pool[0].checks[1]",
                "listed twice",
            ),
            (
                &[("checks = [\"host\"]", "checks = [\"host\", \"host\"]")],
                24,
                "service[0].checks[1]",
                "listed twice",
            ),
            (
                &[("checks = [\"web\"]", "checks = [\"web\"]\npanic_threshold = 101")],
                17,
                "pool[0].panic_threshold",
                "from 0 to 100",
            ),
        ],
        mistakes_of,
    );
    // A wrong check hides no other, and what it might have is not missed.
    let found = mistakes_of(&[(KIND, "kind = \"tpc\"\ntimeout = -1\nsend = \"\"")]);
    let keys: Vec<&str> = found.iter().map(|mistake| mistake.key.as_str()).collect();
    assert_eq!(keys, ["check[0].kind", "check[0].timeout", "check[0].send"]);
    let found = mistakes_of(&[("name = \"web\"\nkind", "name = \"w b\"\nkind")]);
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// `guidewayctl` names a check of a backend as CHECK/BACKEND.
#[test]
fn a_name_has_no_slash() {
    let slash = CHECKED.replacen("[[check]]\nname = \"web\"", "[[check]]\nname = \"a/b\"", 1);
    assert_ne!(slash, CHECKED);
    let found = mistakes(&slash);
    assert!(
        found.iter().any(|it| it.key == "check[0].name" && it.message.contains("letters, digits")),
        "{found:#?}"
    );
}
