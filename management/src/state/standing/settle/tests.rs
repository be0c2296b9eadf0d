//! Known answers for each rule, and what holds for any course of settings, reloads and time.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::sample::Random;
use crate::state::BackendChange;
use crate::state::settings::Wanted;
use crate::state::standing::WHOLE;
use guideway_api::Source;
use guideway_api::{BackendOrder, SetState};
use guideway_core::balancer::backend::Leaving;
use guideway_core::balancer::backend::PolicySet;
use guideway_core::balancer::id::PolicyIndex;

const SECOND: u64 = 1000;
const NOON: u64 = 1_700_000_000_000;

/// A configuration of these pools, `(name, more keys, last bytes of addresses)`, with these services
/// `(pool, protocol, more keys)`.
fn text(pools: &[(&str, &str, &[u8])], services: &[(&str, &str, &str)]) -> String {
    let mut text = r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 1021
[dpdk]
workers = [0]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
"#
    .to_owned();
    for (name, more, backends) in pools {
        let backend = |n: &u8| format!(r#"{{ name = "b{n}", address = "192.0.2.{n}" }}"#);
        let backends: Vec<String> = backends.iter().map(backend).collect();
        text += &format!("[[pool]]\nname = \"{name}\"\n{more}\n");
        text += &format!("backends = [{}]\n", backends.join(", "));
    }
    for (n, (pool, protocol, more)) in services.iter().enumerate() {
        text += &format!(
            "[[service]]\nname = \"s{n}\"\naddress = \"203.0.113.10\"\nprotocol = \"{protocol}\"\n\
             port = {}\npool = \"{pool}\"\n{more}\n",
            80 + n
        );
    }
    text
}

fn parse(text: &str) -> Configuration {
    config::parse(text).unwrap_or_else(|error| panic!("{error:?} in {text}")).configuration
}

/// What is wanted, and the standing at a time.
struct Rig {
    intent: Intent,
    standing: Standing,
    now: Wall,
}

impl Rig {
    fn new(pools: &[(&str, &str, &[u8])], services: &[(&str, &str, &str)]) -> Rig {
        let text = text(pools, services);
        let intent = Intent::new(parse(&text), text);
        let now = Wall(NOON);
        let standing = Standing::settle(&Standing::default(), &intent, now);
        Rig { intent, standing, now }
    }

    /// One pool `web` of three backends for one TCP service.
    fn web(pool: &str, service: &str) -> Rig {
        Rig::new(&[("web", pool, &[10, 11, 12])], &[("web", "tcp", service)])
    }

    /// Some seconds later.
    fn wait(&mut self, seconds: u64) {
        self.settle(self.now.after(Duration::from_secs(seconds)));
    }

    fn settle(&mut self, now: Wall) {
        self.now = now;
        self.standing = Standing::settle(&self.standing, &self.intent, now);
        assert!(self.standing.next.is_none_or(|next| next > now));
    }

    fn order(&mut self, source: Source, pool: &str, backend: u8, order: BackendOrder) {
        let address = Ipv4Addr::new(192, 0, 2, backend).into();
        let at = self.now;
        let change = BackendChange { source, at, ..BackendChange::new(pool, address, order) };
        self.intent.set(&change);
        self.settle(self.now);
    }

    fn set(&mut self, pool: &str, backend: u8, state: SetState) {
        self.order(Source::Operator, pool, backend, BackendOrder::State(state));
    }

    fn configure(&mut self, pools: &[(&str, &str, &[u8])], services: &[(&str, &str, &str)]) {
        let text = text(pools, services);
        self.intent.configure(parse(&text), text);
        self.settle(self.now);
    }

    /// The first backend of the first pool.
    fn first(&self) -> &BackendStanding {
        &self.standing.pools[0].backends[0]
    }

    /// How many seconds ahead the standing has to be settled again.
    fn next(&self) -> Option<u64> {
        self.standing.next.map(|next| (next.0 - self.now.0).div_ceil(SECOND))
    }

    fn serving(&self) -> PoolServing {
        self.standing.pools[0].serving
    }
}

/// The set of these policies.
fn policies(indices: &[u8]) -> PolicySet {
    indices.iter().fold(PolicySet::default(), |set, &index| set.with(PolicyIndex(index)))
}

#[test]
fn a_drain_ends_as_each_service_says() {
    let services = [
        ("web", "tcp", "drain_timeout = 60\ndrain_then = \"reset\""),
        ("web", "tcp", ""),
        ("web", "udp", "drain_timeout = 30"),
        ("web", "udp", "drain_timeout = 90\ndrain_then = \"keep\""),
        ("web", "tcp", "drain_timeout = 60\ndrain_then = \"reset\""),
    ];
    let mut rig = Rig::new(&[("web", "", &[10, 11])], &services);
    let indices = (0..5).map(|n| rig.standing.plan().policy_of(n).0);
    assert_eq!(indices.collect::<Vec<_>>(), [0, 1, 2, 3, 0], "equal policies are one");
    rig.set("web", 10, SetState::Draining);
    assert_eq!((rig.first().state, rig.first().since), (Wanted::Draining, Wall(NOON)));
    assert_eq!((rig.first().leaving, rig.next()), (Leaving::NONE, Some(30)));
    rig.wait(29);
    assert_eq!((rig.first().leaving, rig.next()), (Leaving::NONE, Some(1)));
    rig.wait(1);
    let moved = policies(&[2]);
    assert_eq!(rig.first().leaving, Leaving { moved, reset: policies(&[]) });
    rig.wait(30);
    assert_eq!(rig.first().leaving, Leaving { moved, reset: policies(&[0]) });
    assert_eq!(rig.next(), Some(30), "the time of the flows that stay");
    rig.wait(30);
    assert_eq!(rig.first().leaving, Leaving { moved, reset: policies(&[0]) });
    assert_eq!(rig.next(), None);
    rig.set("web", 10, SetState::Enabled);
    assert_eq!((rig.first().leaving, rig.first().share), (Leaving::NONE, WHOLE));
}

#[test]
fn flows_of_a_backend_that_is_down_leave_as_each_service_says() {
    let services = [("web", "tcp", ""), ("web", "udp", ""), ("web", "tcp", "keep_for = 20")];
    let mut rig = Rig::new(&[("web", "", &[10, 11])], &services);
    rig.set("web", 10, SetState::Down);
    assert_eq!(rig.first().leaving, Leaving { moved: policies(&[1]), reset: policies(&[]) });
    assert_eq!(rig.next(), Some(20));
    rig.wait(20);
    assert_eq!(rig.first().leaving, Leaving { moved: policies(&[1, 2]), reset: policies(&[]) });
    assert_eq!(rig.next(), None);
}

#[test]
fn only_services_that_can_choose_a_backend_concern_it() {
    let pools: &[(&str, &str, &[u8])] =
        &[("web", "", &[10]), ("all", "pools = [\"web\"]", &[11]), ("dns", "", &[12])];
    let services = [
        ("dns", "udp", "drain_timeout = 5"),
        ("web", "tcp", "drain_timeout = 10"),
        ("all", "tcp", "drain_timeout = 20"),
    ];
    let mut rig = Rig::new(pools, &services);
    rig.set("web", 10, SetState::Draining);
    rig.wait(100);
    assert_eq!(rig.first().leaving.moved, policies(&[1, 2]));
    rig.set("all", 11, SetState::Draining);
    rig.wait(100);
    assert_eq!(rig.standing.pools[1].backends[0].leaving.moved, policies(&[2]));
}

#[test]
fn a_state_begins_when_it_is_set_or_when_nothing_outweighs_it_any_more() {
    let mut rig = Rig::web("", "drain_timeout = 60");
    rig.order(Source::Controller, "web", 10, BackendOrder::State(SetState::Draining));
    rig.wait(10);
    rig.set("web", 10, SetState::Active);
    rig.wait(100);
    rig.order(Source::Operator, "web", 10, BackendOrder::UnsetState);
    assert_eq!((rig.first().state, rig.first().since), (Wanted::Draining, rig.now));
    assert_eq!((rig.first().source, rig.next()), (Source::Controller, Some(60)));
    rig.wait(10);
    rig.set("web", 10, SetState::Draining);
    assert_eq!(rig.first().source, Source::Operator);
    assert_eq!(rig.next(), Some(50), "it has been draining all the time");
}

/// Nothing was settled in between: the time of the setting is that of the settling before.
#[test]
fn a_drain_begins_when_it_holds_however_old_the_setting_is() {
    let mut rig = Rig::web("", "drain_timeout = 60");
    rig.set("web", 10, SetState::Active);
    rig.order(Source::Controller, "web", 10, BackendOrder::State(SetState::Draining));
    assert_eq!(rig.first().state, Wanted::Active);
    rig.now = rig.now.after(Duration::from_secs(3600));
    rig.order(Source::Operator, "web", 10, BackendOrder::UnsetState);
    assert_eq!((rig.first().state, rig.first().since), (Wanted::Draining, rig.now));
    assert_eq!((rig.first().leaving, rig.next()), (Leaving::NONE, Some(60)));
}

#[test]
fn a_state_goes_on_after_a_restart() {
    let mut rig = Rig::web("slow_start = 10", "drain_timeout = 60");
    rig.set("web", 10, SetState::Draining);
    rig.set("web", 11, SetState::Down);
    let now = rig.now.after(Duration::from_secs(59));
    let standing = Standing::settle(&Standing::default(), &rig.intent, now);
    assert_eq!(standing.pools[0].backends[0].since, rig.now);
    assert_eq!(standing.pools[0].backends[0].leaving, Leaving::NONE);
    assert_eq!(standing.next, Some(rig.now.after(Duration::from_secs(60))));
    assert_eq!(standing.pools[0].backends[2].share, WHOLE, "a start is no return");
}

#[test]
fn a_slow_start_follows_a_return_alone() {
    let mut rig = Rig::web("slow_start = 10\nslow_start_curve = \"quadratic\"", "");
    for (from, share) in [(SetState::Draining, WHOLE), (SetState::Down, 2), (SetState::Disabled, 2)]
    {
        rig.set("web", 10, from);
        rig.wait(5);
        rig.set("web", 10, SetState::Enabled);
        assert_eq!(rig.first().share, share, "from {from:?}");
        if share < WHOLE {
            assert_eq!(rig.next(), Some(1));
            rig.wait(4);
            assert_eq!(rig.first().share, 202, "4.5 s of 10 s");
            rig.wait(6);
            assert_eq!((rig.first().share, rig.next()), (WHOLE, None));
        }
    }
    rig.set("web", 10, SetState::Down);
    rig.wait(1);
    rig.set("web", 10, SetState::Enabled);
    rig.wait(3);
    let slow = ("web", "slow_start = 10", &[10, 11, 12, 13][..]);
    rig.configure(&[slow], &[]);
    let shares = rig.standing.pools[0].backends.iter().map(|backend| backend.share);
    let shares: Vec<u32> = shares.collect();
    assert_eq!(shares, [350, WHOLE, WHOLE, WHOLE], "one goes on by another curve, one is new");
    rig.configure(&[("web", "", &[10, 11, 12])], &[]);
    assert_eq!((rig.first().share, rig.next()), (WHOLE, None));
}

#[test]
fn steps_of_slow_starts_are_on_whole_seconds() {
    let mut rig = Rig::web("slow_start = 10", "");
    rig.set("web", 10, SetState::Down);
    rig.set("web", 11, SetState::Down);
    rig.settle(Wall(NOON + 400));
    rig.set("web", 10, SetState::Enabled);
    rig.settle(Wall(NOON + 700));
    rig.set("web", 11, SetState::Enabled);
    let share = |rig: &Rig, n: usize| rig.standing.pools[0].backends[n].share;
    assert_eq!((share(&rig, 0), share(&rig, 1)), (30, 15), "the middle of the rest of the second");
    assert_eq!(rig.standing.next, Some(Wall(NOON + 1000)));
    rig.settle(Wall(NOON + 1000));
    assert_eq!((share(&rig, 0), share(&rig, 1)), (110, 80));
    assert_eq!(rig.standing.next, Some(Wall(NOON + 2000)));
}

const STANDS_IN: &[(&str, &str, &[u8])] = &[
    ("web", "backup = \"b\"\nmin_active = 2\nbackup_hold = 10", &[10, 11, 12]),
    ("b", "backup = \"c\"\nmin_active = 2\nbackup_hold = 5", &[20, 21]),
    ("c", "on_empty = \"all\"", &[30]),
];

#[test]
fn a_backup_stands_in_at_once_and_gives_way_after_a_while() {
    let mut rig = Rig::new(STANDS_IN, &[("web", "tcp", "")]);
    assert_eq!((rig.serving(), rig.standing.pools[0].active), (PoolServing::Level(0), 3));
    rig.set("web", 10, SetState::Draining);
    assert_eq!((rig.serving(), rig.standing.pools[0].active), (PoolServing::Level(0), 2));
    rig.order(Source::Operator, "web", 11, BackendOrder::Weight(0));
    assert_eq!((rig.serving(), rig.standing.pools[0].active), (PoolServing::Level(1), 1));
    rig.order(Source::Operator, "web", 11, BackendOrder::UnsetWeight);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(1), Some(10)));
    rig.wait(9);
    rig.set("web", 11, SetState::Down);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(1), None), "a break");
    rig.set("web", 11, SetState::Enabled);
    rig.wait(9);
    assert_eq!(rig.serving(), PoolServing::Level(1));
    rig.wait(1);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(0), None));
}

#[test]
fn the_backup_of_a_backup_gives_way_to_either() {
    let mut rig = Rig::new(STANDS_IN, &[("web", "tcp", "")]);
    for (pool, backend) in [("web", 10), ("web", 11), ("b", 20)] {
        rig.set(pool, backend, SetState::Down);
    }
    assert_eq!(rig.serving(), PoolServing::Level(2));
    rig.set("b", 20, SetState::Enabled);
    rig.wait(3);
    rig.set("web", 10, SetState::Enabled);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(2), Some(2)));
    rig.wait(2);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(1), Some(8)));
    rig.set("b", 20, SetState::Down);
    assert_eq!(rig.serving(), PoolServing::Level(0), "the level in use is not enough any more");
    for (pool, backend) in [("web", 10), ("web", 11), ("web", 12), ("b", 21)] {
        rig.set(pool, backend, SetState::Down);
    }
    rig.set("web", 10, SetState::Enabled);
    assert_eq!(rig.serving(), PoolServing::Level(2), "one is not enough");
    rig.set("c", 30, SetState::Down);
    assert_eq!(rig.serving(), PoolServing::Level(0), "one is better than none");
    rig.set("web", 10, SetState::Down);
    assert_eq!(rig.serving(), PoolServing::Nobody);
    rig.set("b", 21, SetState::Enabled);
    assert_eq!(rig.serving(), PoolServing::Level(1));
    rig.set("web", 10, SetState::Enabled);
    rig.set("b", 21, SetState::Disabled);
    assert_eq!(rig.serving(), PoolServing::Level(0), "at once: no other is left");
}

#[test]
fn backends_that_are_down_serve_if_none_is_left() {
    let mut rig = Rig::web("on_empty = \"all\"", "");
    for backend in [10, 11] {
        rig.set("web", backend, SetState::Disabled);
    }
    rig.set("web", 12, SetState::Down);
    assert_eq!(rig.serving(), PoolServing::Down);
    rig.order(Source::Operator, "web", 12, BackendOrder::Weight(0));
    assert_eq!(rig.serving(), PoolServing::Nobody);
    rig.set("web", 11, SetState::Draining);
    assert_eq!(rig.serving(), PoolServing::Nobody);
    rig.set("web", 10, SetState::Enabled);
    assert_eq!(rig.serving(), PoolServing::Level(0));
}

#[test]
fn a_pool_of_pools_has_the_backends_of_all() {
    let pools: &[(&str, &str, &[u8])] = &[
        ("all", "pools = [\"a\", \"b\"]\nmin_active = 2\nbackup = \"c\"", &[]),
        ("a", "", &[10]),
        ("b", "", &[20]),
        ("c", "", &[30]),
    ];
    let mut rig = Rig::new(pools, &[("all", "tcp", "")]);
    assert_eq!((rig.serving(), rig.standing.pools[0].active), (PoolServing::Level(0), 2));
    let before = rig.standing.clone();
    rig.set("b", 20, SetState::Down);
    assert_eq!((rig.serving(), rig.standing.pools[0].active), (PoolServing::Level(1), 1));
    let is_same = |n: usize| Arc::ptr_eq(&rig.standing.pools[n], &before.pools[n]);
    assert_eq!([0, 1, 2, 3].map(is_same), [false, true, false, true]);
}

#[test]
fn a_backup_that_stands_in_does_so_after_a_reload() {
    let mut rig = Rig::new(STANDS_IN, &[("web", "tcp", "")]);
    rig.set("web", 10, SetState::Down);
    rig.set("web", 11, SetState::Down);
    rig.set("web", 10, SetState::Enabled);
    rig.wait(4);
    let more = ("new", "", &[40][..]);
    rig.configure(&[more, STANDS_IN[0], STANDS_IN[1], STANDS_IN[2]], &[]);
    assert_eq!((rig.standing.pools[1].serving, rig.next()), (PoolServing::Level(1), Some(6)));
    let to_c = ("web", "backup = \"c\"\nmin_active = 2\nbackup_hold = 10", &[10, 11, 12][..]);
    rig.configure(&[to_c, STANDS_IN[1], STANDS_IN[2]], &[]);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(0), None), "a choice anew");
}

#[test]
fn what_is_removed_and_added_again_inherits_nothing() {
    let mut rig = Rig::web("slow_start = 10", "drain_timeout = 60");
    rig.set("web", 10, SetState::Draining);
    rig.set("web", 11, SetState::Down);
    rig.configure(&[("web", "slow_start = 10", &[12])], &[]);
    rig.wait(5);
    rig.configure(&[("web", "slow_start = 10", &[12, 11, 10])], &[]);
    for backend in &rig.standing.pools[0].backends[1..] {
        let BackendStanding { state, since, share, source, .. } = backend;
        assert_eq!((*state, *since), (Wanted::Active, rig.now));
        assert_eq!((*share, *source), (WHOLE, Source::File));
    }
    assert_eq!(rig.standing.pools[0].backends[0].since, Wall(NOON));
}

#[test]
fn a_clock_that_is_set_back_starts_times_anew() {
    let mut rig = Rig::new(STANDS_IN, &[("web", "tcp", "drain_timeout = 60")]);
    rig.set("web", 10, SetState::Draining);
    rig.set("web", 11, SetState::Down);
    rig.set("web", 11, SetState::Enabled);
    assert_eq!(rig.next(), Some(10));
    rig.settle(Wall(NOON - 86_400_000));
    assert_eq!((rig.first().since, rig.next()), (rig.now, Some(10)));
    rig.wait(10);
    assert_eq!((rig.serving(), rig.next()), (PoolServing::Level(0), Some(50)));
    rig.settle(Wall(0));
    rig.settle(Wall(u64::MAX));
    rig.settle(Wall(0));
    assert_eq!(rig.next(), Some(60));
}

/// Pools of every kind, with some of their backends.
fn any(random: &mut Random) -> String {
    let mut some =
        |from: u8| -> Vec<u8> { (from..from + 3).filter(|_| random.below(4) > 0).collect() };
    let (a, b, c, d) = (some(10), some(20), some(30), some(40));
    let pools: [(&str, &str, &[u8]); 4] = [
        ("a", "backup = \"b\"\nmin_active = 2\nbackup_hold = 7\nslow_start = 9", &a),
        ("b", "pools = [\"d\"]\nbackup = \"c\"\nmin_active = 3\nbackup_hold = 4", &b),
        ("c", "on_empty = \"all\"\nslow_start = 30\nslow_start_curve = \"quadratic\"", &c),
        ("d", "slow_start = 3", &d),
    ];
    let mut pools = pools.to_vec();
    let turn = random.below(4);
    pools.rotate_left(turn);
    let timeout = random.of(&["", "drain_timeout = 25\ndrain_then = \"reset\""]);
    let keep = random.of(&["", "on_down = \"keep\"\nkeep_for = 11"]);
    text(
        &pools,
        &[
            ("a", "tcp", timeout),
            ("b", "udp", keep),
            ("d", "udp", ""),
            ("c", "tcp", "keep_for = 6"),
        ],
    )
}

#[test]
fn whenever_it_is_settled_the_standing_is_the_same() {
    let mut random = Random(14);
    let (mut stood_in, mut slow, mut kept) = (0, 0, 0);
    for _ in 0..40 {
        let first = any(&mut random);
        let mut intent = Intent::new(parse(&first), first);
        let mut now = Wall(NOON + random.below(5000) as u64);
        let mut standing = Standing::settle(&Standing::default(), &intent, now);
        for _ in 0..200 {
            match random.below(40) {
                0 => {
                    let text = any(&mut random);
                    intent.configure(parse(&text), text);
                }
                1 => now = Wall(now.0 - random.below(100_000) as u64),
                2..20 => {
                    let pool = random.of(&["a", "b", "c", "d"]);
                    let n = u8::try_from(random.below(3)).unwrap()
                        + (pool.as_bytes()[0] - b'a' + 1) * 10;
                    let order = random.of(&[
                        BackendOrder::State(SetState::Active),
                        BackendOrder::State(SetState::Enabled),
                        BackendOrder::State(SetState::Down),
                        BackendOrder::State(SetState::Draining),
                        BackendOrder::State(SetState::Disabled),
                        BackendOrder::UnsetState,
                        BackendOrder::Weight(0),
                        BackendOrder::Weight(3),
                        BackendOrder::UnsetWeight,
                    ]);
                    let source = random.of(&[Source::Operator, Source::Controller]);
                    let address = Ipv4Addr::new(192, 0, 2, n).into();
                    let at = now;
                    intent.set(&BackendChange {
                        source,
                        at,
                        ..BackendChange::new(pool, address, order)
                    });
                }
                _ => {}
            }
            let settled = Standing::settle(&standing, &intent, now);
            // As if every pool had to be looked at.
            let mut due = standing.clone();
            due.timers.fill(Timers { backends: Some(Wall(0)), level: Some(Wall(0)) });
            assert_eq!(Standing::settle(&due, &intent, now), settled);
            assert!(
                Standing::settle(&settled, &intent, now).has_pools_of(&settled),
                "nothing is new"
            );
            standing = settled;
            for backend in standing.pools.iter().flat_map(|pool| &pool.backends) {
                assert!(backend.since <= now && (1..=WHOLE).contains(&backend.share));
                slow += u32::from(backend.share < WHOLE);
            }
            stood_in +=
                u32::from(standing.pools.iter().any(|p| p.serving == PoolServing::Level(1)));
            // Some time passes: in steps, and at once.
            let later = now.after(Duration::from_millis(random.below(20_000) as u64));
            let mut steps = standing.clone();
            while let Some(next) = steps.next.filter(|&next| next <= later) {
                assert!(next > now, "a time that has passed");
                let between =
                    Wall(now.0 + random.below(usize::try_from(next.0 - now.0).unwrap()) as u64);
                let same = Standing::settle(&steps, &intent, between);
                assert!(
                    same.has_pools_of(&steps) && same.next == steps.next,
                    "nothing happens before"
                );
                kept += 1;
                steps = Standing::settle(&same, &intent, next);
                now = next;
            }
            steps = Standing::settle(&steps, &intent, later);
            assert_eq!(Standing::settle(&standing, &intent, later), steps);
            (standing, now) = (steps, later);
        }
    }
    assert!(stood_in > 100 && slow > 100 && kept > 1000, "{stood_in} {slow} {kept}");
}
