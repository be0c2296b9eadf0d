//! A thousand random changes of the state while two workers forward: no packet meets half a state, and none is lost.
//!
//! The workers run the balancer of the core over buffers and take new tables as the appliance's workers do. Each
//! configuration has a number that shows in every part of what it makes of a packet: the gateway's MAC address,
//! the tunnel's source, the backend's address and the encapsulation's port.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arc_swap::{ArcSwap, Cache};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

use guideway_api::{BackendOrder, SetState};
use guideway_config as config;
use guideway_core::balancer::frame::Buffer;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::{Balancer, Frame, Tables, Time};
use guideway_core::stats::{self, Gauge, Writer};
use guideway_management::ids::{BACKEND_IDS, SERVICE_IDS};
use guideway_management::manager::{Change, Limits, Manager};
use guideway_management::routing::{Batch, Hop, Kind, Link, Route};
use guideway_management::state::{BackendChange, PortFacts};

const WORKERS: usize = 2;
const CHANGES: usize = 1000;
/// Backends of the service's pool, of the pool that it names, and of its backup: the last byte of each address.
const POOLS: [(&str, std::ops::RangeInclusive<u8>); 3] =
    [("web", 1..=BACKENDS), ("more", 11..=12), ("spare", 21..=22)];
const BACKENDS: u8 = 8;
/// Configurations with a number of their own.
const NUMBERS: u8 = 200;

/// The configuration of a number.
fn text(number: u8) -> String {
    let pools: String = POOLS
        .iter()
        .map(|(name, backends)| {
            let backend = |n| format!("{{ name = \"b{n}\", address = \"172.16.{number}.{n}\" }}");
            let backends: Vec<String> = backends.clone().map(backend).collect();
            let more = match *name {
                "web" => {
                    "pools = [\"more\"]\nbackup = \"spare\"\nmin_active = 5\nbackup_hold = 0\nslow_start = 1\n"
                }
                _ => "",
            };
            let port = 7000 + u16::from(number);
            format!(
                "[[pool]]\nname = \"{name}\"\nencapsulation = \"gue\"\nudp_port = {port}\n{more}\
                 backends = [ {} ]\n",
                backends.join(", ")
            )
        })
        .collect();
    format!(
        r#"
[node]
name = "lb1"
tunnel_source = ["10.0.0.{number}"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 1021
[dpdk]
workers = [0, 1]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["10.0.0.250/8"]
gateways = ["10.0.1.{number}"]
{pools}
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
drain_timeout = 1
"#
    )
}

fn configuration(number: u8) -> Change {
    let text = text(number);
    let configuration = Box::new(config::parse(&text).unwrap().configuration);
    Change::Configuration { configuration, text }
}

/// A change of the gateway's MAC address, which keeps the number.
fn neighbor(number: u8, any: u8) -> Change {
    let gateway = (Link::of_port(0), [10, 0, 1, number].into(), Some([2, 0, 0, 0, any, number]));
    Change::Kernel(Batch { neighbors: vec![gateway], ..Batch::default() })
}

/// The kernel's route to a backend, by the gateway, which keeps the number.
fn route(number: u8, backend: u8) -> Change {
    let hop = Hop {
        interface: "edge0".into(),
        link: Some(Link::of_port(0)),
        gateway: Some([10, 0, 1, number].into()),
        is_alive: true,
    };
    let route = Route { prefix: 16, table: 254, protocol: 4, kind: Kind::Via(vec![hop]) };
    let route = ([172, 16, number, backend].into(), Some(Arc::new(route)));
    Change::Kernel(Batch { routes: vec![route], ..Batch::default() })
}

/// Numbers without a pattern, the same in each run: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: u8) -> u8 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u8::try_from((z ^ z >> 31) % u64::from(end)).unwrap()
    }
}

/// The number that a packet shows.
fn number_of(frame: &[u8]) -> u8 {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Udp(udp)) = packet.transport else { panic!("no GUE: {packet:?}") };
    let ip = packet.net.unwrap();
    let ip = ip.ipv4_ref().unwrap().header();
    let gateway = frame[5];
    let numbers =
        [ip.source()[3], ip.destination()[2], (udp.destination_port() - 7000).try_into().unwrap()];
    assert_eq!(numbers, [gateway; 3], "parts of several states in one packet");
    gateway
}

/// A worker's rounds, as the appliance's workers have them. Fails if a packet is dropped. Returns the number
/// that the packets of each generation showed.
fn work(
    mut writer: Writer,
    shared: Arc<ArcSwap<Tables>>,
    index: u16,
    is_over: &AtomicBool,
) -> HashMap<u64, u8> {
    let mut balancer = Balancer::new(256, LocalSeed::new(7));
    let frames: Vec<Vec<u8>> = (0..64)
        .map(|n| {
            let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1])
                .ipv4([198, 51, 100, 1], [203, 0, 113, 10], 64)
                .tcp(1024 + index * 100 + n, 80, 1, 1000)
                .ack(1);
            let mut frame = Vec::new();
            builder.write(&mut frame, &[0; 8]).unwrap();
            frame
        })
        .collect();
    let mut tables: Cache<_, Arc<Tables>> = Cache::new(shared);
    let (mut generation, mut sweep_generation) = (0, 0);
    let (mut numbers, mut packets) = (HashMap::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let tables: &Tables = tables.load();
        if tables.generation() != generation {
            generation = tables.generation();
            writer.set(Gauge::Generation, generation);
        }
        let now = Time::from_millis(packets / 100);
        for frame in &frames {
            let mut buffer = Buffer::new(frame, 128);
            let classified = balancer.classify(tables, PortIndex(0), frame).unwrap();
            let decision = balancer.decide(tables, frame, &classified, now).unwrap();
            let port =
                balancer.encapsulate(tables, &classified, decision.backend, &mut buffer).unwrap();
            assert_eq!(port, PortIndex(0));
            writer.traffic().count(classified.service.id.0 as usize, decision.backend.index(), 64);
            let number = number_of(buffer.bytes());
            assert_eq!(*numbers.entry(generation).or_insert(number), number);
            packets += 1;
        }
        if balancer.sweep(tables, now) {
            writer.set(Gauge::SweptGeneration, sweep_generation);
            sweep_generation = generation;
        }
        thread::yield_now();
    }
    numbers
}

#[test]
fn no_packet_meets_half_a_state() {
    let first = 1;
    let text = text(first);
    let configuration_of_first = config::parse(&text).unwrap().configuration;
    let ports = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
    let mut manager = Manager::new(configuration_of_first, text, ports).unwrap();
    let mut state = manager.state().clone();
    for number in 1..=NUMBERS {
        let address = [10, 0, 1, number].into();
        let mac = Some([2, 0, 0, 0, 0, number]);
        state.observation.routing.learn(Link::of_port(0), address, mac);
    }
    let begun = manager.change(&state);
    let tables = Arc::clone(manager.tables());
    let (writers, readers): (Vec<_>, Vec<_>) =
        (0..WORKERS).map(|_| stats::channel(SERVICE_IDS as usize, BACKEND_IDS as usize)).unzip();
    let manager = manager.start(readers, Limits::default());
    let is_over = AtomicBool::new(false);
    // The number of each generation that begins with a configuration.
    let mut published = HashMap::from([(begun, first)]);
    let seen: Vec<HashMap<u64, u8>> = thread::scope(|scope| {
        let over = Over(&is_over);
        let workers: Vec<_> = (0..)
            .zip(writers)
            .map(|(index, writer)| {
                let (tables, is_over) = (Arc::clone(&tables), &is_over);
                scope.spawn(move || work(writer, tables, index, is_over))
            })
            .collect();
        let mut random = Random(5);
        let mut number = first;
        for _ in 0..CHANGES {
            let change = match random.below(5) {
                0 => {
                    number = 1 + random.below(NUMBERS);
                    configuration(number)
                }
                1 => neighbor(number, random.below(250)),
                2 => route(number, 1 + random.below(BACKENDS)),
                _ => {
                    let (pool, backends) = &POOLS[usize::from(random.below(3))];
                    // The first backend of each pool always serves.
                    let of_pool = u8::try_from(backends.len()).unwrap() - 1;
                    let backend = backends.start() + 1 + random.below(of_pool);
                    let address = [172, 16, number, backend].into();
                    let state = match random.below(6) {
                        0 => SetState::Disabled,
                        1 => SetState::Draining,
                        2 => SetState::Down,
                        _ => SetState::Enabled,
                    };
                    let weight = BackendOrder::Weight(random.below(3).into());
                    let orders = [weight, BackendOrder::State(state)];
                    let change = |order| BackendChange::new(*pool, address, order);
                    Change::Backends(orders.map(change).into())
                }
            };
            let is_configuration = matches!(change, Change::Configuration { .. });
            let sent = manager.changes().send(change);
            if is_configuration {
                published.insert(sent.outcome().unwrap(), number);
            } else if random.below(2) == 0 {
                sent.outcome().unwrap();
            }
        }
        drop(over);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    for numbers in &seen {
        assert!(numbers.len() > 10, "only {} generations met a packet", numbers.len());
        for (generation, number) in numbers {
            let (_, expected) =
                published.iter().filter(|(begin, _)| *begin <= generation).max().unwrap();
            assert_eq!(number, expected, "generation {generation}");
        }
    }
}

/// Ends the workers when it is dropped, by a failure too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
