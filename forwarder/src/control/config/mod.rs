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
//! | `machine.rs`, `network.rs`, `balancing.rs` | the sections |
//! | `tunnel.rs` | what pools and backends say of encapsulations |
//! | `fleet.rs` | the sections about other forwarders and about fragments |
//! | `cross.rs` | what no section can see by itself |
//! | `route.rs` | the next hop of a backend |
//! | `reload.rs` | what only a restart can change |

mod balancing;
mod cross;
mod device;
mod eal;
mod findings;
mod fleet;
mod machine;
mod model;
mod network;
mod reload;
mod route;
mod section;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod tunnel;
mod value;
mod warnings;

pub use findings::{MAX_LISTED, Mistake, Mistakes};
pub use model::*;
pub use route::{NextHop, Routes};
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
    let node = machine::node(root.table("node", true));
    let hash = machine::hash(root.table("hash", true));
    let dpdk = machine::dpdk(root.table("dpdk", true));
    let flow = machine::flow(root.table("flow", false));
    let icmp = machine::icmp(root.table("icmp", false));
    let control = machine::control(root.table("control", false));
    let ports = network::ports(&mut root);
    let neighbors = network::neighbors(&mut root);
    let pools = balancing::pools(&mut root);
    let services = balancing::services(&mut root, &pools);
    let cluster = fleet::cluster(root.table("cluster", false));
    let tunnel = fleet::tunnel(root.table("tunnel", false), &node.sources);
    let fragments = fleet::fragments(root.table("fragments", false));
    root.finish();

    let draft = cross::Draft {
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
    draft.check();
    draft.warnings();

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
        ports: ports?.into_iter().map(network::PortDraft::finish).collect::<Checked<_>>()?,
        neighbors: neighbors?.into_iter().map(|n| n.map(|n| n.value)).collect::<Checked<_>>()?,
        pools: pools?.into_iter().map(balancing::PoolDraft::finish).collect::<Checked<_>>()?,
        services: services?
            .into_iter()
            .map(balancing::ServiceDraft::finish)
            .collect::<Checked<_>>()?,
    })
}
