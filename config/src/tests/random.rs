//! Mutated and random texts. None may panic, and what is accepted must keep the promises of the model.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::random_sections::{NAMES, section};
use super::sound_checks::assert_checks_soundly;
use super::*;

/// Asserts what the model promises of every valid configuration.
fn assert_sound(configuration: &Configuration) {
    fn distinct<T: Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> bool {
        let mut seen = HashSet::new();
        items.into_iter().all(|item| seen.insert(item))
    }
    let Configuration {
        node,
        hash,
        dpdk,
        flow,
        icmp,
        control,
        ports,
        neighbors,
        pools,
        services,
        ..
    } = configuration;
    let Configuration { cluster, tunnel, fragments, punt, .. } = configuration;
    assert!(distinct(punt.routing_peers.iter()));
    assert!(punt.routing_peers.iter().all(|peer| peer.network() == peer.addr()));
    for (rate, burst) in [
        (punt.routing.rate, punt.routing.burst),
        (punt.probe.rate, punt.probe.burst),
        (punt.own.rate, punt.own.burst),
    ] {
        assert!(rate <= 10_000_000 && (1..=10_000_000).contains(&burst));
    }
    assert!(distinct(cluster.members.iter().map(|member| member.address)));
    assert!(cluster.members.is_empty() || cluster.members.iter().any(|member| member.is_own));
    assert!(distinct(tunnel.peers.iter()));
    assert!(tunnel.peers.iter().all(|peer| peer.network() == peer.addr()));
    assert!(fragments.contexts >= 1 && fragments.contexts >= fragments.packets);
    assert!((1..=63).contains(&node.name.len()));
    let size = u64::from(hash.table_size);
    assert!(size >= 2 && (2..size).take_while(|d| d * d <= size).all(|d| !size.is_multiple_of(d)));
    assert!(!dpdk.workers.is_empty() && distinct(dpdk.workers.iter()));
    assert!(dpdk.workers.iter().all(|&cpu| cpu <= 1023));
    assert!(flow.entries >= 4 && flow.entries.is_power_of_two());
    for timeout in
        [flow.timeouts.syn, flow.timeouts.established, flow.timeouts.closing, flow.timeouts.udp]
    {
        assert!((1..=86_400).contains(&timeout.as_secs()));
    }
    assert!(icmp.rate <= 1_000_000 && (1..=1_000_000).contains(&icmp.burst));
    assert!((1..=107).contains(&control.socket.as_os_str().len()));
    assert!(control.group.as_ref().is_none_or(|group| (1..=255).contains(&group.len())));
    assert!(!ports.is_empty() && distinct(ports.iter().map(|port| &port.name)));
    assert!(distinct(ports.iter().map(|port| port.device.split(',').next())));
    let own = || ports.iter().flat_map(|port| port.addresses.iter().map(|prefix| prefix.addr()));
    assert!(distinct(own()));
    for port in ports {
        assert!((576..=9216).contains(&port.mtu));
        assert!(port.mac.is_none_or(|mac| mac[0] & 1 == 0 && mac != [0; 6]));
        for gateway in &port.gateways {
            let link_local =
                matches!(gateway, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
            assert!(link_local || port.addresses.iter().any(|prefix| prefix.contains(gateway)));
            assert!(own().all(|address| address != *gateway));
        }
    }
    assert!(distinct(neighbors.iter().map(|neighbor| neighbor.address)));
    assert!(distinct(pools.iter().map(|pool| &pool.name)));
    let routes = configuration.static_routes();
    // The kernel may have every other route.
    let is_static = ports.iter().all(|port| port.interface().is_none());
    let is_within_reach = |address| !is_static || routes.next_hop(address).is_some();
    let may_be_on_link =
        |address| !is_static || routes.next_hop(address).is_some_and(|hop| hop.address == address);
    for member in cluster.members.iter().filter(|member| !member.is_own) {
        assert!(is_within_reach(member.address));
        assert!(own().all(|address| address != member.address));
    }
    for pool in pools {
        assert!(!matches!(pool.mss_clamp, Some(MssClamp::To(mss)) if !(536..=9176).contains(&mss)));
        assert!(pool.backends.len() as u64 * 100 <= size);
        assert!(distinct(pool.backends.iter().map(|backend| &backend.name)));
        assert!(distinct(pool.backends.iter().map(|backend| backend.address)));
        let sum: u64 = pool.backends.iter().map(|backend| u64::from(backend.weight)).sum();
        for backend in &pool.backends {
            assert!(backend.weight == 0 || size * u64::from(backend.weight) >= sum);
            assert!(is_within_reach(backend.address));
            assert!(own().all(|address| address != backend.address));
            assert!(services.iter().all(|service| service.address != backend.address));
            let source = match backend.address {
                std::net::IpAddr::V4(_) => node.tunnel_source_v4.is_some(),
                std::net::IpAddr::V6(_) => node.tunnel_source_v6.is_some(),
            };
            let on_link = may_be_on_link(backend.address);
            let names: Vec<_> = backend.encapsulations.iter().map(|e| e.name()).collect();
            assert!(!names.is_empty() && distinct(names.iter()));
            assert!(names.iter().any(|&name| if name == "l2" { on_link } else { source }));
            let label = names.iter().any(|name| name.starts_with("mpls"));
            assert!(!label || backend.parameters.label.is_some_and(|label| label >= 16));
            assert!(!names.contains(&"vxlan") || backend.parameters.vni.is_some());
        }
    }
    let inclusions: usize = pools.iter().map(|pool| pool.included.len()).sum();
    assert!(inclusions <= 65_535);
    for (index, pool) in pools.iter().enumerate() {
        assert!(pool.levels[0] == index && pool.levels.len() <= 8);
        assert!(distinct(pool.levels.iter()) && distinct(pool.pools.iter()));
        assert!(pool.pools.iter().all(|&other| other < pools.len() && other != index));
        assert!(distinct(pool.included.iter().map(|i| (i.pool, i.backend))));
        assert!(pool.included.is_sorted_by_key(|i| i.level));
        let own =
            (0..pool.backends.len()).map(|backend| Inclusion { pool: index, backend, level: 0 });
        assert!(pool.included.iter().copied().take(pool.backends.len()).eq(own));
        let of = |i: &Inclusion| &pools[i.pool].backends[i.backend];
        assert!(distinct(pool.included.iter().map(|i| (i.level, of(i).address))));
        // Every level has what its pool has on level 0, unless a level before it does.
        for (level, &other) in pool.levels.iter().enumerate() {
            for included in pools[other].included.iter().filter(|i| i.level == 0) {
                let found =
                    |i: &&Inclusion| (i.pool, i.backend) == (included.pool, included.backend);
                assert!(pool.included.iter().find(found).is_some_and(|i| i.level <= level));
            }
        }
        let level = || pool.included.iter().filter(|i| i.level == 0);
        let sum: u64 = level().map(|i| u64::from(of(i).weight)).sum();
        assert!(level().count() as u64 * 100 <= size);
        assert!(level().all(|i| of(i).weight == 0 || size * u64::from(of(i).weight) >= sum));
    }
    for Policy { keep_down, drain, .. } in services.iter().map(|service| service.policy) {
        assert!(keep_down.is_none_or(|time| time.as_secs() <= 86_400));
        assert!(drain.is_none_or(|time| (1..=86_400).contains(&time.as_secs())));
    }
    assert!(distinct(services.iter().map(|service| &service.name)));
    assert!(distinct(services.iter().map(|s| (s.address, s.protocol, s.port))));
    assert!(services.iter().all(|service| service.port > 0 && service.pool < pools.len()));
    assert_announces_soundly(configuration);
    assert_checks_soundly(configuration);
}

fn assert_announces_soundly(configuration: &Configuration) {
    let Configuration { announce, vips, bgp, services, ports, .. } = configuration;
    let Some(announce) = announce else { return };
    assert!(ports.iter().all(|port| port.interface() != Some(&announce.interface)));
    let is_managed = announce.bgp == BgpMode::Managed;
    assert!(!is_managed || !(bgp.peers.is_empty() || bgp.allowed.is_empty()));
    assert!(vips.iter().all(|vip| services.iter().any(|service| service.address == vip.address)));
    // Every address has a quorum that can be met, and that can be lost.
    for service in services {
        let (when, _) = configuration.quorum_of(service.address).unwrap();
        let AnnounceWhen::Services(names) = when else { continue };
        let is_named = |of: &Service| of.address == service.address && names.contains(&of.name);
        assert!(services.iter().any(is_named), "{service:?}");
        assert!(names.iter().all(|name| services.iter().any(|of| of.name == *name)));
    }
}

/// Reads a text and returns what it says if it is valid.
pub(super) fn judge(text: &str) -> Option<Configuration> {
    match parse(text) {
        Ok(parsed) => {
            assert_sound(&parsed.configuration);
            assert_in_order(&parsed.warnings, text);
            Some(parsed.configuration)
        }
        Err(mistakes) => {
            let mistakes: Vec<Mistake> = mistakes.iter().cloned().collect();
            assert!(!mistakes.is_empty());
            assert_in_order(&mistakes, text);
            None
        }
    }
}

fn assert_in_order(found: &[Mistake], text: &str) {
    let lines = text.matches('\n').count() + 1;
    assert!(found.iter().all(|mistake| (1..=lines).contains(&mistake.line)), "{found:?}");
    assert!(found.is_sorted_by_key(|mistake| mistake.line));
    assert!(found.iter().all(|mistake| !mistake.to_string().contains('\n')), "{found:?}");
}

#[derive(Clone, Debug)]
enum Change {
    Byte(Index, u8),
    DeleteLine(Index),
    RepeatLine(Index, Index),
    SwapTokens(Index, Index),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        any::<Index>().prop_map(Change::DeleteLine),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::RepeatLine(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::SwapTokens(a, b)),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn apply(text: &str, change: &Change) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    match change {
        _ if text.is_empty() => String::new(),
        Change::Byte(at, byte) => {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at.index(text.len())] = *byte;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Change::DeleteLine(at) => {
            lines.remove(at.index(lines.len()));
            lines.join("\n")
        }
        Change::RepeatLine(from, to) => {
            lines.insert(to.index(lines.len()), lines[from.index(lines.len())]);
            lines.join("\n")
        }
        Change::SwapTokens(a, b) => {
            let mut tokens: Vec<&str> = text.split_inclusive([' ', ',', '\n', '=', '"']).collect();
            let (a, b) = (a.index(tokens.len()), b.index(tokens.len()));
            tokens.swap(a, b);
            tokens.concat()
        }
        Change::Cut(at) => text.chars().take(at.index(text.len())).collect(),
    }
}

fn configuration() -> impl Strategy<Value = String> {
    let once = (
        section(
            "[node]",
            &[
                ("name", NAMES),
                (
                    "tunnel_source",
                    &["[\"10.0.0.1\", \"fd00::1\"]", "[\"10.0.0.2\"]", "[\"10.0.9.64/26\"]"],
                ),
            ],
        ),
        section(
            "[hash]",
            &[
                ("key", &["\"000102030405060708090a0b0c0d0e0f\""]),
                ("table_size", &["509", "4093", "65537"]),
            ],
        ),
        section(
            "[dpdk]",
            &[
                ("workers", &["[0]", "[1, 2]"]),
                ("hugepages", &["false"]),
                ("memory", &["64"]),
                ("buffers", &["65535"]),
                ("idle", &["\"poll\"", "\"interrupt\""]),
                ("eal_args", &["[]", "[\"-v\"]"]),
            ],
        ),
        section("[flow]", &[("entries", &["4", "1024"]), ("timeout.syn", &["1", "86400"])]),
        (
            section("[icmp]", &[("rate", &["0", "1000000"]), ("burst", &["1", "50"])]),
            section(
                "[punt]",
                &[
                    (
                        "routing_peers",
                        &["[]", "[\"10.0.0.0/8\"]", "[\"10.0.0.1/8\", \"fd00::/8\"]"],
                    ),
                    ("routing.rate", &["0", "10000000"]),
                    ("probe.rate", &["0", "10000000"]),
                    ("own.burst", &["1", "10000000"]),
                ],
            ),
        )
            .prop_map(|(icmp, punt)| icmp + &punt),
        section(
            "[control]",
            &[("socket", &["\"/run/s\"", "\"s\""]), ("group", &["\"lb\"", "\"a b\""])],
        ),
    );
    let port = section(
        "[[port]]",
        &[
            ("name", NAMES),
            (
                "device",
                &["\"net_null0\"", "\"net_null1\"", "\"net_null2\"", "\"3b:00.0\"", "\"3b:00.1\""],
            ),
            (
                "addresses",
                &[
                    "[\"10.0.1.1/24\"]",
                    "[\"10.0.2.1/24\", \"fd00:2::1/64\"]",
                    "[\"10.0.3.1/16\"]",
                    "[]",
                ],
            ),
            ("gateways", &["[]", "[\"10.0.1.254\"]", "[\"10.0.2.254\"]", "[\"fe80::1\"]"]),
            ("mtu", &["1500", "9000"]),
            ("interface", &["\"none\"", "\"none\"", "\"x0\"", "\"x1\""]),
            ("manage_addresses", &["true", "false"]),
            ("steering", &["\"auto\"", "\"ring\""]),
        ],
    );
    let neighbor = section(
        "[[neighbor]]",
        &[
            (
                "address",
                &[
                    "\"10.0.1.254\"",
                    "\"10.0.2.254\"",
                    "\"10.0.1.7\"",
                    "\"fe80::1\"",
                    "\"10.0.2.8\"",
                ],
            ),
            ("mac", &["\"02:00:00:00:00:01\""]),
        ],
    );
    let backend = section(
        "[[pool.backends]]",
        &[
            ("name", NAMES),
            (
                "address",
                &[
                    "\"10.0.1.5\"",
                    "\"10.0.1.6\"",
                    "\"10.0.1.7\"",
                    "\"10.0.2.8\"",
                    "\"10.0.2.9\"",
                    "\"fd00:2::5\"",
                ],
            ),
            ("weight", &["0", "1", "2", "100"]),
            ("enabled", &["true", "false"]),
            (
                "encapsulation",
                &["\"gre\"", "\"l2\"", "[\"gue\", \"gre\"]", "[\"l2\", \"ipip\"]", "\"vxlan\""],
            ),
            ("vni", &["7", "8"]),
        ],
    );
    const CLAMPS: &[&str] = &["\"auto\"", "536", "9176", "1400"];
    let pool = section(
        "[[pool]]",
        &[
            ("name", NAMES),
            ("mss_clamp", CLAMPS),
            ("choice", &["\"maglev\"", "\"source-hash\"", "\"round-robin\"", "\"least-flows\""]),
            ("pools", &["[]", "[]", "[]", "[\"a\"]", "[\"b\", \"c\"]"]),
            ("min_active", &["1", "2", "65535"]),
            ("on_empty", &["\"drop\"", "\"reset\"", "\"all\""]),
            ("slow_start", &["1", "3600"]),
            ("slow_start_curve", &["\"linear\"", "\"quadratic\""]),
        ],
    );
    const BACKUPS: &[&str] = &["", "", "", "backup = \"a\"\n", "backup = \"b\"\nbackup_hold = 0\n"];
    let pool = (pool, select(BACKUPS), vec(backend, 1..4))
        .prop_map(|(pool, backup, backends)| pool + backup + &backends.concat());
    let service = section(
        "[[service]]",
        &[
            ("name", NAMES),
            ("address", &["\"203.0.113.1\"", "\"203.0.113.2\"", "\"fd00:9::1\""]),
            ("protocol", &["\"tcp\"", "\"udp\""]),
            ("port", &["53", "80", "443"]),
            ("pool", &["\"a\"", "\"b\"", "\"c\""]),
            ("echo", &["true", "false"]),
            ("unreachable", &["false"]),
            ("answer_on_link", &["true", "false"]),
            ("drain_timeout", &["1", "300", "86400"]),
            ("drain_then", &["\"move\"", "\"reset\"", "\"keep\""]),
        ],
    );
    const DOWN: &[&str] = &["", "on_down = \"move\"\n", "on_down = \"keep\"\nkeep_for = 1\n"];
    let service = (service, select(DOWN)).prop_map(|(service, down)| service + down);
    let several = (vec(port, 1..3), vec(neighbor, 0..3), vec(pool, 0..3), vec(service, 0..3));
    (once, several, announcements()).prop_map(
        |((node, hash, dpdk, flow, icmp, control), several, announcements)| {
            let (ports, neighbors, pools, services) = several;
            let several = [ports, neighbors, pools, services].concat().concat();
            [node, hash, dpdk, flow, icmp, control, several, announcements].concat()
        },
    )
}

/// Nothing about announcements, or some of it.
fn announcements() -> impl Strategy<Value = String> {
    const WHEN: &[&str] = &["\"any\"", "\"all\"", "[\"a\"]", "[\"a\", \"b\"]"];
    const ON_LOSS: &[&str] = &["\"keep\"", "\"withdraw\""];
    let announce = section(
        "[announce]",
        &[
            ("interface", &["\"gwvip\"", "\"gwvip\"", "\"x0\""]),
            ("bgp", &["\"none\"", "\"managed\"", "\"external\""]),
            ("announce_when", WHEN),
            ("on_quorum_loss", ON_LOSS),
            ("linger", &["0", "2000", "300000"]),
        ],
    );
    let vip = section(
        "[[vip]]",
        &[
            ("address", &["\"203.0.113.1\"", "\"203.0.113.2\"", "\"fd00:9::1\""]),
            ("announce_when", WHEN),
            ("on_quorum_loss", ON_LOSS),
        ],
    );
    let bgp = section(
        "[bgp]",
        &[
            ("local_as", &["65001"]),
            ("allowed", &["[\"203.0.113.0/24\"]", "[\"203.0.113.2/32\", \"fd00:9::/64\"]"]),
        ],
    );
    const PEERS: &[&str] =
        &["", "[[bgp.peer]]\nname = \"tor1\"\naddress = \"10.0.1.254\"\nas = 65000\n"];
    let bgp = (bgp, select(PEERS)).prop_map(|(bgp, peers)| bgp + peers);
    let some = (vec(announce, 0..2), vec(vip, 0..2), vec(bgp, 0..2));
    let some = some.prop_map(|(announce, vips, bgp)| [announce, vips, bgp].concat().concat());
    prop_oneof![1 => Just(String::new()), 1 => some]
}

#[test]
fn ten_thousand_random_configurations() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    let valid = std::cell::Cell::new(0);
    runner
        .run(&configuration(), |text| {
            valid.set(valid.get() + u32::from(judge(&text).is_some()));
            Ok(())
        })
        .unwrap();
    // Neither valid nor invalid texts are rare.
    assert!((100..9_900).contains(&valid.get()), "{} of 10000 valid", valid.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_configurations(
        of_example in any::<bool>(),
        changes in vec(change(), 1..6),
    ) {
        let example = include_str!("../../../examples/appliance.toml");
        let start = if of_example { example } else { EXAMPLE }.to_owned();
        judge(&changes.iter().fold(start, |text, change| apply(&text, change)));
    }

    #[test]
    fn any_text(text in any::<String>()) {
        judge(&text);
    }
}
