//! The configuration: TOML text in, a validated [`Configuration`] or every mistake out.
//!
//! The text becomes a tree that knows its lines, sections read that tree into drafts, and
//! cross-checks look at the drafts together. A mistake never ends the reading: each field is read
//! on its own, and a check is left out only where a field that it needs is wrong itself, so that an
//! operator sees in one run all there is to mend and nothing that merely follows from it.
//! Serde is not used here because it stops at the first error.
//!
//! | file | what |
//! |---|---|
//! | `source.rs` | the file, read within bounds |
//! | `model.rs` | what the program sees |
//! | `findings.rs` | mistakes and warnings, and how they are collected |
//! | `section.rs` | tables, required and optional keys, unknown keys |
//! | `value.rs` | what a single value may be |
//! | `syntax.rs` | mistakes of TOML itself |
//! | `eal.rs` | what may be passed through to DPDK |
//! | `node.rs`, `hash.rs`, `dpdk.rs`, ... | one section each |
//! | `encapsulation.rs` | the settings of encapsulations, which pools and backends have |
//! | `check/` | what no section can see by itself |
//! | `reload.rs` | what only a restart can change |

mod check;
mod cluster;
mod control;
mod device;
mod dpdk;
mod eal;
mod encapsulation;
mod findings;
mod flow;
mod fragments;
mod hash;
mod icmp;
mod model;
mod neighbor;
mod node;
mod pool;
mod port;
mod reload;
mod section;
mod service;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod tunnel;
mod value;

pub use findings::{MAX_LISTED, Mistake, Mistakes};
pub use model::*;
pub use source::{ReadError, Source};

use findings::{Checked, Findings};
use section::Section;

/// A valid configuration, and what in it is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What the text says.
    pub configuration: Configuration,
    /// What is valid but probably not meant, in line order; at most [`MAX_LISTED`], and one that says
    /// how many more there are.
    pub warnings: Vec<Mistake>,
}

/// Reads a whole configuration file.
pub fn parse(text: &str) -> Result<Parsed, Mistakes> {
    let findings = Findings::new(text);
    let configuration = syntax::tree(text, &findings).and_then(|tree| read(&tree, &findings));
    // Whoever returns `Err` has reported why, so that the mistakes are never empty then.
    match (configuration, findings.finish()) {
        (Ok(configuration), (None, warnings)) => Ok(Parsed { configuration, warnings }),
        (_, (mistakes, _)) => Err(mistakes.unwrap_or_default()),
    }
}

fn read(tree: &toml::de::DeTable<'_>, findings: &Findings) -> Checked<Configuration> {
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
        ports: ports?.into_iter().map(port::PortDraft::finish).collect::<Checked<_>>()?,
        neighbors: neighbors?.into_iter().map(|n| n.map(|n| n.value)).collect::<Checked<_>>()?,
        pools: pools?.into_iter().map(pool::PoolDraft::finish).collect::<Checked<_>>()?,
        services: services?
            .into_iter()
            .map(service::ServiceDraft::finish)
            .collect::<Checked<_>>()?,
    })
}
