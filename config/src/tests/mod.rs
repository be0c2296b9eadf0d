//! Whole texts: valid ones, each possible mistake, and many mistakes at once.

mod announcements;
mod bgp;
mod checks;
mod cluster;
mod documentation;
mod drawing;
mod encapsulations;
mod files;
mod mistakes;
mod probes;
mod random;
mod random_checks;
mod random_sections;
mod sound_checks;
mod together;
mod warnings;

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// A small configuration with all keys that other tools rely on.
pub(super) const EXAMPLE: &str = r#"[node]
name = "lb1"
tunnel_source = ["192.0.2.1", "2001:db8::1"]

[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 65537

[dpdk]
workers = [1, 2]
hugepages = true
eal_args = []

[[port]]
name = "edge0"
device = "0000:3b:00.0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
gateways = ["192.0.2.254", "2001:db8::fe"]
mtu = 1500
mac = "02:00:00:00:00:01"

[[neighbor]]
address = "192.0.2.254"
mac = "02:00:00:00:00:fe"

[[pool]]
name = "web"
encapsulation = "gre"
backends = [ { name = "b1", address = "10.0.0.5", weight = 1 }, { name = "b2", address = "2001:db8:b::2" } ]

[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
"#;

/// A replacement in the example that leaves the port without interface, so that the kernel has no part in routes
/// and neighbours.
pub(super) const STATIC: (&str, &str) = ("mtu = 1500", "interface = 'none'");

/// The contract's example with replacements; each must be found.
#[track_caller]
pub(super) fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = EXAMPLE.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old:?} is not in the text");
        text = text.replacen(old, new, 1);
    }
    text
}

#[test]
fn the_contract_example_is_read_completely() {
    let Parsed { configuration, warnings } = parse(EXAMPLE).unwrap();
    assert_eq!(
        configuration,
        Configuration {
            announce: None,
            vips: vec![],
            checks: vec![],
            probe: Probe {
                interface: "gwcheck".to_owned(),
                table: 1001,
                source_ports: 10_000..=59_999,
                ports_each: 2,
            },
            bgp: Bgp {
                drain_med: 1000,
                drain_prepend: 3,
                directory: "/run/guideway-bird".into(),
                program: "/usr/sbin/bird".into(),
                ..Bgp::default()
            },
            node: Node {
                name: "lb1".to_owned(),
                tunnel_source_v4: Some("192.0.2.1/32".parse().unwrap()),
                tunnel_source_v6: Some("2001:db8::1".parse().unwrap()),
                check_sources: vec![],
            },
            hash: Hash {
                key: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
                table_size: 65537,
            },
            dpdk: Dpdk {
                workers: vec![1, 2],
                hugepages: true,
                memory_mib: 512,
                buffers: 0,
                idle: Idle::Poll,
                eal_args: vec![]
            },
            flow: Flow {
                entries: 1 << 20,
                timeouts: Timeouts {
                    syn: Duration::from_secs(60),
                    established: Duration::from_secs(900),
                    half_closed: Duration::from_secs(900),
                    closing: Duration::from_secs(240),
                    unconfirmed: Duration::from_secs(60),
                    udp: Duration::from_secs(60),
                    reuse: Duration::from_secs(240),
                },
            },
            icmp: Icmp { rate: 1000, burst: 100 },
            punt: Punt {
                routing_peers: vec![],
                routing: PuntRouting { rate: 10_000, burst: 2000 },
                neighbor: PuntNeighbor { rate: 20_000, burst: 2000 },
                probe: PuntProbe { rate: 50_000, burst: 5000 },
                own: PuntOwn { rate: 5000, burst: 1000 },
                link_local: PuntLinkLocal { rate: 100, burst: 50 },
                multicast: PuntMulticast { rate: 500, burst: 100 },
            },
            control: Control {
                socket: "/run/guideway/guideway.sock".into(),
                group: None,
                read_socket: None,
                read_group: None,
                state_directory: "/var/lib/guideway".into(),
            },
            metrics: Metrics { listen: vec![], hosts: vec![], max_series: 500_000 },
            log: Log { level: LogLevel::Info, format: LogFormat::Text },
            ports: configuration.ports.clone(),
            neighbors: vec![Neighbor {
                address: "192.0.2.254".parse().unwrap(),
                mac: [2, 0, 0, 0, 0, 0xfe],
            }],
            pools: vec![Pool {
                name: "web".to_owned(),
                mss_clamp: None,
                choice: Choice::Maglev,
                min_active: 1,
                backup_hold: Duration::from_secs(10),
                on_empty: OnEmpty::Drop,
                slow_start: None,
                slow_start_curve: Curve::Linear,
                checks: vec![],
                panic_threshold: 50,
                pools: vec![],
                levels: vec![0],
                included: [0, 1].map(|backend| Inclusion { pool: 0, backend, level: 0 }).into(),
                backends: vec![
                    Backend {
                        name: "b1".to_owned(),
                        address: "10.0.0.5".parse().unwrap(),
                        weight: 1,
                        enabled: true,
                        encapsulations: vec![Encapsulation::Gre],
                        parameters: Parameters::default(),
                    },
                    Backend {
                        name: "b2".to_owned(),
                        address: "2001:db8:b::2".parse().unwrap(),
                        weight: 1,
                        enabled: true,
                        encapsulations: vec![Encapsulation::Gre],
                        parameters: Parameters::default(),
                    },
                ],
            }],
            services: vec![Service {
                name: "web".to_owned(),
                address: "203.0.113.10".parse().unwrap(),
                protocol: Protocol::Tcp,
                port: 80,
                pool: 0,
                echo: true,
                unreachable: false,
                answer_on_link: false,
                fragments: FragmentPolicy::Follow,
                policy: Policy { keep_down: None, drain: None, drain_then: DrainThen::Move },
                checks: vec![],
            }],
            cluster: Cluster::default(),
            tunnel: Tunnel::default(),
            fragments: Fragments {
                contexts: 4096,
                packets: 1024,
                bytes: 2 << 20,
                timeout: Duration::from_secs(2),
            },
        }
    );
    let [port] = configuration.ports.as_slice() else { panic!("{:?}", configuration.ports) };
    assert_eq!((port.name.as_str(), port.device.as_str()), ("edge0", "0000:3b:00.0"));
    let addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(|prefix| prefix.parse().unwrap());
    assert_eq!(port.addresses, addresses);
    let gateways: [std::net::IpAddr; 2] =
        ["192.0.2.254", "2001:db8::fe"].map(|gateway| gateway.parse().unwrap());
    assert_eq!(port.gateways, gateways);
    assert_eq!((port.mtu, port.mac), (1500, Some([2, 0, 0, 0, 0, 1])));
    assert_eq!(port.steering, Steering::Auto);
    assert_eq!((port.rx_descriptors, port.tx_descriptors), (1024, 1024));
    assert_eq!(warnings, []);
}

#[test]
fn without_an_interface_nothing_is_learnt() {
    let warnings = parse(&changed(&[STATIC])).unwrap().warnings;
    // The IPv6 gateway has no neighbour.
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].line, warnings[0].key.as_str()), (29, "pool[0].backends[1].address"));
    assert!(warnings[0].message.contains("2001:db8::fe of 1 backend has no [[neighbor]]"));
    // A second port with an interface may have another route to what is behind a gateway, and none to a link.
    let second = "[[port]]\nname = 'x'\ndevice = 'net_null0'\n[[neighbor]]";
    let both = |address| {
        let text = changed(&[STATIC, ("[[neighbor]]", second), ("10.0.0.5", address)]);
        parse(&text).unwrap().warnings.len()
    };
    assert_eq!((both("10.0.0.5"), both("192.0.2.77")), (0, 1));
}

#[test]
fn every_example_is_valid_without_warnings() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut examples = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let parsed = parse(&std::fs::read_to_string(&path).unwrap());
            let parsed = parsed.unwrap_or_else(|m| panic!("{}:\n{m}", path.display()));
            // The key of the examples is public, which causes a warning.
            let others = parsed.warnings.iter().filter(|warning| warning.key != "hash.key");
            assert_eq!(others.count(), 0, "{}: {:?}", path.display(), parsed.warnings);
            examples += 1;
        }
    }
    assert!(examples >= 2);
}

#[test]
fn keys_with_a_default_are_optional() {
    let text = "[node]\nname = 'a'\n[hash]\nkey = '000102030405060708090a0b0c0d0e0f'\n\
                [dpdk]\nworkers = [0]\n[[port]]\nname = 'p'\ndevice = 'net_null0'\n";
    let parsed = parse(text).unwrap();
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.configuration.hash.table_size, 65537);
    assert_eq!(parsed.configuration.ports[0].mac, None);
}

#[test]
fn every_value_reaches_its_field() {
    let text = changed(&[
        (
            "hugepages = true",
            "hugepages = false\nmemory = 256\nbuffers = 65535\nidle = 'interrupt'",
        ),
        (
            "eal_args = []",
            "eal_args = ['--iova-mode=va']\n[flow]\nentries = 64\n[flow.timeout]\nsyn = 1\n\
             established = 2\nclosing = 3\nudp = 4\n[icmp]\nrate = 0\nburst = 1000000\n\
             [punt]\nrouting_peers = ['10.0.0.0/8', '2001:db8::/32']\nown.rate = 0\nprobe.burst = 9\n\
             [punt.routing]\nrate = 7\nburst = 8\n[punt.multicast]\nburst = 10000000\n[control]\nsocket = '/tmp/s'\n\
             group = 'domain users'",
        ),
        ("0000:3b:00.0", "3B:00.0"),
        (
            "mtu = 1500",
            "mtu = 9000\nsteering = 'ring'\nrx_descriptors = 64\ntx_descriptors = 32768",
        ),
        ("weight = 1", "weight = 0, enabled = false, encapsulation = 'gre'"),
        ("encapsulation = \"gre\"", "mss_clamp = \"auto\""),
        ("\"tcp\"", "\"udp\"\necho = false\nunreachable = true\nanswer_on_link = true"),
    ]);
    let configuration = parse(&text).unwrap().configuration;
    assert_eq!((configuration.dpdk.hugepages, configuration.dpdk.memory_mib), (false, 256));
    assert_eq!(configuration.dpdk.buffers, 65535);
    assert_eq!(configuration.dpdk.idle, Idle::Interrupt);
    assert_eq!(configuration.dpdk.eal_args, ["--iova-mode=va"]);
    assert_eq!(configuration.flow.entries, 64);
    let timeouts = configuration.flow.timeouts;
    let seconds = [timeouts.syn, timeouts.established, timeouts.closing, timeouts.udp];
    assert_eq!(seconds.map(|timeout| timeout.as_secs()), [1, 2, 3, 4]);
    assert_eq!(configuration.control.socket, Path::new("/tmp/s"));
    assert_eq!(configuration.control.group.as_deref(), Some("domain users"));
    let port = &configuration.ports[0];
    assert_eq!((port.device.as_str(), port.mtu), ("0000:3b:00.0", 9000));
    assert_eq!(port.steering, Steering::Ring);
    assert_eq!((port.rx_descriptors, port.tx_descriptors), (64, 32768));
    let backend = &configuration.pools[0].backends[0];
    assert_eq!((backend.weight, backend.enabled), (0, false));
    assert_eq!(configuration.icmp, Icmp { rate: 0, burst: 1_000_000 });
    let punt = configuration.punt;
    let peers = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap());
    assert_eq!(punt.routing_peers, peers);
    assert_eq!(punt.routing, PuntRouting { rate: 7, burst: 8 });
    assert_eq!(punt.probe, PuntProbe { rate: 50_000, burst: 9 });
    assert_eq!(punt.own, PuntOwn { rate: 0, burst: 1000 });
    assert_eq!(punt.multicast, PuntMulticast { rate: 500, burst: 10_000_000 });
    assert_eq!(configuration.pools[0].mss_clamp, Some(MssClamp::Auto));
    let clamped = parse(&changed(&[("encapsulation = \"gre\"", "mss_clamp = 1400")])).unwrap();
    assert_eq!(clamped.configuration.pools[0].mss_clamp, Some(MssClamp::To(1400)));
    let service = &configuration.services[0];
    assert_eq!(service.protocol, Protocol::Udp);
    assert!(!service.echo && service.unreachable && service.answer_on_link);
}

#[test]
fn the_contract_example_has_next_hops() {
    let configuration = parse(EXAMPLE).unwrap().configuration;
    let routes = configuration.static_routes();
    let hop = routes.next_hop("10.0.0.5".parse().unwrap()).unwrap();
    assert_eq!(hop.address, configuration.ports[0].gateways[0]);
    assert_eq!((hop.port, hop.mac), (0, Some([2, 0, 0, 0, 0, 0xfe])));
}

#[test]
fn differences_that_need_a_restart() {
    let old = parse(EXAMPLE).unwrap().configuration;
    let differences = |changes: &[(&str, &str)]| {
        old.restart_only_differences(&parse(&changed(changes)).unwrap().configuration)
    };
    assert!(differences(&[]).is_empty());
    let reloadable = [
        ("lb1", "lb2"),
        ("\"192.0.2.1\", ", "\"192.0.2.9\", "),
        ("0e0f", "0e0e"),
        ("65537", "65521"),
        (
            "eal_args = []",
            "[flow.timeout]\nudp = 5\n[icmp]\nrate = 1\n[punt]\nrouting_peers = ['10.0.0.0/8']\nown.rate = 1",
        ),
        ("192.0.2.1/24", "192.0.2.2/24"),
        ("\"192.0.2.254\", ", "\"192.0.2.253\", "),
        ("00:00:01", "00:00:02"),
        ("00:00:fe", "00:00:fd"),
        ("b1", "b9"),
        ("encapsulation = \"gre\"", "mss_clamp = 536"),
        ("port = 80", "port = 81\necho = false"),
    ];
    assert_eq!(differences(&reloadable), Vec::<String>::new());
    let restart = [
        ("[1, 2]", "[1, 3]"),
        ("= true", "= false\nmemory = 64\nbuffers = 9999"),
        (
            "eal_args = []",
            "eal_args = ['-v']\n[flow]\nentries = 4\n[control]\nsocket = '/s'\ngroup = 'lb'",
        ),
        ("3b:00.0", "3b:00.1"),
        ("mtu = 1500", "mtu = 1501\nsteering = 'ring'\nrx_descriptors = 64\ntx_descriptors = 64"),
    ];
    let found = differences(&restart);
    assert_eq!(found.len(), 13, "{found:?}");
    assert_eq!(found[0], "dpdk.workers is [1, 2] and would be [1, 3]");
    assert!(found.contains(&"mtu of port \"edge0\" is 1500 and would be 1501".to_owned()));

    let two = "[[port]]\nname = 'x'\ndevice = 'net_null0'\n[[port]]";
    let added = differences(&[("[[port]]", two)]);
    assert_eq!(added, ["port \"x\" is new"]);
    let three = parse(&changed(&[("[[port]]", two)])).unwrap().configuration;
    assert_eq!(three.restart_only_differences(&old), ["port \"x\" would be removed"]);
    let mut reversed = three.clone();
    reversed.ports.reverse();
    assert_eq!(three.restart_only_differences(&reversed), ["the ports are in another order"]);
}

/// A text with many backends, each on a line of its own.
pub(super) fn large(backends: usize) -> String {
    let backend = |index: usize| {
        let (a, b, c) = (1 + index / 62_500, index / 250 % 250, index % 250 + 1);
        format!("{{ name = \"s{index}\", address = \"10.{a}.{b}.{c}\", weight = 3 }},\n")
    };
    let list: String = (0..backends).map(backend).collect();
    let old = "{ name = \"b1\", address = \"10.0.0.5\", weight = 1 },";
    changed(&[("65537", "5000011"), (old, &list)])
}

#[test]
fn twenty_thousand_backends_are_read_in_seconds() {
    let text = large(20_000);
    let start = Instant::now();
    let parsed = parse(&text).unwrap();
    // Tens of milliseconds when optimised; the bound is for a debug build on a busy machine, and is
    // still far below what anything quadratic would take.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(parsed.configuration.pools[0].backends.len(), 20_001);
}
