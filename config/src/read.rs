//! From the text to a configuration: TOML, then each section, then the checks across them.

use std::sync::LazyLock;

use super::check::Draft;
use super::declare::Declaration;
use super::findings::{Checked, Findings, Mistake, Mistakes};
use super::model::Configuration;
use super::section::Section;
use super::sections::announce::{self, AnnounceDraft};
use super::sections::bgp::{self, BgpDraft, PeerDraft};
use super::sections::check::CheckDraft;
use super::sections::cluster::{self, ClusterDraft};
use super::sections::control::{self, ControlDraft};
use super::sections::dpdk::{self, DpdkDraft};
use super::sections::flow::{FlowDraft, TimeoutsDraft};
use super::sections::fragments::{self, FragmentsDraft};
use super::sections::hash::HashDraft;
use super::sections::icmp::IcmpDraft;
use super::sections::inclusion;
use super::sections::log::LogDraft;
use super::sections::metrics::{self, MetricsDraft};
use super::sections::names::Names;
use super::sections::neighbor::{self, NeighborDraft};
use super::sections::node::{self, NodeDraft};
use super::sections::pool::{self, PoolDraft, backend_declaration};
use super::sections::port::{self, PortDraft};
use super::sections::probe::ProbeDraft;
use super::sections::punt::{
    self, PuntDraft, PuntLinkLocalDraft, PuntMulticastDraft, PuntNeighborDraft, PuntOwnDraft,
    PuntProbeDraft, PuntRoutingDraft,
};
use super::sections::service::{self, ServiceDraft, ServiceEntry};
use super::sections::tunnel::{self, TunnelDraft};
use super::sections::vip::{self, VipDraft};
use super::tree::Table;
use super::{check, files, sections};

/// The declaration of every section, in the order of the reference.
pub fn declarations() -> Vec<Declaration> {
    vec![
        NodeDraft::declaration(),
        HashDraft::declaration(),
        DpdkDraft::declaration(),
        FlowDraft::declaration(),
        TimeoutsDraft::declaration(),
        IcmpDraft::declaration(),
        PuntDraft::declaration(),
        PuntRoutingDraft::declaration(),
        PuntNeighborDraft::declaration(),
        PuntProbeDraft::declaration(),
        PuntOwnDraft::declaration(),
        PuntLinkLocalDraft::declaration(),
        PuntMulticastDraft::declaration(),
        ControlDraft::declaration(),
        MetricsDraft::declaration(),
        LogDraft::declaration(),
        ClusterDraft::declaration(),
        TunnelDraft::declaration(),
        FragmentsDraft::declaration(),
        PortDraft::declaration(),
        NeighborDraft::declaration(),
        PoolDraft::declaration(),
        backend_declaration(),
        ServiceDraft::declaration(),
        CheckDraft::declaration(),
        ProbeDraft::declaration(),
        AnnounceDraft::declaration(),
        VipDraft::declaration(),
        BgpDraft::declaration(),
        PeerDraft::declaration(),
    ]
}

/// A valid configuration and its warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The configuration.
    pub configuration: Configuration,
    /// What is valid but probably a mistake, in the order of the text: at most [`super::MAX_LISTED`] warnings, and one
    /// with the number of the others.
    pub warnings: Vec<Mistake>,
}

/// Reads a whole configuration: the text of a file, or of several as [`super::Source`] joins them.
pub fn parse(text: &str) -> Result<Parsed, Mistakes> {
    let files = files::split(text);
    let findings = Findings::new(text, &files);
    let tree = files::tree(text, &files, &findings);
    let configuration = tree.and_then(|tree| read(&tree, &findings));
    // Every `Err` was reported, so that the mistakes are never empty then.
    match (configuration, findings.finish()) {
        (Ok(configuration), (None, warnings)) => Ok(Parsed { configuration, warnings }),
        (_, (mistakes, _)) => Err(mistakes.unwrap_or_default()),
    }
}

fn read(tree: &Table<'_>, findings: &Findings) -> Checked<Configuration> {
    let root = Section::root(findings, tree);
    let node = node::read(&root);
    let hash = HashDraft::read(&root.table("hash", true));
    let dpdk = dpdk::read(&root);
    let flow = FlowDraft::read(&root.table("flow", false));
    let icmp = IcmpDraft::read(&root.table("icmp", false));
    let punt = punt::read(&root);
    let control = control::read(&root);
    let metrics = metrics::read(&root);
    let log = LogDraft::read(&root.table("log", false));
    let ports = port::read(&root);
    let neighbors = neighbor::read(&root);
    let pools = pool::read(&root);
    let inclusions = inclusion::read(&root, &pools);
    let checks = sections::check::read(&root);
    let check_names = Names::new("check", &checks, |check| &check.name);
    let services = service::read(&root, &pools, &check_names);
    let of_pool = |(index, pool): (usize, &PoolDraft)| {
        check_names.find_all(&root, &format!("pool[{index}].checks"), &pool.checks)
    };
    let pool_checks = pools.iter().flatten().enumerate().map(of_pool).collect();
    let probe = ProbeDraft::read(&root.table("probe", false));
    let cluster = cluster::read(&root);
    let tunnel = tunnel::read(&root, &node.sources);
    let fragments = fragments::read(&root);
    let (announces, announce) = announce::read(&root);
    let vips = vip::read(&root);
    let bgp = bgp::read(&root);
    static NAMES: LazyLock<Vec<&str>> =
        LazyLock::new(|| declarations().iter().map(Declaration::path).collect());
    root.finish(&[&NAMES]);

    let draft = Draft {
        root: &root,
        node,
        hash,
        ports,
        neighbors,
        pools,
        inclusions,
        checks,
        pool_checks,
        probe,
        metrics,
        services,
        cluster,
        tunnel,
        announces,
        announce,
        vips,
        bgp,
    };
    check::check(&draft);

    let Draft { node, hash, ports, neighbors, pools, inclusions, services, .. } = draft;
    let Draft { checks, pool_checks, probe, metrics, .. } = draft;
    let Draft { cluster, tunnel, announces, announce, vips, bgp, .. } = draft;
    Ok(Configuration {
        cluster: cluster.finish(&node.sources)?,
        node: node.finish()?,
        hash: hash.finish()?,
        dpdk: dpdk.finish()?,
        flow: flow.finish()?,
        icmp: icmp.finish()?,
        punt: punt.finish()?,
        control: control.finish()?,
        metrics: metrics.finish()?,
        log: log.finish()?,
        tunnel: tunnel.finish()?,
        fragments: fragments.finish()?,
        ports: ports?.into_iter().map(PortDraft::finish).collect::<Checked<_>>()?,
        neighbors: neighbors?.into_iter().map(NeighborDraft::finish).collect::<Checked<_>>()?,
        pools: pools?
            .into_iter()
            .zip(inclusions)
            .zip(pool_checks)
            .map(|((pool, found), checks)| pool.finish(found?, checks?))
            .collect::<Checked<_>>()?,
        services: services?.into_iter().map(ServiceEntry::finish).collect::<Checked<_>>()?,
        announce: if announces { Some(announce.finish()?) } else { None },
        vips: vips?.into_iter().map(VipDraft::finish).collect::<Checked<_>>()?,
        bgp: bgp.finish()?,
        checks: checks?.into_iter().map(CheckDraft::finish).collect::<Checked<_>>()?,
        probe: probe.finish()?,
    })
}
