use std::net::IpAddr;

use super::*;
use crate::ids::Allocators;
use crate::progress::Progress;
use crate::sample::{MIXED, Random, ports};
use crate::state::Setting;
use guideway_config::{Configuration, parse};

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
}

impl Rig {
    fn new() -> Rig {
        let state = State::new(configuration(), MIXED.to_owned(), ports());
        let mut allocators = Allocators::default();
        let assigned = allocators.assign(&state.intent.configuration, 1, AT_ONCE).unwrap();
        let compiled = compile(1, &state, &Arc::new(assigned.ids), None);
        Rig { state, allocators, compiled }
    }

    fn compile(&mut self) {
        let generation = self.compiled.tables.generation() + 1;
        let ids = Arc::clone(&self.compiled.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    fn configure(&mut self, configuration: Configuration) {
        let generation = self.compiled.tables.generation() + 1;
        let assigned = self.allocators.assign(&configuration, generation, AT_ONCE).unwrap();
        self.state.configure(configuration, String::new());
        let ids = Arc::new(assigned.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    fn learn(&mut self, address: &str, mac: u8) {
        self.state.observation.routing.learn(address.parse().unwrap(), Some([mac; 6]));
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
        let backends = |pools: &[Arc<CompiledPool>]| {
            pools.iter().map(|pool| pool.backends.clone()).collect::<Vec<_>>()
        };
        assert_eq!(backends(pools), backends(&whole.pools));
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
    }
    configuration.services.retain(|_| random.below(4) > 0);
    for service in &mut configuration.services {
        service.pool = random.below(3);
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
    let mut changed = 0;
    for _ in 0..1000 {
        if random.below(10) == 0 {
            let mut configuration = configuration();
            vary(&mut configuration, &mut random);
            rig.configure(configuration);
        } else {
            // Some changes are published together.
            for _ in 0..random.of(&[1, 1, 1, 5]) {
                let address = random.of(&addresses);
                let state = &mut rig.state;
                changed += u32::from(if random.below(2) == 0 {
                    let mac = random.of(&[None, Some([2; 6]), Some([4; 6])]);
                    state.observation.routing.learn(address, mac)
                } else {
                    let setting = Setting {
                        weight: random.of(&[None, Some(0), Some(1), Some(5)]),
                        enabled: random.of(&[None, Some(true), Some(false)]),
                    };
                    state.intent.set(random.of(&names), address, setting)
                });
            }
            rig.compile();
        }
        rig.assert_is_what_the_state_makes();
    }
    assert!(changed > 500, "only {changed} changes");
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
    let mac = |pool: usize, n: usize| rig.compiled.pools[pool].backends[n].next_hop.unwrap().mac;
    assert_eq!((mac(0, 0), mac(1, 0)), (Some([6; 6]), Some([6; 6])), "it is in two pools");
    assert!(Arc::ptr_eq(&rig.compiled.pools[2], &before[2]), "this pool does not have it");
    rig.assert_is_what_the_state_makes();
}

#[test]
fn a_weight_or_state_builds_the_table_of_its_pool_alone() {
    for setting in [
        Setting { weight: Some(7), enabled: None },
        Setting { weight: Some(0), enabled: None },
        Setting { weight: None, enabled: Some(false) },
    ] {
        let mut rig = Rig::new();
        let before = rig.pools();
        assert!(rig.state.intent.set("web", "192.0.2.10".parse().unwrap(), setting));
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
    rig.state.intent.set("dns", drains, Setting { weight: None, enabled: Some(false) });
    rig.compile();
    assert_eq!(rig.rebuilt(&before), [false; 3], "it had weight 0");
    rig.assert_is_what_the_state_makes();
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
        rig.state.observation.routing.learn(address, Some([2; 6]));
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
