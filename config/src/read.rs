//! From the text to a configuration: TOML, then each section, then the checks across them.

use toml::de::DeTable;

use super::findings::{Checked, Findings, Mistake, Mistakes};
use super::model::Configuration;
use super::pool::PoolDraft;
use super::port::PortDraft;
use super::section::Section;
use super::service::ServiceDraft;
use super::{
    check, cluster, control, dpdk, flow, fragments, hash, icmp, neighbor, node, pool, port,
    service, syntax, tunnel,
};

/// A valid configuration and its warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The configuration.
    pub configuration: Configuration,
    /// What is valid but probably a mistake, in line order: at most [`super::MAX_LISTED`] warnings, and one
    /// with the number of the others.
    pub warnings: Vec<Mistake>,
}

/// Reads a whole configuration file.
pub fn parse(text: &str) -> Result<Parsed, Mistakes> {
    let findings = Findings::new(text);
    let configuration = syntax::tree(text, &findings).and_then(|tree| read(&tree, &findings));
    // Every `Err` was reported, so that the mistakes are never empty then.
    match (configuration, findings.finish()) {
        (Ok(configuration), (None, warnings)) => Ok(Parsed { configuration, warnings }),
        (_, (mistakes, _)) => Err(mistakes.unwrap_or_default()),
    }
}

fn read(tree: &DeTable<'_>, findings: &Findings) -> Checked<Configuration> {
    let mut root = Section::root(findings, tree);
    let node = node::read(root.table("node", true));
    let hash = hash::read(root.table("hash", true));
    let dpdk = dpdk::read(root.table("dpdk", true));
    let flow = flow::read(root.table("flow", false));
    let icmp = icmp::read(root.table("icmp", false));
    let control = control::read(root.table("control", false));
    let ports = port::read(&mut root);
    let neighbors = neighbor::read(&mut root);
    let pools = pool::read(&mut root);
    let services = service::read(&mut root, &pools);
    let cluster = cluster::read(root.table("cluster", false));
    let tunnel = tunnel::read(root.table("tunnel", false), &node.sources);
    let fragments = fragments::read(root.table("fragments", false));
    root.finish();

    let draft = check::Draft {
        findings,
        node: &node,
        hash: &hash,
        ports: &ports,
        neighbors: &neighbors,
        pools: &pools,
        services: &services,
        cluster: &cluster,
        tunnel: &tunnel,
    };
    check::check(&draft);

    let cluster = cluster.finish(&node.sources);
    Ok(Configuration {
        cluster: cluster?,
        tunnel: tunnel?,
        fragments: fragments?,
        node: node.finish()?,
        hash: hash.finish()?,
        dpdk: dpdk?,
        flow: flow?,
        icmp: icmp?,
        control: control?,
        ports: ports?.into_iter().map(PortDraft::finish).collect::<Checked<_>>()?,
        neighbors: neighbors?.into_iter().map(|n| n.map(|n| n.value)).collect::<Checked<_>>()?,
        pools: pools?.into_iter().map(PoolDraft::finish).collect::<Checked<_>>()?,
        services: services?.into_iter().map(ServiceDraft::finish).collect::<Checked<_>>()?,
    })
}
