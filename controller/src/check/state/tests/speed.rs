//! What a result costs.

use super::site::check;
use super::*;

/// 20,000 targets, each for two pools: far more results than a machine can probe in a second.
#[test]
fn twenty_thousand_results_cost_little() {
    const TARGETS: u32 = 20_000;
    let (check, mut plan) = (std::sync::Arc::new(check("web")), Plan::default());
    let mut names = Vec::new();
    for n in 0..TARGETS {
        let [_, a, b, c] = n.to_be_bytes();
        let address = std::net::IpAddr::from([10, a, b, c]);
        let to = To::Port((address, 80).into());
        let key = TargetKey { check: "web".into(), address, to, path: Path::Direct };
        let members = ["p", "q"].map(|pool| member(pool, &format!("b{n}"))).to_vec();
        names.push(members[0].backend.clone());
        plan.targets.insert(key, Target { check: check.clone(), members });
    }
    for pool in ["p", "q"] {
        let plan_of = PoolPlan { backends: names.clone(), panic_threshold: 50 };
        plan.pools.insert(pool.into(), plan_of);
    }
    let keys: Vec<_> = plan.targets.keys().cloned().collect();
    let (mut states, start) = (States::new(), Instant::now());
    let time = |what: &str, work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        figure(&format!("{what}: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3));
        begin.elapsed()
    };
    let round = |states: &mut States, letter, second| {
        let now = start + Duration::from_secs(second);
        for key in &keys {
            states.result(key, result(code(letter)), now, Wall(START + second * 1_000));
        }
        states.differences().len()
    };
    let mut longest =
        time("configured", &mut || _ = states.configure(&plan, None, start, Wall(START)));
    longest = longest.max(time("each first result", &mut || _ = round(&mut states, 's', 1)));
    longest = longest.max(time("each a success", &mut || _ = round(&mut states, 's', 2)));
    for second in 3..5 {
        longest = longest.max(time("each a failure", &mut || _ = round(&mut states, 'f', second)));
    }
    // All fall at once, and half of them are set to down before the pools panic.
    let mut changed = 0;
    longest = longest.max(time("each down", &mut || changed = round(&mut states, 'f', 5)));
    assert_eq!((changed, states.wanted().len()), (0, 0));
    longest = longest.max(time("each up again", &mut || {
        round(&mut states, 's', 6);
        round(&mut states, 's', 7);
    }));
    assert!(states.rows().all(|row| row.state == CheckState::Up && !row.kept));
    longest = longest.max(time("another configuration", &mut || {
        states.configure(&plan, None, start, Wall(START));
    }));
    // Without optimization, and on a busy machine, the worst of them takes a part of this.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}
