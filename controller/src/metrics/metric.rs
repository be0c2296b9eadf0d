//! What a metric is, and what its samples are made of.

use guideway_api::{BgpPeer, Vip};
use guideway_chassis::metrics::{Kind, Process, Watch, sample};
use prometheus::proto;

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
}

impl Scope {
    pub(super) const ALL: [Scope; 3] = [Scope::Node, Scope::Vips, Scope::Peers];

    pub(super) fn name(self) -> &'static str {
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
        }
    }
}

/// What a page is made of.
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
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
