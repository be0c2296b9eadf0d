use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::ids::Allocators;
use crate::progress::Progress;
use crate::routing::{Batch, Hop, Kind, Link, LocalAddress, Refusal, Route};
use crate::sample::{MIXED, Random, choose_own, ports};
use crate::state::standing::{PoolServing, WHOLE};
use crate::state::{BackendChange, PinChange, Pinned};
use guideway_api::{BackendOrder, SetState};
use guideway_chassis::wall::Wall;
use guideway_config::{Choice, Configuration, DrainThen, Inclusion, OnEmpty, Policy, parse};
use guideway_core::balancer::backend::{Leaving, Serving};
use guideway_core::balancer::id::PolicyIndex;

/// Every worker runs and has swept everything.
const AT_ONCE: Progress = Progress { generation: u64::MAX, swept: u64::MAX };

fn configuration() -> Configuration {
    parse(MIXED).unwrap().configuration
}

/// A state, its ids, and what was compiled from it last.
struct Rig {
    state: State,
    allocators: Allocators,
    compiled: Compiled,
    now: Wall,
}

impl Rig {
    fn new() -> Rig {
        let state = State::new(configuration(), MIXED.to_owned(), ports(), Wall(1));
        let mut allocators = Allocators::default();
        let assigned = allocators.assign(&state.intent.configuration, 1, AT_ONCE).unwrap();
        let compiled = compile(1, &state, &Arc::new(assigned.ids), None);
        Rig { state, allocators, compiled, now: Wall(1) }
    }

    fn compile(&mut self) {
        self.state.settle(self.now);
        let generation = self.compiled.tables.generation() + 1;
        let ids = Arc::clone(&self.compiled.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    fn configure(&mut self, configuration: Configuration) {
        let generation = self.compiled.tables.generation() + 1;
        let assigned = self.allocators.assign(&configuration, generation, AT_ONCE).unwrap();
        self.state.configure(configuration, String::new());
        self.state.settle(self.now);
        let ids = Arc::new(assigned.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    fn learn(&mut self, address: &str, mac: u8) {
        let link = Link::of_port(0);
        self.state.observation.routing.learn(link, address.parse().unwrap(), Some([mac; 6]));
    }

    /// A copy of each pool, to be compared with later ones.
    fn pools(&self) -> Vec<Arc<CompiledPool>> {
        self.compiled.pools.clone()
    }

    /// Which pools have another Maglev table than before.
    fn rebuilt(&self, before: &[Arc<CompiledPool>]) -> Vec<bool> {
        let pools = self.compiled.pools.iter().zip(before);
        pools.map(|(now, before)| !now.has_table_of(before)).collect()
    }

    fn assert_is_what_the_state_makes(&self) {
        let Compiled { state, ids, tables, pools } = &self.compiled;
        let whole = compile(tables.generation(), state, ids, None);
        assert!(*tables == whole.tables);
        for (pool, whole) in pools.iter().zip(&whole.pools) {
            assert_eq!(pool.backends, whole.backends);
            assert_eq!((pool.serving, pool.active), (whole.serving, whole.active));
        }
    }
}

/// Changes a configuration in some way that stays valid.
fn vary(configuration: &mut Configuration, random: &mut Random) {
    configuration.hash.table_size = random.of(&[601, 601, 601, 607]);
    configuration.node.tunnel_source_v6 = random.of(&[configuration.node.tunnel_source_v6, None]);
    configuration.ports[0].gateways =
        vec![random.of(&["192.0.2.254", "192.0.2.253"]).parse().unwrap()];
    for pool in &mut configuration.pools {
        pool.backends.retain(|_| random.below(4) > 0);
        for backend in &mut pool.backends {
            backend.weight = random.of(&[backend.weight, 0, 1, 2]);
        }
        if random.below(8) == 0 {
            pool.name += "2";
        }
        pool.slow_start = random.of(&[None, Some(Duration::from_secs(20))]);
        pool.choice = random.of(&[Choice::Maglev, Choice::RoundRobin, Choice::LeastFlows]);
        pool.on_empty = random.of(&[OnEmpty::Drop, OnEmpty::Reset, OnEmpty::All]);
        pool.min_active = 1 + random.below(3);
    }
    choose_own(configuration);
    for index in 0..configuration.pools.len() {
        let other = random.below(configuration.pools.len());
        if other != index && random.below(2) == 0 {
            let (level, count) = (random.below(2), configuration.pools[other].backends.len());
            let included = (0..count).map(|backend| Inclusion { pool: other, backend, level });
            let pool = &mut configuration.pools[index];
            pool.included.extend(included);
            pool.levels.extend((level == 1).then_some(other));
        }
    }
    configuration.services.retain(|_| random.below(4) > 0);
    for service in &mut configuration.services {
        service.pool = random.below(3);
        let seconds = |n| Some(Duration::from_secs(n));
        service.policy = Policy {
            keep_down: random.of(&[None, seconds(0), seconds(3)]),
            drain: random.of(&[None, seconds(2), seconds(5)]),
            drain_then: random.of(&[DrainThen::Move, DrainThen::Reset, DrainThen::Keep]),
        };
    }
}

/// Changes what the standing has of a configuration, and nothing else.
fn vary_standing(configuration: &mut Configuration, random: &mut Random) {
    for pool in &mut configuration.pools {
        for backend in &mut pool.backends {
            backend.weight = random.of(&[backend.weight, backend.weight, 0, 1, 2]);
            backend.enabled = random.below(5) > 0;
        }
        pool.slow_start = random.of(&[None, Some(Duration::from_secs(20))]);
        pool.min_active = 1 + random.below(3);
        pool.backup_hold = Duration::from_secs(random.of(&[0, 5]));
    }
}

/// Changes of the kernel's tables, about these destinations and neighbours.
fn batch(addresses: &[IpAddr], random: &mut Random) -> Batch {
    let link = |random: &mut Random| Link {
        port: random.below(2),
        vlan: random.of(&[None, None, None, Some(200)]),
    };
    let hop = |random: &mut Random| Hop {
        interface: "any".into(),
        link: (random.below(8) > 0).then(|| link(random)),
        gateway: (random.below(3) > 0).then(|| random.of(addresses)),
        is_alive: random.below(4) > 0,
    };
    let mut batch = Batch::default();
    for _ in 0..random.below(3) {
        let kind = match random.below(10) {
            0 => Kind::None,
            1 => Kind::Own,
            2 => Kind::Refused(random.of(&[Refusal::Blackhole, Refusal::Prohibit])),
            _ => Kind::Via((0..=random.below(2)).map(|_| hop(random)).collect()),
        };
        let prefix = random.of(&[0, 8, 24, 32]);
        let route = Route { prefix, table: 254, protocol: 4, kind };
        let route = (random.below(4) > 0).then(|| Arc::new(route));
        batch.routes.push((random.of(addresses), route));
    }
    for _ in 0..random.below(3) {
        let mac = random.of(&[None, Some([2; 6]), Some([4; 6])]);
        batch.neighbors.push((link(random), random.of(addresses), mac));
    }
    if random.below(8) == 0 {
        let local = |n| LocalAddress {
            network: format!("198.18.{n}.1/24").parse().unwrap(),
            interface: "any".into(),
            link: (n > 1).then_some(Link::of_port(0)),
        };
        batch.local = Some((0..random.below(4)).map(local).collect());
    }
    batch
}

/// Pins of a few ports to backends that are there or are not.
fn pins(pools: &[&str], random: &mut Random) -> PinChange {
    let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
    let pinned = |random: &mut Random| Pinned {
        pool: random.of(pools).into(),
        backend: random.of(&["a", "b", "c", "web1", "nosuch"]).into(),
    };
    let ports = [1, 2, 3, 4, 5];
    PinChange {
        pins: (0..random.below(4)).map(|_| (source(random.of(&ports)), pinned(random))).collect(),
        removed: (0..random.below(2)).map(|_| source(random.of(&ports))).collect(),
        only: random.below(4) == 0,
    }
}

#[test]
fn a_thousand_changes_make_what_the_whole_makes() {
    let mut random = Random(11);
    let mut rig = Rig::new();
    let mut addresses: Vec<IpAddr> =
        configuration().pools.iter().flat_map(|pool| &pool.backends).map(|b| b.address).collect();
    addresses.extend(
        ["192.0.2.254", "192.0.2.253", "192.0.2.2", "2001:db8::fe"]
            .map(|text| text.parse::<IpAddr>().unwrap()),
    );
    let names = ["web", "dns", "spare", "web2"];
    let (mut changed, mut slow, mut leaving, mut pinned, mut seen) = (0, 0, 0, 0, [0; 4]);
    let mut alike = 0;
    for _ in 0..1000 {
        if random.below(10) == 0 {
            let mut configuration = Configuration::clone(&rig.state.intent.configuration);
            vary_standing(&mut configuration, &mut random);
            let before = rig.compiled.clone();
            rig.configure(configuration);
            alike += u32::from(before.is_like(&rig.compiled.state, &rig.compiled.ids));
        } else if random.below(10) == 0 {
            let mut configuration = configuration();
            vary(&mut configuration, &mut random);
            rig.configure(configuration);
        } else {
            // Some changes are published together.
            for _ in 0..random.of(&[1, 1, 1, 5]) {
                let address = random.of(&addresses);
                let state = &mut rig.state;
                let kind = random.below(20);
                changed += u32::from(match kind {
                    0..10 => {
                        let order = random.of(&[
                            BackendOrder::UnsetState,
                            BackendOrder::UnsetWeight,
                            BackendOrder::State(SetState::Enabled),
                            BackendOrder::State(SetState::Disabled),
                            BackendOrder::State(SetState::Draining),
                            BackendOrder::State(SetState::Down),
                            BackendOrder::State(SetState::Down),
                            BackendOrder::Weight(0),
                            BackendOrder::Weight(5),
                        ]);
                        state.intent.set(&BackendChange::new(random.of(&names), address, order))
                    }
                    11 | 12 => state.pins.set(&pins(&names, &mut random)),
                    10 => state.observation.routing.set_link(random.below(2), random.below(3) > 0),
                    _ => {
                        let batch = batch(&addresses, &mut random);
                        state.observation.routing.apply(&batch)
                    }
                });
            }
            // Now and then only time passes.
            rig.now = rig.now.after(Duration::from_millis(random.of(&[0, 700, 3000])));
            rig.compile();
        }
        rig.assert_is_what_the_state_makes();
        let Compiled { state, tables, ids, .. } = &rig.compiled;
        for pool in &state.standing.pools {
            slow += u32::from(pool.backends.iter().any(|backend| backend.share < WHOLE));
            seen[match pool.serving {
                PoolServing::Level(level) => level,
                PoolServing::Down => 2,
                PoolServing::Nobody => 3,
            }] += 1;
        }
        pinned += u32::from(!tables.pins().is_empty());
        let records = || ids.backends.iter().flatten().map(|&id| tables.backend(id));
        leaving += u32::from(records().any(|record| record.leaving != Leaving::NONE));
    }
    assert!(changed > 500 && alike > 50, "only {changed} changes, {alike} like the last");
    assert!(slow > 20 && leaving > 50 && pinned > 200, "{slow} {leaving} {pinned}");
    assert!(seen.iter().all(|&count| count > 5), "{seen:?}");
}

#[test]
fn a_neighbor_changes_its_backends_and_no_maglev_table() {
    let mut rig = Rig::new();
    rig.learn("192.0.2.10", 4);
    rig.compile();
    let before = rig.pools();
    rig.learn("192.0.2.10", 6);
    rig.compile();
    assert_eq!(rig.rebuilt(&before), [false; 3]);
    let mac =
        |pool: usize, n: usize| rig.compiled.pools[pool].backends[n].next_hop.as_ref().unwrap().mac;
    assert_eq!((mac(0, 0), mac(1, 0)), (Some([6; 6]), Some([6; 6])), "it is in two pools");
    assert!(Arc::ptr_eq(&rig.compiled.pools[2], &before[2]), "this pool does not have it");
    rig.assert_is_what_the_state_makes();
}

#[test]
fn a_route_and_a_link_change_the_backends_that_they_move() {
    let mut rig = Rig::new();
    let before = rig.pools();
    let to = "10.0.0.3".parse().unwrap();
    let gateway = "198.51.100.9".parse().unwrap();
    let hop = Hop {
        interface: "edge1".into(),
        link: Some(Link::of_port(1)),
        gateway: Some(gateway),
        is_alive: true,
    };
    let route = Route { prefix: 8, table: 254, protocol: 4, kind: Kind::Via(vec![hop]) };
    let batch = Batch { routes: vec![(to, Some(Arc::new(route)))], ..Batch::default() };
    assert!(rig.state.observation.routing.apply(&batch));
    rig.compile();
    assert_eq!(rig.rebuilt(&before), [false; 3]);
    let hop =
        |rig: &Rig| rig.compiled.pools[1].backends[2].next_hop.as_ref().map(|hop| hop.address).ok();
    assert_eq!(hop(&rig), Some(gateway));
    assert!(Arc::ptr_eq(&rig.compiled.pools[0], &before[0]), "no backend of this pool has moved");
    rig.assert_is_what_the_state_makes();
    rig.state.observation.routing.set_link(1, false);
    rig.compile();
    assert_eq!(hop(&rig), Some("192.0.2.254".parse().unwrap()), "the static gateway is left");
    rig.assert_is_what_the_state_makes();
}

#[test]
fn the_kernels_addresses_are_own_ones() {
    let mut rig = Rig::new();
    let local = |network: &str, link| LocalAddress {
        network: network.parse().unwrap(),
        interface: "any".into(),
        link,
    };
    let local = [
        local("127.0.0.1/8", None),
        local("198.18.0.1/24", None),
        local("198.18.7.1/24", Some(Link::of_port(0))),
    ];
    rig.state.observation.routing.apply(&Batch { local: Some(local.into()), ..Batch::default() });
    rig.compile();
    rig.assert_is_what_the_state_makes();
    let node = rig.compiled.tables.node();
    let is_own = |text: &str| node.own.addresses.contains(&text.parse::<IpAddr>().unwrap());
    assert!(is_own("198.18.0.1") && is_own("198.18.7.1") && is_own("198.18.7.255"));
    assert!(!is_own("198.18.0.255") && !is_own("127.0.0.1"));
}

#[test]
fn the_addresses_of_probes_are_own_ones() {
    let mut configuration = configuration();
    let source: IpAddr = "198.18.9.9".parse().unwrap();
    configuration.node.check_sources = vec![source];
    let mut rig = Rig::new();
    rig.configure(configuration);
    let node = rig.compiled.tables.node();
    assert!(node.own.addresses.contains(&source) && node.punts.addresses.contains(&source));
    assert_eq!(node.punts.check_sources, [source]);
}

#[test]
fn a_weight_or_state_builds_the_table_of_its_pool_alone() {
    for order in
        [BackendOrder::Weight(7), BackendOrder::Weight(0), BackendOrder::State(SetState::Disabled)]
    {
        let mut rig = Rig::new();
        let before = rig.pools();
        let address = "192.0.2.10".parse().unwrap();
        assert!(rig.state.intent.set(&BackendChange::new("web", address, order)));
        rig.compile();
        assert_eq!(rig.rebuilt(&before), [true, false, false]);
        rig.assert_is_what_the_state_makes();
    }
}

#[test]
fn a_change_without_effect_on_shares_builds_no_table() {
    let mut rig = Rig::new();
    let before = rig.pools();
    let drains = "198.51.100.10".parse().unwrap();
    let disabled = BackendOrder::State(SetState::Disabled);
    rig.state.intent.set(&BackendChange::new("dns", drains, disabled));
    rig.compile();
    assert_eq!(rig.rebuilt(&before), [false; 3], "it had weight 0");
    rig.assert_is_what_the_state_makes();
}

/// A state with a pool `all` that has the backends of `a` and `b`, and `c` for a backup; all have next hops.
fn pools_of_pools(more: &str) -> Rig {
    let text = crate::sample::text(&[("x", 10, "")]);
    let pools = format!(
        r#"
[[pool]]
name = "all"
pools = ["a", "b"]
backup = "c"
{more}
backends = [{{ name = "own", address = "192.0.2.11" }}]
[[pool]]
name = "a"
backends = [{{ name = "a", address = "192.0.2.12" }}, {{ name = "z", address = "192.0.2.15", weight = 0 }}]
[[pool]]
name = "b"
slow_start = 10
backends = [{{ name = "b", address = "192.0.2.13", weight = 2 }}]
[[pool]]
name = "c"
backends = [{{ name = "c", address = "192.0.2.14" }}]
[[service]]
name = "all"
address = "203.0.113.11"
protocol = "tcp"
port = 80
pool = "all"
drain_timeout = 5
"#
    );
    let mut rig = Rig::new();
    rig.configure(parse(&(text + &pools)).unwrap().configuration);
    rig
}

impl Rig {
    fn set(&mut self, pool: &str, last: u8, state: SetState) {
        let order = BackendOrder::State(state);
        let change = BackendChange::new(pool, IpAddr::from([192, 0, 2, last]), order);
        assert!(self.state.intent.set(&change));
        self.compile();
        self.assert_is_what_the_state_makes();
    }

    /// The records of what a pool can choose: which flows each accepts, its weight and its slots.
    fn records(&self, pool: usize) -> Vec<(Serving, u32, usize)> {
        let Compiled { ids, tables, .. } = &self.compiled;
        let index = PoolIndex(u16::try_from(pool).unwrap());
        let slots = |id: BackendId| {
            let slots = tables.pool(index).maglev.slots();
            slots.iter().filter(|&&value| value == id.get()).count()
        };
        let record = |&id| {
            let record = tables.backend(id);
            assert_eq!(record.pool, index);
            (record.serving, record.weight, slots(id))
        };
        ids.backends[pool].iter().map(record).collect()
    }
}

#[test]
fn a_pool_chooses_from_the_pools_that_it_names() {
    use Serving::{All, Existing, Nothing};
    let mut rig = pools_of_pools("choice = \"round-robin\"");
    let all =
        [(All, 1000, 1), (All, 1000, 1), (Existing, 0, 0), (All, 2000, 2), (Existing, 1000, 0)];
    assert_eq!(rig.records(1), all);
    assert_eq!((rig.compiled.pools[1].active, rig.compiled.pools[3].active), (4 - 1, 1));
    rig.set("b", 13, SetState::Disabled);
    assert_eq!(rig.records(1)[3], (Nothing, 2000, 0));
    assert_eq!(rig.records(3), [(Nothing, 2000, 0)]);
    rig.now = Wall(1_000_000);
    rig.compile();
    rig.set("b", 13, SetState::Active);
    let shares = rig.records(1).iter().map(|record| record.2).collect::<Vec<_>>();
    assert_eq!(shares, [10, 10, 0, 1, 0], "the middle of the first second of ten, and weight 2");
    assert_eq!(rig.records(1)[3], (All, 100, 1));
    rig.now = Wall(1_010_000);
    rig.compile();
    assert_eq!(rig.records(1), all);
}

#[test]
fn a_backup_gets_new_flows_while_it_stands_in() {
    use Serving::{All, Existing};
    let mut rig = pools_of_pools("min_active = 3\nbackup_hold = 10");
    rig.set("a", 12, SetState::Draining);
    let pool = &rig.compiled.pools[1];
    assert_eq!((pool.serving, pool.active), (PoolServing::Level(1), 1));
    let serving =
        |rig: &Rig, pool| rig.records(pool).iter().map(|record| record.0).collect::<Vec<_>>();
    assert_eq!(serving(&rig, 1), [Existing, Existing, Existing, Existing, All]);
    assert_eq!((serving(&rig, 3), serving(&rig, 4)), (vec![All], vec![All]), "for themselves");
    rig.now = Wall(5001);
    rig.compile();
    let id = rig.compiled.ids.backends[1][1];
    assert!(rig.compiled.tables.backend(id).leaving.moved.has(PolicyIndex(1)));
    rig.set("a", 12, SetState::Enabled);
    assert_eq!(rig.compiled.pools[1].serving, PoolServing::Level(1), "for a while");
    rig.now = Wall(15_001);
    rig.compile();
    rig.assert_is_what_the_state_makes();
    assert_eq!(serving(&rig, 1), [All, All, Existing, All, Existing]);
}

#[test]
fn backends_that_are_down_get_new_flows_if_none_is_left() {
    let mut rig = pools_of_pools("on_empty = \"all\"");
    for (pool, last) in [("all", 11), ("a", 12), ("c", 14)] {
        rig.set(pool, last, SetState::Down);
    }
    rig.set("b", 13, SetState::Draining);
    let pool = &rig.compiled.pools[1];
    assert_eq!((pool.serving, pool.active), (PoolServing::Down, 2));
    use Serving::{All, Existing};
    let serving = rig.records(1).iter().map(|record| record.0).collect::<Vec<_>>();
    assert_eq!(serving, [All, All, Existing, Existing, Existing], "a backup is no own backend");
    assert_eq!(rig.compiled.pools[2].active, 0);
}

#[test]
fn another_configuration_keeps_the_tables_of_the_same_candidates() {
    let mut rig = Rig::new();
    let before = rig.pools();
    let mut other = configuration();
    other.services.clear();
    other.pools[1].backends[0].weight = 9;
    rig.configure(other.clone());
    assert_eq!(rig.rebuilt(&before), [false, true, false]);
    other.hash.key[0] ^= 1;
    let before = rig.pools();
    rig.configure(other);
    assert_eq!(rig.rebuilt(&before), [true; 3]);
    rig.assert_is_what_the_state_makes();
}

#[test]
fn a_weight_or_state_of_the_file_compiles_its_pool_alone() {
    let mut rig = Rig::new();
    let mut other = configuration();
    for change in 0..4 {
        let before = rig.pools();
        let backend = &mut other.pools[1].backends[0];
        match change {
            0 => backend.weight = 9,
            1 => backend.enabled = false,
            2 => other.pools[1].panic_threshold = 7,
            _ => backend.name += "2",
        }
        rig.configure(other.clone());
        let kept = rig.compiled.pools.iter().zip(&before).map(|(a, b)| Arc::ptr_eq(a, b));
        // With another name the pins may mean another backend.
        let expected = [[true, false, true], [true, false, true], [true; 3], [false; 3]];
        assert_eq!(kept.collect::<Vec<_>>(), expected[change]);
        rig.assert_is_what_the_state_makes();
    }
}

#[test]
fn tables_that_several_threads_build_are_those_of_one() {
    let mut large = configuration();
    large.hash.table_size = 100_003;
    let mut rig = Rig::new();
    rig.configure(large);
    let before = rig.pools();
    rig.set("web", 10, SetState::Down);
    assert_eq!(rig.rebuilt(&before), [true, false, false], "one thread builds one table");
    rig.assert_is_what_the_state_makes();
}

/// `benches/tables` measures this in milliseconds. Here the compile of everything is the measure, so that the bound
/// holds on any machine.
#[test]
fn one_change_among_twenty_thousand_backends_costs_little() {
    let mut large = configuration();
    large.hash.table_size = 65_537;
    let backend = large.pools[0].backends[2].clone();
    large.pools[0].backends = (0..20_000)
        .map(|n| guideway_config::Backend {
            name: format!("b{n}"),
            address: std::net::Ipv4Addr::from_bits(0xc000_0200 + n).into(),
            ..backend.clone()
        })
        .collect();
    large.ports[0].addresses = vec!["192.0.2.1/8".parse().unwrap()];
    let mut rig = Rig::new();
    rig.configure(large);
    for n in 0..20_000 {
        let address = std::net::Ipv4Addr::from_bits(0xc000_0200 + n).into();
        rig.state.observation.routing.learn(Link::of_port(0), address, Some([2; 6]));
    }
    rig.compile();
    let least = |times: Vec<std::time::Duration>| times.into_iter().min().unwrap();
    let timed = |work: &mut dyn FnMut()| {
        let begin = std::time::Instant::now();
        work();
        begin.elapsed()
    };
    let everything = || {
        let Compiled { state, ids, tables, .. } = &rig.compiled;
        drop(compile(tables.generation(), state, ids, None));
    };
    let whole = least((0..3).map(|_| timed(&mut || everything())).collect());
    let change = |n| {
        let before = rig.pools();
        rig.learn("192.0.2.10", n);
        let took = timed(&mut || rig.compile());
        assert_eq!(rig.rebuilt(&before), [false; 3]);
        took
    };
    let change = least((10..20).map(change).collect());
    assert!(change < whole / 4, "{change:?} for a change, {whole:?} for everything");
}
