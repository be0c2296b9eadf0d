//! One worker, and several at the same time, each on its CPU, all with one pool of packets: each with its own tables
//! and flows, as with RSS.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use cost::part::{Part, progress};
use cost::sample::Measured;
use cost::stage;
use guideway::dpdk::{BURST, Eal, Mempool, lcore};
use serde_json::json;

use crate::poller::{ALL_FLOWS, Poller};

const ROUNDS: usize = 41;
const BURSTS: usize = 4000;

/// Measures, and adds the claims.
pub(crate) fn measure(part: &mut Part, eal: &Eal, pool: &Mempool) -> Result<()> {
    progress("one worker and several");
    let cpus = stage::cpus()?;
    ensure!(cpus.len() >= 2, "two workers want two CPUs, and there is one");
    let teams = teams(cpus.len());
    let barrier = Arc::new(Barrier::new(cpus.len()));
    let mut threads = Vec::new();
    for (n, &cpu) in cpus.iter().enumerate() {
        let (eal_of, pool) = (eal.clone(), pool.clone());
        let (barrier, teams) = (Arc::clone(&barrier), teams.clone());
        let work = move || worker(n, &eal_of, &pool, &teams, &barrier);
        threads.push(lcore::spawn(eal, &format!("worker{n}"), Some(cpu), work)?);
    }
    let mut times = Vec::new();
    for thread in threads {
        let done = thread.join().map_err(|_| anyhow!("a worker panicked"))?;
        times.push(done.context("a worker")?);
    }
    report(part, &teams, &times);
    Ok(())
}

/// How many workers work at the same time: powers of two up to all, and all.
fn teams(all: usize) -> Vec<usize> {
    let mut teams: Vec<usize> = (1..).map(|n| 1 << n).take_while(|&team| team < all).collect();
    teams.push(all);
    teams
}

/// A worker's time in a round: alone, and in each team.
struct Round {
    alone: Duration,
    in_teams: Vec<Duration>,
}

fn report(part: &mut Part, teams: &[usize], times: &[Vec<Round>]) {
    // Million packets per second.
    let rate = |spent: Duration| (BURSTS * BURST) as f64 / spent.as_secs_f64() / 1e6;
    let by_round = |of: &dyn Fn(usize) -> f64| (0..ROUNDS).map(of).collect::<Vec<f64>>();
    let row = |workers: usize, rates: &[f64], over_one: &[f64]| {
        let (rate, over_one) = (Measured::of(rates), Measured::of(over_one));
        vec![
            json!(workers),
            json!(format!("{:.1}", rate.median)),
            json!(rate.percent()),
            json!(format!("{:.2}", over_one.median)),
        ]
    };
    let one = by_round(&|round| rate(times[0][round].alone));
    let mut rows = vec![row(1, &one, &[1.0])];
    for (t, &team) in teams.iter().enumerate() {
        let each = |n: usize, round: usize| rate(times[n][round].in_teams[t]);
        let rates = by_round(&|round| (0..team).map(|n| each(n, round)).sum());
        // Each worker is compared with itself alone, because the CPUs may differ in speed.
        let ratio = |n: usize, round: usize| each(n, round) / rate(times[n][round].alone);
        let ratios = by_round(&|round| (0..team).map(|n| ratio(n, round)).sum());
        rows.push(row(team, &rates, &ratios));
        if team == 2 {
            let Measured { median, spread } = Measured::of(&ratios);
            let claim = "Two workers on one packet pool over one";
            part.at_least(claim, 1.9, "", median, spread);
        }
    }
    let columns = ["workers", "million packets per second", "spread", "over one"];
    let note = "With the source of the packets on the same CPU, and with taking buffers from the pool and freeing them.";
    let title = "Workers on one packet pool, TCP hits of 65,536 flows each";
    part.table(("workers", title), &columns, rows, note);
}

fn worker(
    n: usize,
    eal: &Eal,
    pool: &Mempool,
    teams: &[usize],
    barrier: &Barrier,
) -> Result<Vec<Round>> {
    // A worker that fails must not block the others, so all go through all rounds.
    let mut poller = known_flows(n, eal, pool);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut take = |turn: bool| -> Duration {
            barrier.wait();
            if !turn {
                return Duration::ZERO;
            }
            match poller.as_mut().map(|poller| polls(poller, BURSTS)) {
                Ok(Ok(spent)) => spent,
                Ok(Err(error)) => {
                    poller = Err(error);
                    Duration::ZERO
                }
                Err(_) => Duration::ZERO,
            }
        };
        let all = *teams.last().unwrap_or(&1);
        let alone = (0..all).map(|turn| take(n == turn)).sum();
        let in_teams = teams.iter().map(|&team| take(n < team)).collect();
        rounds.push(Round { alone, in_teams });
    }
    poller.map(|_| rounds)
}

/// A worker that knows all its flows.
fn known_flows(n: usize, eal: &Eal, pool: &Mempool) -> Result<Poller> {
    let mut poller = Poller::new(eal, pool, &format!("worker{n}"), None)?;
    for begin in [true, false] {
        poller.begin_flows(begin);
        polls(&mut poller, ALL_FLOWS)?;
    }
    Ok(poller)
}

/// Polls so many bursts.
fn polls(poller: &mut Poller, bursts: usize) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..bursts {
        poller.poll()?;
    }
    Ok(start.elapsed())
}
