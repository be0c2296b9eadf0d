//! The time to publish a change of the state among 20,000 backends: no text is read, and only Maglev tables whose
//! candidates changed are built.

use guideway_api::{BackendOrder, SetState};
use guideway_config as config;
use guideway_management::manager::Manager;
use guideway_management::routing;
use guideway_management::state::{BackendChange, State};
use serde_json::json;

use crate::apply::{GATEWAY, Link, SHAPES, address, ports, text};
use crate::part::{Effort, Part, Times, grouped, milliseconds, percent, repeat, timed};

/// What changes.
const CHANGES: [&str; 8] = [
    "the MAC address of one backend",
    "the MAC address of the gateway of all",
    "the weight of one backend",
    "one backend is disabled",
    "one backend drains",
    "one backend goes down",
    "one backend returns slowly",
    "1,000 backends go down at once",
];

/// Milliseconds at the most, by change. With one pool of 20,000 backends those from the third on build its table of
/// 2,000,003 slots, which is the first case of the other table.
const MOST: [f64; CHANGES.len()] = [10.0, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, 200.0];

/// Backends of a rack, which fails as a whole.
const RACK: u32 = 1000;

pub(crate) fn measure(part: &mut Part, effort: Effort) {
    let mut rows = Vec::new();
    for shape in SHAPES {
        let (pools, each, slots) = shape;
        eprintln!("changing {pools} pools of {each} backends:");
        let mut direct = manager(&text(shape, 1, Link::Direct));
        let mut behind = manager(&text(shape, 1, Link::Unresolved));
        // A slow start that does not end while the benchmark runs.
        let slowly = text(shape, 1, Link::Direct);
        let slowly = slowly.replace("\nbackends = [", "\nslow_start = 3600\nbackends = [");
        let mut slowly = manager(&slowly);
        for manager in [&mut direct, &mut slowly] {
            let mut state = manager.state().clone();
            for backend in 0..pools * each {
                let link = routing::Link::of_port(0);
                state.observation.routing.learn(link, address(backend).into(), Some([2; 6]));
            }
            manager.change(&state);
        }
        let mut round = 0;
        let times = repeat::<{ CHANGES.len() }>(effort, |times| {
            round += 1;
            let of_round = u8::from(round % 2 == 0);
            let backend = address(pools * each / 2).into();
            let mac = Some([2, 0, 0, 0, 1, of_round]);
            let link = routing::Link::of_port(0);
            let learn =
                |state: &mut State, address| state.observation.routing.learn(link, address, mac);
            // Each change has a backend of its own, the last ones of a pool.
            let set = |state: &mut State, change: u32, order| {
                let pool = pools / 2;
                let address = address((pool + 1) * each - 1 - change).into();
                state.intent.set(&BackendChange::new(format!("pool{pool}"), address, order))
            };
            let weight = BackendOrder::Weight(2 + u32::from(of_round));
            let or_enabled = |other| match of_round {
                0 => BackendOrder::State(SetState::Enabled),
                _ => BackendOrder::State(other),
            };
            // As many in each pool.
            let rack = |state: &mut State, order| {
                (0..RACK).fold(false, |has_changed, n| {
                    let (pool, of_pool) = (n % pools, n / pools);
                    let address = address(pool * each + of_pool).into();
                    let change = BackendChange::new(format!("pool{pool}"), address, order);
                    state.intent.set(&change) | has_changed
                })
            };
            let mut change =
                |n: usize, manager: &mut Manager, change: &dyn Fn(&mut State) -> bool| {
                    let (took, changed) = timed(|| {
                        let mut state = manager.state().clone();
                        let changed = change(&mut state);
                        manager.change(&state);
                        changed
                    });
                    assert!(changed || round == 1, "{}", CHANGES[n]);
                    times[n].push(took);
                };
            change(0, &mut direct, &|state| learn(state, backend));
            change(1, &mut behind, &|state| learn(state, GATEWAY.into()));
            change(2, &mut direct, &|state| set(state, 2, weight));
            change(3, &mut direct, &|state| set(state, 3, or_enabled(SetState::Disabled)));
            change(4, &mut direct, &|state| set(state, 4, or_enabled(SetState::Draining)));
            change(5, &mut direct, &|state| set(state, 5, or_enabled(SetState::Down)));
            let mut state = slowly.state().clone();
            set(&mut state, 6, BackendOrder::State(SetState::Down));
            slowly.change(&state);
            change(6, &mut slowly, &|state| set(state, 6, BackendOrder::State(SetState::Enabled)));
            change(7, &mut direct, &|state| rack(state, or_enabled(SetState::Down)));
        });
        for (change, times) in CHANGES.iter().zip(&times) {
            rows.push(vec![
                json!(format!("{} of {}", grouped(pools), grouped(each))),
                json!(grouped(slots)),
                json!(change),
                json!(milliseconds(times.median())),
                json!(percent(times.spread())),
            ]);
        }
        claim(part, shape, &times);
    }
    part.table(
        ("change", "Publishing a change among 20,000 backends"),
        &["pools", "slots of each", "what changes", "median", "spread"],
        rows,
        "From the change of the state to the swap of the tables.",
    );
}

fn claim(part: &mut Part, (pools, each, _): (u32, u32, u32), times: &[Times]) {
    let builds_a_large_table = each > 1000;
    let claimed = if builds_a_large_table { 2 } else { CHANGES.len() };
    for ((change, times), most) in CHANGES.iter().zip(times).zip(MOST).take(claimed) {
        let claim = format!("{} of {} backends: {change}", grouped(pools), grouped(each));
        part.at_most(&claim, most, "ms", times.median(), times.spread());
    }
}

fn manager(text: &str) -> Manager {
    let configuration = config::parse(text).expect("a valid configuration").configuration;
    Manager::new(configuration, text.to_owned(), ports()).expect("what fits")
}
