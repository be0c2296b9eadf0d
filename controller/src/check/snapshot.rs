//! What listings and metrics show of the checks: counts that the thread keeps, and a copy of everything for readers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use guideway_api::{CheckCode, CheckState, CheckTotals, CheckVia, Checks};

use guideway_chassis::wall::Wall;

use super::probe::Outcome;
use super::state::{Change, States};
use super::target::{Plan, TargetKey};

/// The upper bounds of the histogram's buckets, in seconds.
pub const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// How long an ICMP error is shown.
const ICMP_TIME: Duration = Duration::from_secs(60);

/// The period of which the greatest lateness is shown.
const LATE_PERIOD: Duration = Duration::from_secs(10);

/// How long the probes of a check took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Probes in each bucket, by [`BUCKETS`]; not added up.
    pub buckets: [u64; BUCKETS.len()],
    /// All probes.
    pub count: u64,
    /// The seconds of all.
    pub sum: f64,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BUCKETS.iter().position(|&bound| seconds <= bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// Everything that readers may want of the checks.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The states.
    pub checks: Checks,
    /// Targets, of which several pools may share one.
    pub targets: usize,
    /// Results, by check and code. They never fall.
    pub results: BTreeMap<(Arc<str>, CheckCode), u64>,
    /// How long probes took, by check.
    pub times: BTreeMap<Arc<str>, Histogram>,
    /// The ends of certificates in seconds since 1970, by check, pool and backend.
    pub certificates: Vec<([Arc<str>; 3], f64)>,
    /// Pools that keep failing backends.
    pub panics: BTreeSet<Arc<str>>,
    /// Pools with checks.
    pub pools: BTreeSet<Arc<str>>,
    /// The greatest lateness of the last seconds.
    pub late: Duration,
}

impl Snapshot {
    pub(super) fn of(states: &States, tally: &Tally, plan: &Plan) -> Snapshot {
        let mut rows: Vec<_> = states.rows().collect();
        for row in rows.iter_mut().filter(|row| row.via == CheckVia::Tunnel) {
            row.icmp = tally.icmp_of(row.address);
        }
        let certificates = tally.certificates.iter().flat_map(|(key, &ends)| {
            let members = plan.targets.get(key).into_iter().flat_map(|target| &target.members);
            members.map(move |member| {
                ([&key.check, &member.pool, &member.backend].map(Arc::clone), ends.0 as f64 / 1e3)
            })
        });
        let warnings = tally.warnings.values().cloned().collect();
        Snapshot {
            checks: Checks { frozen: states.frozen(), warnings, rows },
            targets: plan.targets.len(),
            results: tally.results.clone(),
            times: tally.times.clone(),
            certificates: certificates.collect(),
            panics: tally.panics.clone(),
            pools: plan.pools.keys().cloned().collect(),
            late: tally.greatest_late(),
        }
    }
}

impl Snapshot {
    /// The checks by their states; none without checks.
    pub fn totals(&self) -> Option<CheckTotals> {
        if self.targets == 0 {
            return None;
        }
        let rows = &self.checks.rows;
        let count = |state| rows.iter().filter(|row| row.state == state).count();
        Some(CheckTotals {
            unknown: count(CheckState::Unknown),
            up: count(CheckState::Up),
            draining: count(CheckState::Draining),
            down: count(CheckState::Down),
            kept: rows.iter().filter(|row| row.kept).count(),
            frozen: self.checks.frozen.clone(),
        })
    }
}

/// What the thread counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    results: BTreeMap<(Arc<str>, CheckCode), u64>,
    times: BTreeMap<Arc<str>, Histogram>,
    certificates: BTreeMap<TargetKey, Wall>,
    panics: BTreeSet<Arc<str>>,
    /// The addresses that have targets.
    addresses: BTreeSet<IpAddr>,
    /// The last ICMP error about packets to each of them.
    icmp: BTreeMap<IpAddr, (String, Instant)>,
    /// What keeps answers from passing, by interface.
    pub(super) warnings: BTreeMap<String, String>,
    /// The greatest lateness of this period and of the one before, and when this one began.
    late: [Duration; 2],
    period: Option<Instant>,
}

impl Tally {
    /// Follows another plan.
    pub(super) fn configure(&mut self, plan: &Plan) {
        self.certificates.retain(|key, _| plan.targets.contains_key(key));
        self.addresses = plan.targets.keys().map(|key| key.address).collect();
        self.icmp.retain(|address, _| self.addresses.contains(address));
        // A scrape finds each check, from the beginning.
        for key in plan.targets.keys() {
            self.times.entry(Arc::clone(&key.check)).or_default();
        }
    }

    /// Counts a result.
    pub(super) fn count(&mut self, key: &TargetKey, outcome: &Outcome) {
        *self.results.entry((Arc::clone(&key.check), outcome.code)).or_default() += 1;
        self.times.entry(Arc::clone(&key.check)).or_default().add(outcome.latency);
        if let Some(ends) = outcome.certificate_ends {
            // A certificate that ended before 1970 has ended for long.
            let ends = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
            let ends = u64::try_from(ends.as_millis()).unwrap_or(u64::MAX);
            self.certificates.insert(key.clone(), Wall(ends));
        }
    }

    /// When the certificate ends that a target has shown, as requests give times.
    pub(super) fn certificate_end_of(&self, key: &TargetKey) -> Option<String> {
        self.certificates.get(key).map(|ends| ends.rfc3339())
    }

    /// Takes note of pools that keep failing backends.
    pub(super) fn note(&mut self, change: &Change) {
        match change {
            Change::Panic { pool, .. } => _ = self.panics.insert(Arc::clone(pool)),
            Change::Calm { pool } => _ = self.panics.remove(pool),
            _ => {}
        }
    }

    /// Takes note of an ICMP error about packets to an address that has targets.
    pub(super) fn icmp(&mut self, about: IpAddr, words: String) {
        if self.addresses.contains(&about) {
            self.icmp.insert(about, (words, Instant::now()));
        }
    }

    /// The ICMP error about packets to this address, if one came lately.
    pub(super) fn icmp_of(&self, address: IpAddr) -> Option<String> {
        let (words, at) = self.icmp.get(&address)?;
        (at.elapsed() < ICMP_TIME).then(|| words.clone())
    }

    /// Takes note of how late the thread was.
    pub(super) fn late(&mut self, late: Duration) {
        let began = *self.period.get_or_insert_with(Instant::now);
        if began.elapsed() >= LATE_PERIOD {
            (self.late, self.period) = ([Duration::ZERO, self.late[0]], Some(Instant::now()));
        }
        self.late[0] = self.late[0].max(late);
    }

    fn greatest_late(&self) -> Duration {
        self.late[0].max(self.late[1])
    }
}
