//! When which target is probed: a plain value that is told the time.
//!
//! The first probes of targets are spread over `check.spread`, so that servers and network see no burst. Each interval is
//! longer or shorter by up to `check.jitter` percent, so that targets that met by chance part again. A target has one
//! probe in flight at the most: it is due again only once that has ended.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use guideway_config::Check;

use super::target::{Plan, TargetKey};

/// When targets are due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<TargetKey, Entry>,
    /// Times at which entries are due. One whose token is not that of its entry is out of date.
    due: BinaryHeap<Reverse<(Instant, u64, TargetKey)>>,
    /// The last token.
    token: u64,
    random: Random,
}

#[derive(Debug)]
struct Entry {
    token: u64,
    /// When it is due, or when its probe began.
    at: Instant,
    is_in_flight: bool,
}

impl Schedule {
    /// Follows another plan. Targets that it had before keep their times.
    pub(super) fn configure(&mut self, plan: &Plan, now: Instant) {
        self.entries.retain(|key, _| plan.targets.contains_key(key));
        for (key, target) in &plan.targets {
            if !self.entries.contains_key(key) {
                let at = now + self.random.part_of(target.check.spread);
                self.put(key.clone(), at);
            }
        }
        // Out-of-date times of targets that are gone would pile up over many plans.
        let entries = &self.entries;
        let is_current = |token: u64, key: &TargetKey| {
            entries.get(key).is_some_and(|entry| entry.token == token && !entry.is_in_flight)
        };
        self.due.retain(|Reverse((_, token, key))| is_current(*token, key));
    }

    fn put(&mut self, key: TargetKey, at: Instant) {
        self.token += 1;
        let token = self.token;
        self.entries.insert(key.clone(), Entry { token, at, is_in_flight: false });
        self.due.push(Reverse((at, token, key)));
    }

    /// The next target that is due, and since when. It counts as in flight until [`Schedule::ended`].
    pub(super) fn begin(&mut self, now: Instant) -> Option<(TargetKey, Instant)> {
        loop {
            let &Reverse((at, token, _)) = self.due.peek()?;
            if at > now {
                return None;
            }
            let Reverse((_, _, key)) = self.due.pop()?;
            if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.token == token) {
                (entry.is_in_flight, entry.at) = (true, now);
                return Some((key, at));
            }
        }
    }

    /// A target's probe has ended. The next one begins `interval` after the last one began, give or take the check's
    /// jitter.
    pub(super) fn ended(
        &mut self,
        key: &TargetKey,
        check: &Check,
        interval: Duration,
        now: Instant,
    ) {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.is_in_flight) else { return };
        let jitter = interval * u32::from(check.jitter) / 100;
        let at = entry.at + interval.saturating_sub(jitter) + self.random.part_of(2 * jitter);
        self.put(key.clone(), at.max(now));
    }

    /// When the next target is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|&Reverse((at, ..))| at)
    }

    /// When a target is due; none while its probe is in flight.
    pub(super) fn due(&self, key: &TargetKey) -> Option<Instant> {
        self.entries.get(key).filter(|entry| !entry.is_in_flight).map(|entry| entry.at)
    }
}

/// Numbers that no other node has in the same order. They need not be unpredictable.
#[derive(Debug, Default)]
pub(super) struct Random {
    state: RandomState,
    count: u64,
}

impl Random {
    /// A part of this time, each as likely.
    pub(super) fn part_of(&mut self, time: Duration) -> Duration {
        self.count += 1;
        let share = self.state.hash_one(self.count) >> 32;
        let nanoseconds = (time.as_nanos() * u128::from(share)) >> 32;
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::check::testing::plan;

    const SECOND: Duration = Duration::from_secs(1);

    /// The keys in the order in which they come due until `end`, with the times.
    fn run(schedule: &mut Schedule, check: &Check, begin: Instant, end: Instant) -> Vec<Instant> {
        let (mut now, mut times) = (begin, Vec::new());
        while let Some(next) = schedule.next().filter(|&next| next <= end) {
            now = now.max(next);
            while let Some((key, _)) = schedule.begin(now) {
                times.push(now);
                schedule.ended(&key, check, check.interval, now);
            }
        }
        times
    }

    #[test]
    fn first_probes_are_spread_and_all_come() {
        let plan = plan(250);
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.configure(&plan, now);
        let mut of_tenths = [0; 10];
        let mut seen = 0;
        for tenth in 0..10_u32 {
            let until = now + SECOND * 2 * (tenth + 1) / 10;
            while schedule.begin(until).is_some() {
                of_tenths[tenth as usize] += 1;
                seen += 1;
            }
        }
        assert_eq!(seen, 250, "one each, since none has ended");
        assert!(of_tenths.iter().all(|count| (8..=48).contains(count)), "{of_tenths:?}");
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn intervals_vary_by_the_jitter_alone() {
        let plan = plan(1);
        let check = Arc::clone(&plan.targets.values().next().unwrap().check);
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.configure(&plan, now);
        let times = run(&mut schedule, &check, now, now + SECOND * 200);
        let intervals: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let jitter = check.interval / 10;
        let is_within = |interval: &Duration| {
            (check.interval - jitter..=check.interval + jitter).contains(interval)
        };
        assert!(intervals.iter().all(is_within), "{intervals:?}");
        let sum: Duration = intervals.iter().sum();
        let mean = sum / u32::try_from(intervals.len()).unwrap();
        assert!(mean.abs_diff(check.interval) < check.interval / 50, "{mean:?}");
        assert!(intervals.iter().max().unwrap().abs_diff(check.interval) > jitter / 2);
    }

    #[test]
    fn a_target_is_in_flight_once() {
        let plan = plan(3);
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.configure(&plan, now);
        let later = now + SECOND * 10;
        let mut begun: Vec<_> = std::iter::from_fn(|| schedule.begin(later)).collect();
        begun.sort();
        begun.dedup_by_key(|(key, _)| key.clone());
        assert_eq!(begun.len(), 3);
        assert_eq!(schedule.due(&begun[0].0), None);
        let (key, target) = plan.targets.first_key_value().unwrap();
        // It took long: the next probe begins at once, not twice.
        schedule.ended(key, &target.check, SECOND, later + SECOND * 60);
        schedule.ended(key, &target.check, SECOND, later + SECOND * 60);
        assert_eq!(schedule.due(key), Some(later + SECOND * 60));
        assert!(schedule.begin(later + SECOND * 60).is_some());
        assert!(schedule.begin(later + SECOND * 60).is_none());
    }

    #[test]
    fn another_plan_keeps_the_times_of_targets_that_stay() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.configure(&plan(20), now);
        let before: Vec<_> = plan(10).targets.keys().map(|key| schedule.due(key)).collect();
        schedule.configure(&plan(10), now + SECOND);
        let after: Vec<_> = plan(10).targets.keys().map(|key| schedule.due(key)).collect();
        assert_eq!(before, after);
        let begun = std::iter::from_fn(|| schedule.begin(now + SECOND * 60)).count();
        assert_eq!(begun, 10);
        for _ in 0..1000 {
            schedule.configure(&plan(0), now);
            schedule.configure(&plan(10), now);
        }
        assert!(schedule.due.len() <= 10, "{}", schedule.due.len());
    }

    #[test]
    fn a_probe_that_ends_after_its_target_is_gone_is_nothing() {
        let plan_of_one = plan(1);
        let (key, target) = plan_of_one.targets.first_key_value().unwrap();
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.configure(&plan_of_one, now);
        assert!(schedule.begin(now + SECOND * 60).is_some());
        schedule.configure(&plan(0), now);
        schedule.ended(key, &target.check, SECOND, now);
        assert_eq!(schedule.next(), None);
    }
}
