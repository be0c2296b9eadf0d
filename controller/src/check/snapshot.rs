//! What listings and metrics show of the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use guideway_api::{CheckCode, Checks};

/// The upper bounds of the histogram's buckets, in seconds.
pub const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

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
