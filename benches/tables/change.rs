//! The time to publish one change of the state among 20,000 backends: no text is read, and only a Maglev table whose
//! candidates changed is built.

use guideway_api::{BackendOrder, SetState};
use guideway_config as config;
use guideway_management::manager::Manager;
use guideway_management::routing;
use guideway_management::state::{BackendChange, State};
use serde_json::json;

use crate::apply::{GATEWAY, Link, SHAPES, address, ports, text};
use crate::part::{Effort, Part, Times, grouped, milliseconds, percent, repeat, timed};

/// What changes.
const CHANGES: [&str; 4] = [
    "the MAC address of one backend",
    "the MAC address of the gateway of all",
    "the weight of one backend",
    "one backend is disabled",
];

/// Milliseconds at the most, by change. With one pool of 20,000 backends the last two build its table of 2,000,003
/// slots, which is the first case of the other table.
const MOST: f64 = 10.0;

pub(crate) fn measure(part: &mut Part, effort: Effort) {
    let mut rows = Vec::new();
    for shape in SHAPES {
        let (pools, each, slots) = shape;
        eprintln!("changing {pools} pools of {each} backends:");
        let mut direct = manager(&text(shape, 1, Link::Direct));
        let mut behind = manager(&text(shape, 1, Link::Unresolved));
        let mut state = direct.state().clone();
        for backend in 0..pools * each {
            let link = routing::Link::of_port(0);
            state.observation.routing.learn(link, address(backend).into(), Some([2; 6]));
        }
        direct.change(&state);
        let mut round = 0;
        let times = repeat::<4>(effort, |times| {
            round += 1;
            let of_round = u8::from(round % 2 == 0);
            let backend = address(pools * each / 2).into();
            let mac = Some([2, 0, 0, 0, 1, of_round]);
            let link = routing::Link::of_port(0);
            let learn =
                |state: &mut State, address| state.observation.routing.learn(link, address, mac);
            let set = |state: &mut State, order| {
                let pool = format!("pool{}", pools / 2);
                state.intent.set(&BackendChange::new(pool, backend, order))
            };
            let weight = BackendOrder::Weight(2 + u32::from(of_round));
            let enabled = match of_round {
                0 => BackendOrder::State(SetState::Enabled),
                _ => BackendOrder::State(SetState::Disabled),
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
            change(2, &mut direct, &|state| set(state, weight));
            change(3, &mut direct, &|state| set(state, enabled));
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
        ("change", "Publishing one change among 20,000 backends"),
        &["pools", "slots of each", "what changes", "median", "spread"],
        rows,
        "From the change of the state to the swap of the tables.",
    );
}

fn claim(part: &mut Part, (pools, each, _): (u32, u32, u32), times: &[Times]) {
    let builds_a_large_table = each > 1000;
    let claimed = if builds_a_large_table { 2 } else { CHANGES.len() };
    for (change, times) in CHANGES.iter().zip(times).take(claimed) {
        let claim = format!("{} of {} backends: {change}", grouped(pools), grouped(each));
        part.at_most(&claim, MOST, "ms", times.median(), times.spread());
    }
}

fn manager(text: &str) -> Manager {
    let configuration = config::parse(text).expect("a valid configuration").configuration;
    Manager::new(configuration, text.to_owned(), ports()).expect("what fits")
}
