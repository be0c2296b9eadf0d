//! One worker, and two at the same time on two CPUs: each with its own tables, flows and packets, as with RSS.
//!
//! Each worker has its own mbuf pool. With one pool the workers use neighbouring buffers, and the CPU prefetches
//! for one worker what the other writes: then two workers do 1.73 times the work of one.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use cost::part::{Part, progress};
use cost::sample::Measured;
use cost::stage;
use cost::subject::Subject;
use cost::traffic::Kind;
use guideway::dpdk::{BURST, Eal, Mempool, lcore};
use serde_json::json;

const ROUNDS: usize = 41;
const BURSTS: usize = 4000;
const FLOWS: u64 = 1 << 16;

/// Measures, and adds the claims.
pub(crate) fn measure(part: &mut Part, eal: &Eal) -> Result<()> {
    progress("one worker and two");
    let cpus = stage::cpus()?;
    ensure!(cpus.len() >= 2, "two workers want two CPUs, and there is one");
    let barrier = Arc::new(Barrier::new(2));
    let mut threads = Vec::new();
    for (n, &cpu) in cpus[..2].iter().enumerate() {
        let (eal, barrier) = (eal.clone(), Arc::clone(&barrier));
        let spawning = eal.clone();
        let work = move || worker(n, &eal, &barrier);
        threads.push(lcore::spawn(&spawning, &format!("worker{n}"), Some(cpu), work)?);
    }
    let mut times = Vec::new();
    for thread in threads {
        let done = thread.join().map_err(|_| anyhow!("a worker panicked"))?;
        times.push(done.context("a worker")?);
    }
    // Million packets per second, by round.
    let rate = |spent: Duration| (BURSTS * BURST) as f64 / spent.as_secs_f64() / 1e6;
    let one: Vec<f64> = times[0].iter().map(|round| rate(round.alone)).collect();
    let each = |n: usize, round: usize| rate(times[n][round].together);
    let two: Vec<f64> = (0..ROUNDS).map(|round| each(0, round) + each(1, round)).collect();
    // Each worker is compared with itself alone, because the CPUs may differ in speed.
    let ratio = |round: usize| -> f64 {
        (0..2).map(|n| each(n, round) / rate(times[n][round].alone)).sum()
    };
    let ratios: Vec<f64> = (0..ROUNDS).map(ratio).collect();
    let row = |what: &str, values: &[f64]| {
        let Measured { median, spread } = Measured::of(values);
        let spread = format!("{:.1} %", spread * 100.0);
        vec![json!(what), json!(format!("{median:.1}")), json!(spread)]
    };
    let rows = vec![row("one", &one), row("two", &two)];
    let columns = ["workers", "million packets per second", "spread"];
    let note = "With the source of the packets on the same CPU, which takes a quarter of the time.";
    part.table(("workers", "Workers, TCP hits of 65,536 flows each"), &columns, rows, note);
    let Measured { median, spread } = Measured::of(&ratios);
    part.at_least("Two workers over one", 1.8, "", median, spread);
    Ok(())
}

/// A worker's time in a round.
struct Round {
    alone: Duration,
    together: Duration,
}

fn worker(n: usize, eal: &Eal, barrier: &Barrier) -> Result<Vec<Round>> {
    let pool = Mempool::new(eal, &format!("worker{n}"), 255, 2048, 0, None)?;
    let subject = Subject::new(eal, &pool, &format!("worker{n}"), Kind::HIT, FLOWS, 1 << 18);
    // A worker that fails must not block the other, so both go through all rounds.
    let mut subject = subject.map_err(Some);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut take = |turn: bool| -> Duration {
            barrier.wait();
            if !turn {
                return Duration::ZERO;
            }
            match subject.as_mut().map(|subject| subject.take(BURSTS)) {
                Ok(Ok(spent)) => spent,
                Ok(Err(error)) => {
                    subject = Err(Some(error));
                    Duration::ZERO
                }
                Err(_) => Duration::ZERO,
            }
        };
        let alone = take(n == 0) + take(n == 1);
        let together = take(true);
        rounds.push(Round { alone, together });
    }
    match subject {
        Ok(_) => Ok(rounds),
        Err(error) => Err(error.unwrap_or_else(|| anyhow!("it failed"))),
    }
}
