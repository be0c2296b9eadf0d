//! Random checks of pools and services that are right.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

use super::random::judge;
use super::random_sections::section;
use crate::Configuration;

/// Pools with and without tunnels, and one that includes both; services of both protocols and families. What is in
/// capitals is replaced.
const TEXT: &str = r#"[node]
name = "n"
tunnel_source = ["10.1.0.1", "fd00:1::1"]
check_source = SOURCES
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 509
[dpdk]
workers = [0]
[[port]]
name = "x0"
device = "net_null0"
addresses = ["10.1.0.2/16", "fd00:1::2/64"]
gateways = ["10.1.0.254", "fd00:1::fe"]
[[pool]]
name = "tunnels"
CHECKS
backends = [{ name = "a", address = "10.9.0.5" }, { name = "b", address = "fd00:9::5" }]
[[pool]]
name = "link"
CHECKS
encapsulation = "l2"
backends = [{ name = "a", address = "10.1.0.5" }]
[[pool]]
name = "all"
CHECKS
pools = ["tunnels", "link"]
[[service]]
name = "a"
address = "203.0.113.1"
protocol = "tcp"
port = 80
pool = "tunnels"
CHECKS
[[service]]
name = "b"
address = "fd00:99::1"
protocol = "udp"
port = 53
pool = "POOL"
CHECKS
"#;

/// The pools and services that may name checks.
const USES: usize = 5;

fn configuration() -> impl Strategy<Value = String> {
    const SOURCES: &[&str] =
        &["[\"10.8.8.8\", \"fd00:8::8\"]", "[\"10.1.0.2\", \"fd00:8::8\"]", "[\"10.8.8.8\"]", "[]"];
    let names = vec![vec![], vec!["a"], vec!["a"], vec!["b"], vec!["a", "b"]];
    let named = vec(select(names), USES);
    let probe = section(
        "[probe]",
        &[
            ("interface", &["\"gwcheck\"", "\"p\"", "\"x1\""]),
            ("table", &["1001", "7", "252"]),
            ("source_ports", &["\"10000-59999\"", "\"2000-2999\"", "\"2000-2011\""]),
            ("ports_each", &["2", "3", "4"]),
        ],
    );
    let checks = (check("a"), check("b"), vec(probe, 0..2));
    (select(SOURCES), select(&["link", "all"][..]), named, checks).prop_map(
        |(sources, pool, named, (a, b, probe))| {
            let mut text = TEXT.replace("SOURCES", sources).replace("POOL", pool);
            for names in named {
                text = text.replacen("CHECKS", &format!("checks = {names:?}"), 1);
            }
            [text, a, b, probe.concat()].concat()
        },
    )
}

fn check(name: &'static str) -> impl Strategy<Value = String> {
    let times = section(
        "",
        &[
            ("interval", &["2000", "1000", "3600000"]),
            ("fast_interval", &["1000", "500", "99"]),
            ("down_interval", &["5000", "1000"]),
            ("timeout", &["1", "50", "499", "900"]),
            ("rise", &["1", "2", "1000"]),
            ("fall", &["1", "3", "1000"]),
            ("jitter", &["0", "10", "50"]),
            ("spread", &["0", "3600000"]),
            ("initial_state", &["\"unknown\"", "\"up\"", "\"down\""]),
            ("log_failures", &["true", "false"]),
        ],
    );
    const WHERE: &[&str] = &[
        "",
        "",
        "via = \"direct\"\n",
        "via = \"direct\"\n",
        "via = \"tunnel\"\n",
        "via = \"tunnel\"\naddress = \"203.0.113.2\"\n",
        "address = \"203.0.113.1\"\n",
        "address = \"fd00:99::9\"\n",
    ];
    const PORTS: &[&str] = &["", "port = 8080\n", "port = 8080\n"];
    const SIZES: &[&str] =
        &["", "", "size = 1400\n", "size = 1476\n", "size = 8950\n", "size = 44\n"];
    let exchange = section(
        "",
        &[
            ("send", &["\"PING\\r\\n\"", "\"hex:00ff\""]),
            ("expect", &["\"+PONG\"", "\"hex:0d0A\""]),
        ],
    );
    let tls = || section("", &[("sni", &["\"www.example.com\""]), ("verify", &["true", "false"])]);
    let http = || {
        section(
            "",
            &[
                ("method", &["\"GET\"", "\"HEAD\"", "\"M-SEARCH\""]),
                ("path", &["\"/\"", "\"/a?b=c\""]),
                ("host", &["\"a.example\"", "\"[fd00::1]:80\""]),
                ("headers", &["[]", "[\"A: b\", \"C:\"]"]),
                ("statuses", &["[\"200\"]", "[\"200-399\", \"599\"]"]),
                ("body_limit", &["0", "65536"]),
                ("expect_drain", &["[]", "[\"404\", \"X-Drain\", \"A: b\"]"]),
            ],
        )
    };
    let kind = prop_oneof![
        (exchange, select(&["tcp", "udp"][..]), select(PORTS))
            .prop_map(|(keys, kind, port)| format!("kind = \"{kind}\"\n{keys}{port}")),
        (tls(), select(PORTS)).prop_map(|(keys, port)| format!("kind = \"tls\"\n{keys}{port}")),
        (http(), select(PORTS), select(SIZES))
            .prop_map(|(keys, port, size)| format!("kind = \"http\"\n{keys}{port}{size}")),
        (http(), tls(), select(PORTS))
            .prop_map(|(keys, tls, port)| format!("kind = \"https\"\n{keys}{tls}{port}")),
        select(SIZES).prop_map(|size| format!("kind = \"ping\"\n{size}")),
    ];
    (kind, times, select(WHERE))
        .prop_map(move |(kind, times, to)| format!("[[check]]\nname = {name:?}\n{kind}{times}{to}"))
}

/// Whether backends are checked.
fn has_checks(configuration: &Configuration) -> bool {
    let Configuration { pools, services, .. } = configuration;
    pools.iter().any(|pool| !pool.checks.is_empty() && !pool.backends.is_empty())
        || services.iter().any(|service| !service.checks.is_empty())
}

#[test]
fn three_thousand_random_checks() {
    const CASES: u32 = 3_000;
    let mut runner = TestRunner::new(ProptestConfig::with_cases(CASES));
    let (checked, tunnelled) = (Cell::new(0), Cell::new(0));
    runner
        .run(&configuration(), |text| {
            if let Some(configuration) = judge(&text).filter(has_checks) {
                checked.set(checked.get() + 1);
                tunnelled.set(tunnelled.get() + u32::from(configuration.has_tunnel_checks()));
            }
            Ok(())
        })
        .unwrap();
    let (checked, tunnelled) = (checked.get(), tunnelled.get());
    // What the model promises is seen often, and so are refusals.
    assert!((CASES / 20..CASES * 19 / 20).contains(&checked), "{checked} valid ones with checks");
    assert!(tunnelled >= CASES / 40, "{tunnelled} of {checked} with tunnels");
}
