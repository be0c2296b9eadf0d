//! One look at everything.

use std::time::{Duration, Instant};

use guideway_api::Happening;
use guideway_core::stats::{Counter as WorkerCounter, Reader};

use super::buffers::Level;
use super::flood::{Counter, Flood};
use super::force::Force;
use super::heartbeat::Heartbeat;
use super::{PERIOD, SECOND};
use crate::daemon::Daemon;
use crate::progress::Progress;

/// What a look at the node found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// When.
    pub at: Instant,
    /// For each worker the time since its last round.
    pub heartbeats: Vec<Duration>,
    /// For each port whether it is up.
    pub ports: Vec<bool>,
    /// For each pool of packet buffers how many are free, if there are few.
    pub low: Vec<Option<u32>>,
    /// The oldest generation that some worker does not run, and for how long.
    pub waiting: Option<(u64, Duration)>,
}

/// What the counters say, or whoever is asked.
#[derive(Clone, Debug, Default)]
struct Seen {
    rounds: Vec<u64>,
    published: u64,
    in_force: u64,
    /// What is looked at once a second.
    slow: Option<Slow>,
}

#[derive(Clone, Debug, Default)]
struct Slow {
    ports: Vec<bool>,
    /// The name of each pool of packet buffers, its free buffers and all its buffers.
    buffers: Vec<(String, u32, u32)>,
    floods: Vec<u64>,
}

/// What the looks before have left.
#[derive(Debug)]
pub(super) struct Rounds {
    last: Instant,
    last_slow: Option<Instant>,
    heartbeats: Vec<Heartbeat>,
    force: Force,
    counters: Vec<Counter>,
    floods: Vec<Flood>,
    levels: Vec<Level>,
    ports: Vec<bool>,
}

impl Rounds {
    /// Before the first look.
    pub(super) fn new(now: Instant) -> Rounds {
        let counters: Vec<_> = Counter::all().collect();
        Rounds {
            last: now,
            last_slow: None,
            heartbeats: Vec::new(),
            force: Force::default(),
            floods: vec![Flood::default(); counters.len()],
            counters,
            levels: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// Looks at the daemon. Returns what was found and what has happened.
    pub(super) fn look(&mut self, now: Instant, daemon: &Daemon) -> (Findings, Vec<Happening>) {
        let seen = self.see(now, daemon);
        self.judge(now, seen)
    }

    fn see(&self, now: Instant, daemon: &Daemon) -> Seen {
        let overview = daemon.overview();
        let workers = || overview.workers.iter().map(|worker| &worker.stats);
        // A little early rather than a whole look late.
        let is_due = |last: Instant| now.duration_since(last) + PERIOD / 2 >= SECOND;
        // What is in force is read first: it is never newer than what is published.
        let in_force = Progress::of(workers()).generation;
        Seen {
            in_force,
            published: overview.published.load().generation,
            rounds: workers().map(|stats: &Reader| stats.counter(WorkerCounter::Polls)).collect(),
            slow: self.last_slow.is_none_or(is_due).then(|| Slow {
                ports: overview.ports.iter().map(|port| (port.is_up)()).collect(),
                buffers: daemon
                    .buffers()
                    .iter()
                    .map(|pool| (pool.name.clone(), (pool.probe)(), pool.total))
                    .collect(),
                floods: self.counters.iter().map(|counter| counter.read(workers())).collect(),
            }),
        }
    }

    fn judge(&mut self, now: Instant, seen: Seen) -> (Findings, Vec<Happening>) {
        let passed = now.duration_since(self.last);
        self.last = now;
        let mut happened = Vec::new();
        self.heartbeats.resize_with(seen.rounds.len(), Heartbeat::default);
        for ((worker, heart), rounds) in self.heartbeats.iter_mut().enumerate().zip(seen.rounds) {
            happened.extend(heart.note(worker, rounds, passed));
        }
        self.force.note(seen.published, seen.in_force, passed);
        if let Some(slow) = seen.slow {
            let passed = self.last_slow.map_or(SECOND, |last| now.duration_since(last));
            self.last_slow = Some(now);
            self.ports = slow.ports;
            self.levels.resize_with(slow.buffers.len(), Level::default);
            for (level, (name, free, total)) in self.levels.iter_mut().zip(slow.buffers) {
                happened.extend(level.note(&name, free, total));
            }
            let counted = self.counters.iter().zip(slow.floods);
            for (flood, (counter, count)) in self.floods.iter_mut().zip(counted) {
                happened.extend(flood.note(counter.name(), count, passed));
            }
        }
        let findings = Findings {
            at: now,
            heartbeats: self.heartbeats.iter().map(Heartbeat::age).collect(),
            ports: self.ports.clone(),
            low: self.levels.iter().map(Level::low).collect(),
            waiting: self.force.waiting(),
        };
        (findings, happened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_joins_what_each_part_finds() {
        let begin = Instant::now();
        let mut rounds = Rounds::new(begin);
        let slow = |free, flood| {
            let mut floods = vec![0; Counter::all().count()];
            floods[0] = flood;
            let buffers = vec![("packets".to_owned(), free, 1000)];
            Some(Slow { ports: vec![true, false], buffers, floods })
        };
        let seen = |tenths: u64, slow| Seen {
            rounds: vec![tenths, tenths.min(3)],
            published: 2,
            in_force: 1,
            slow,
        };
        let mut happened = Vec::new();
        let mut last = None;
        for tenths in 0..=20 {
            let slow = match tenths {
                0 => slow(900, 10),
                10 => slow(49, 109),
                20 => slow(900, 1000),
                _ => None,
            };
            let now = begin + PERIOD * u32::try_from(tenths).unwrap();
            let (findings, new) = rounds.judge(now, seen(tenths, slow));
            happened.extend(new.iter().map(|happening| (tenths, happening.name())));
            last = Some(findings);
        }
        assert_eq!(
            happened,
            [
                (10, "buffers_low"),
                (13, "worker_stalled"),
                (20, "buffers_recovered"),
                (20, "flood_began"),
            ]
        );
        let last = last.unwrap();
        assert_eq!(last.heartbeats, [Duration::ZERO, PERIOD * 17]);
        assert_eq!((last.ports, last.low), (vec![true, false], vec![None]));
        assert_eq!(last.waiting, Some((2, PERIOD * 20)));
    }

    #[test]
    fn slow_looks_come_once_a_second() {
        let begin = Instant::now();
        let mut rounds = Rounds::new(begin);
        let is_due = |rounds: &Rounds, at: Instant| {
            rounds.last_slow.is_none_or(|last| at.duration_since(last) + PERIOD / 2 >= SECOND)
        };
        let mut looks = 0;
        for tenths in 0..100 {
            let now = begin + PERIOD * tenths;
            let slow = is_due(&rounds, now).then(Slow::default);
            looks += u32::from(slow.is_some());
            rounds.judge(now, Seen { slow, ..Seen::default() });
        }
        assert_eq!(looks, 10);
    }
}
