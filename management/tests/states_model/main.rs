//! The states of backends against a plain interpreter of their rules: random settings, configurations, packets and
//! times, and after each of them the same.
//!
//! The appliance takes every step that the manager and a worker take, with the time as an argument: settings, standing,
//! ids, compilation, the packet path with its flow table, the sweep. The interpreter (`interpreter.rs`) has the rules
//! in plain maps. Compared are the backend of every packet, or why it has none; the state, the age and the share of
//! every backend; the level of every pool; and the live flows of every backend and service.
//!
//! Not here: several workers, choices on which forwarders do not agree, the daemon's threads and its state file.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test")]

mod appliance;
mod interpreter;
mod world;

use std::collections::BTreeMap;

use guideway_api::{BackendOrder, SetState, Source};
use guideway_management::state::Wanted;
use guideway_management::state::standing::PoolServing;

use appliance::{Appliance, BEGIN};
use interpreter::{Coverage, Interpreter, Kind, Outcome, Serving, State, TICK, Tuple};
use world::{BACKENDS, POOLS, Random, SERVICES, World};

/// The appliance and the interpreter.
struct Both {
    random: Random,
    appliance: Appliance,
    model: Interpreter,
    packets: usize,
    outcomes: BTreeMap<&'static str, usize>,
    /// What happened last, for a failure.
    log: Vec<String>,
}

impl Both {
    fn new(seed: u64) -> Both {
        let mut random = Random(seed);
        let world = World::random(&mut random);
        let appliance = Appliance::new(&world, BEGIN);
        let model = Interpreter::new(world, BEGIN);
        let (packets, outcomes, log) = (0, BTreeMap::new(), Vec::new());
        Both { random, appliance, model, packets, outcomes, log }
    }

    fn note(&mut self, what: String) {
        self.log.push(format!("{} {what}", self.model.now - BEGIN));
        if self.log.len() > 60 {
            self.log.remove(0);
        }
    }

    /// Does something at random.
    fn step(&mut self) {
        match self.random.below(400) {
            0..4 => self.reload(),
            4..34 => self.set(),
            34 if self.random.once_in(4) => self.restart(),
            34..50 => self.sweep(),
            50..170 => self.wait(),
            _ => self.packets(),
        }
    }

    fn reload(&mut self) {
        let world = match self.random.once_in(8) {
            true => World::random(&mut self.random),
            false => self.model.world.changed(&mut self.random),
        };
        self.note(format!("reload {world:?}"));
        self.appliance.configure(&world, self.model.now);
        self.model.configure(world);
        self.compare();
    }

    fn restart(&mut self) {
        self.note("restart".to_owned());
        self.appliance.restart(&self.model.world, self.model.now);
        self.model.restart();
        self.compare();
    }

    /// Sets something for one backend, for a whole pool, or for some at once.
    fn set(&mut self) {
        let random = &mut self.random;
        let pool = random.below(POOLS);
        let number = 1 + u8::try_from(random.below(BACKENDS.into())).unwrap();
        let names: Vec<(usize, u8)> = match random.below(4) {
            0 => (1..=BACKENDS).map(|number| (pool, number)).collect(),
            1 => (0..POOLS).map(|pool| (pool, number)).collect(),
            _ => vec![(pool, number)],
        };
        let source = random.of(&[Source::Controller, Source::Operator]);
        let order = match random.below(10) {
            0 => BackendOrder::UnsetState,
            1 => BackendOrder::UnsetWeight,
            2 => BackendOrder::Weight(random.of(&[0, 1, 3, 50])),
            _ => BackendOrder::State(random.of(&[
                SetState::Active,
                SetState::Active,
                SetState::Enabled,
                SetState::Draining,
                SetState::Draining,
                SetState::Draining,
                SetState::Disabled,
                SetState::Down,
                SetState::Down,
            ])),
        };
        let until =
            random.once_in(3).then(|| self.model.now + TICK * (1 + random.below(80) as u64));
        self.note(format!("set {names:?} {source:?} {order:?} until {until:?}"));
        let changes: Vec<_> = names.into_iter().map(|name| (name, source, order, until)).collect();
        self.appliance.set(&changes, self.model.now);
        self.model.set(&changes);
        self.compare();
    }

    fn sweep(&mut self) {
        self.note("sweep".to_owned());
        self.appliance.sweep(self.model.now);
        self.model.sweep();
        let (appliance, model) = (&self.appliance, &self.model);
        assert_eq!(appliance.flows(), model.flows(), "{:#?}", self.log);
        for pool in &model.world.pools {
            for backend in &pool.backends {
                let name = (pool.number, backend.number);
                let live = (appliance.flows_of(name.0, name.1), model.flows_of(name.0, name.1));
                assert_eq!(live.0, live.1, "{name:?} {:#?}", self.log);
            }
        }
        for service in &model.world.services {
            let live = (
                appliance.flows_of_service(service.number),
                model.flows_of_service(service.number),
            );
            assert_eq!(live.0, live.1, "{} {:#?}", service.number, self.log);
        }
    }

    fn wait(&mut self) {
        let ticks = self.random.of(&[1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 12]);
        let to = self.model.now + TICK * ticks;
        self.note(format!("wait until {}", to - BEGIN));
        self.appliance.advance(to);
        self.model.advance(to);
        self.compare();
    }

    /// A few packets of one time, to one service and of few flows, so that connections come about.
    fn packets(&mut self) {
        let service = self.random.below(SERVICES);
        let port = 2000 + self.random.below(4) * 4;
        for _ in 0..=self.random.below(16) {
            let random = &mut self.random;
            let tuple = Tuple {
                client: u8::try_from(random.below(2)).unwrap(),
                port: u16::try_from(port + random.below(4)).unwrap(),
                service,
            };
            let kind = match world::is_tcp(service) {
                false => Kind::Datagram,
                true => random.of(&[
                    Kind::Syn,
                    Kind::Syn,
                    Kind::Syn,
                    Kind::Ack,
                    Kind::Ack,
                    Kind::Ack,
                    Kind::Ack,
                    Kind::Data,
                    Kind::Data,
                    Kind::Data,
                    Kind::Data,
                    Kind::Data,
                    Kind::Fin,
                    Kind::Reset,
                ]),
            };
            let expected = self.model.packet(tuple, kind);
            let got = self.appliance.packet(tuple, kind, self.model.now);
            self.packets += 1;
            *self.outcomes.entry(name(got)).or_default() += 1;
            if self.packets.is_multiple_of(16) || got != expected {
                self.note(format!("{tuple:?} {kind:?}: {got:?}"));
            }
            assert_eq!(got, expected, "{tuple:?} {kind:?} {:#?}", self.log);
        }
    }

    /// The standing of every backend and of every pool is the same.
    fn compare(&self) {
        for pool in &self.model.world.pools {
            for backend in &pool.backends {
                let got = self.appliance.standing(pool.number, backend.number);
                let expected = self.model.backend(pool.number, backend.number);
                let state = match got.state {
                    Wanted::Active => State::Active,
                    Wanted::Draining => State::Draining,
                    Wanted::Disabled => State::Disabled,
                    Wanted::Down => State::Down,
                };
                let share = self.model.share(pool.number, backend.number);
                assert_eq!(
                    (state, got.since.0 - BEGIN, got.weight, got.share),
                    (expected.state, expected.since - BEGIN, expected.weight, share),
                    "backend {} of pool {} {:#?}",
                    backend.number,
                    pool.number,
                    self.log
                );
            }
            let serving = match self.appliance.serving(pool.number) {
                (PoolServing::Level(_), Some(level)) => Serving::Level(level),
                (PoolServing::Down, _) => Serving::Down,
                (PoolServing::Nobody | PoolServing::Level(_), _) => Serving::Nobody,
            };
            assert_eq!(
                serving,
                self.model.serving(pool.number),
                "pool {} {:#?}",
                pool.number,
                self.log
            );
        }
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded(..) => "forwarded",
        Outcome::RstReplied => "reset_replied",
        Outcome::UnreachableReplied => "unreachable_replied",
        Outcome::NoService => "no_service",
        Outcome::NoBackend => "no_backend",
        Outcome::BackendDraining => "backend_draining",
        Outcome::DrainOver => "drain_over",
    }
}

/// Runs worlds of 20,000 packets each.
fn run(packets: usize) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..packets.div_ceil(20_000) as u64 {
        let mut both = Both::new(seed);
        while both.packets < 20_000 {
            both.step();
        }
        let Coverage { kept, moved, refused, slow, other_pools, to_down, levels } =
            both.model.coverage;
        let rules = [
            ("kept", kept),
            ("moved", moved),
            ("refused", refused),
            ("slow", slow),
            ("other_pools", other_pools),
            ("to_down", to_down),
            ("levels", levels),
        ];
        for (name, count) in both.outcomes.into_iter().chain(rules) {
            *counts.entry(name).or_default() += count;
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.len(), 14, "some outcome never came: {counts:?}");
    for (name, count) in &counts {
        assert!(*count >= packets / 10_000, "the test proves less than it says: {name} {counts:?}");
    }
}

#[test]
fn packets_end_as_the_rules_say() {
    run(60_000);
}

#[test]
#[ignore = "a minute: ci/test.sh runs it"]
fn a_million_packets_end_as_the_rules_say() {
    run(1_000_000);
}
