//! What a metric is, and what its samples are made of.

use guideway_api::{BgpPeer, CheckRow, Vip};
use guideway_chassis::metrics::{Kind, Process, Watch, histogram, sample};
use prometheus::proto;

use crate::check::{BUCKETS, Snapshot};
use crate::manager::View;

/// What a scrape may ask for, by `?scope=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The controller and the node.
    Node,
    /// Each virtual address.
    Vips,
    /// Each BGP peer.
    Peers,
    /// The checks of backends.
    Checks,
}

impl Scope {
    pub(super) const ALL: [Scope; 4] = [Scope::Node, Scope::Vips, Scope::Peers, Scope::Checks];

    pub(super) fn name(self) -> &'static str {
        match self {
            Scope::Node => "node",
            Scope::Vips => "vips",
            Scope::Peers => "peers",
            Scope::Checks => "checks",
        }
    }
}

/// One metric of the list.
pub struct Metric {
    /// How it moves.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// What it means, in one or two sentences.
    pub help: &'static str,
    /// Who watches it.
    pub watch: Watch,
    pub(super) samples: Samples,
}

/// The samples of a metric. A value that is none is no sample.
pub(super) enum Samples {
    /// One, with the release as its label.
    Release,
    /// One.
    Node(fn(&Seen<'_>) -> Option<f64>),
    /// One of each address.
    Vips(fn(&Vip) -> bool),
    /// One of each peer. BIRD may not know it.
    Peers(fn(Option<&BgpPeer>) -> Option<f64>),
    /// One, of the checks.
    Checks(fn(&Snapshot) -> f64),
    /// One of each backend with each of its checks.
    Checked(fn(&CheckRow) -> f64),
    /// The results of each check, by code.
    Results,
    /// How long the probes of each check took.
    Times,
    /// When the certificate of each backend ends, as each check sees it.
    Certificates,
    /// One of each pool with checks: whether it keeps failing backends.
    Panics,
}

impl Metric {
    /// The scope that it belongs to.
    pub fn scope(&self) -> Scope {
        match self.samples {
            Samples::Release | Samples::Node(_) => Scope::Node,
            Samples::Vips(_) => Scope::Vips,
            Samples::Peers(_) => Scope::Peers,
            Samples::Checks(_)
            | Samples::Checked(_)
            | Samples::Results
            | Samples::Times
            | Samples::Certificates
            | Samples::Panics => Scope::Checks,
        }
    }

    /// The names of its labels.
    pub fn labels(&self) -> &'static [&'static str] {
        match self.samples {
            Samples::Release => &["version"],
            Samples::Node(_) | Samples::Checks(_) => &[],
            Samples::Vips(_) => &["address"],
            Samples::Peers(_) => &["peer"],
            Samples::Checked(_) | Samples::Certificates => &["check", "pool", "backend"],
            Samples::Results => &["check", "code"],
            Samples::Times => &["check"],
            Samples::Panics => &["pool"],
        }
    }

    pub(super) fn samples(&self, seen: &Seen<'_>) -> Vec<proto::Metric> {
        let of = |label: &str, value| sample(self.kind, &[(self.labels()[0], label)], value);
        match self.samples {
            Samples::Release => vec![of(env!("CARGO_PKG_VERSION"), 1.0)],
            Samples::Node(value) => {
                value(seen).map(|value| sample(self.kind, &[], value)).into_iter().collect()
            }
            Samples::Vips(is_so) => {
                let vips = seen.view.vips.iter();
                vips.map(|vip| of(&vip.address.to_string(), truth(is_so(vip)))).collect()
            }
            Samples::Peers(value) => {
                let configuration = seen.view.configuration.iter().filter(|_| seen.is_managed());
                let peers = configuration.flat_map(|it| &it.bgp.peers);
                let session = |name: &str| seen.view.sessions.iter().find(|it| it.name == name);
                let samples = peers.filter_map(|it| Some(of(&it.name, value(session(&it.name))?)));
                samples.collect()
            }
            _ => seen.checks.map(|checks| self.of_checks(checks)).unwrap_or_default(),
        }
    }

    /// The samples of a metric of checks.
    fn of_checks(&self, checks: &Snapshot) -> Vec<proto::Metric> {
        let of = |labels: &[&str], value| {
            let labels: Vec<_> =
                self.labels().iter().copied().zip(labels.iter().copied()).collect();
            sample(self.kind, &labels, value)
        };
        match self.samples {
            Samples::Checks(value) => vec![of(&[], value(checks))],
            Samples::Checked(value) => {
                let rows = checks.checks.rows.iter();
                rows.map(|row| of(&[&row.check, &row.pool, &row.backend], value(row))).collect()
            }
            Samples::Results => {
                let results = checks.results.iter();
                results.map(|((check, code), &n)| of(&[check, code.name()], n as f64)).collect()
            }
            Samples::Times => {
                let times = checks.times.iter();
                let samples = times.map(|(check, times)| {
                    let buckets = BUCKETS.into_iter().zip(times.buckets);
                    histogram(&[("check", check)], buckets, (times.count, times.sum))
                });
                samples.collect()
            }
            Samples::Certificates => {
                let certificates = checks.certificates.iter();
                certificates
                    .map(|([check, pool, backend], ends)| of(&[check, pool, backend], *ends))
                    .collect()
            }
            Samples::Panics => {
                let pools = checks.pools.iter();
                pools.map(|pool| of(&[pool], truth(checks.panics.contains(pool)))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What a page is made of.
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
    /// None without checks.
    pub(super) checks: Option<&'a Snapshot>,
    pub(super) is_stored: bool,
    pub(super) process: Process,
}

impl Seen<'_> {
    pub(super) fn is_managed(&self) -> bool {
        self.view.bgp == Some(guideway_api::BgpMode::Managed)
    }
}

pub(super) fn truth(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}
