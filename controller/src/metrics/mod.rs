//! Metrics for Prometheus: what the manager has decided and knows, as the page `/metrics`.
//!
//! | file | what |
//! |---|---|
//! | `list.rs` | every metric, in one list |
//!
//! A page is made of one view of the manager, and takes no lock.

mod list;

use bytes::{Bytes, BytesMut};
use guideway_api::{BgpPeer, Vip};
use guideway_chassis::http::Query;
use guideway_chassis::metrics::{CONTROLLER, HEAD, Kind, Process, Watch, row, sample, write};
use prometheus::proto;

use crate::manager::View;

pub use list::METRICS;

/// What a scrape may ask for, by `?scope=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The controller and the node.
    Node,
    /// Each virtual address.
    Vips,
    /// Each BGP peer.
    Peers,
}

impl Scope {
    const ALL: [Scope; 3] = [Scope::Node, Scope::Vips, Scope::Peers];

    fn name(self) -> &'static str {
        match self {
            Scope::Node => "node",
            Scope::Vips => "vips",
            Scope::Peers => "peers",
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
    samples: Samples,
}

/// The samples of a metric. A value that is none is no sample.
enum Samples {
    /// One, with the release as its label.
    Release,
    /// One.
    Node(fn(&Seen<'_>) -> Option<f64>),
    /// One of each address.
    Vips(fn(&Vip) -> bool),
    /// One of each peer. BIRD may not know it.
    Peers(fn(Option<&BgpPeer>) -> Option<f64>),
}

impl Metric {
    /// The scope that it belongs to.
    pub fn scope(&self) -> Scope {
        match self.samples {
            Samples::Release | Samples::Node(_) => Scope::Node,
            Samples::Vips(_) => Scope::Vips,
            Samples::Peers(_) => Scope::Peers,
        }
    }

    /// The names of its labels.
    pub fn labels(&self) -> &'static [&'static str] {
        match self.samples {
            Samples::Release => &["version"],
            Samples::Node(_) => &[],
            Samples::Vips(_) => &["address"],
            Samples::Peers(_) => &["peer"],
        }
    }

    fn samples(&self, seen: &Seen<'_>) -> Vec<proto::Metric> {
        let of = |label: &str, value| sample(self.kind, &[(self.labels()[0], label)], value);
        match self.samples {
            Samples::Release => vec![of(env!("CARGO_PKG_VERSION"), 1.0)],
            Samples::Node(value) => {
                value(seen).map(|value| sample(self.kind, &[], value)).into_iter().collect()
            }
            Samples::Vips(is_so) => {
                let vips = seen.view.vips.iter();
                vips.map(|vip| of(&vip.address.to_string(), list::truth(is_so(vip)))).collect()
            }
            Samples::Peers(value) => {
                let configuration = seen.view.configuration.iter().filter(|_| seen.is_managed());
                let peers = configuration.flat_map(|it| &it.bgp.peers);
                let session = |name: &str| seen.view.sessions.iter().find(|it| it.name == name);
                let samples = peers.filter_map(|it| Some(of(&it.name, value(session(&it.name))?)));
                samples.collect()
            }
        }
    }
}

/// What a page is made of.
struct Seen<'a> {
    view: &'a View,
    is_stored: bool,
    process: Process,
}

/// The page for a query.
///
/// # Errors
/// What is wrong with the query.
pub fn page(view: &View, is_stored: bool, query: &Query) -> Result<Bytes, String> {
    let names = || Scope::ALL.map(Scope::name);
    if let Some(unknown) = query.scope.iter().find(|scope| !names().contains(&scope.as_str())) {
        return Err(format!("there is no scope {unknown:?}; there are {}", names().join(", ")));
    }
    if !query.name.is_empty() {
        return Err("the controller's metrics are not narrowed by name; there is scope".to_owned());
    }
    let seen = Seen { view, is_stored, process: Process::read() };
    let mut page = BytesMut::new();
    let is_wanted = |metric: &&Metric| {
        let scope = metric.scope().name();
        query.scope.is_empty() || query.scope.iter().any(|wanted| wanted == scope)
    };
    for metric in METRICS.iter().filter(is_wanted) {
        write(metric.kind, metric.name, metric.help, metric.samples(&seen), &mut page);
    }
    Ok(page.freeze())
}

/// The controller's part of `docs/metrics.md`.
pub fn reference() -> String {
    let mut page = CONTROLLER.to_owned();
    page += "
<!-- Written by ci/reference.sh from the list in controller/src/metrics/list.rs: edit that. -->

Every metric of the controller's own `/metrics`, which it serves at `--listen`. `?scope=node`, `vips` or `peers` gives a part of
them. It has the metrics `process_*` too, with the meaning that they have above.
";
    for scope in Scope::ALL {
        let about = match scope {
            Scope::Node => "The controller, and the node as it sees it.",
            Scope::Vips => "A virtual address is named by itself.",
            Scope::Peers => {
                "A peer is named by `bgp.peer.name`. They are there if `announce.bgp` is `\"managed\"`."
            }
        };
        page += &format!("\n### Controller: `{}`\n\n{about}\n\n{HEAD}", scope.name());
        let is_own =
            |metric: &&Metric| metric.scope() == scope && !metric.name.starts_with("process_");
        for metric in METRICS.iter().filter(is_own) {
            page += &row(metric.kind, metric.name, metric.labels(), metric.help, metric.watch);
        }
    }
    page
}

#[cfg(test)]
mod tests;
