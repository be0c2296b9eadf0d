//! `[cluster]`: the forwarders that share the virtual addresses.

use std::net::IpAddr;

use super::node::Sources;
use crate::declare::section;
use crate::findings::Checked;
use crate::section::Section;
use crate::text::ROUTABLE;

/// More nodes than can share virtual addresses behind one router, which has dozens of equal-cost routes
/// at most.
const MAX_MEMBERS: usize = 256;

section! {
    /// The forwarders that share the virtual addresses.
    ///
    /// [Cluster](operations.md#cluster) says what members do for each other.
    "[cluster]" 0..=1 => ClusterDraft {
        /// The forwarders that share the virtual addresses, this node included, 1 to 256, equal on every
        /// node. Each by its `tunnel_source` (of a prefix, the first address).
        members: IpAddr = ROUTABLE, required_list "[\"192.0.2.1\", \"192.0.2.2\"]", reload;
        /// Members that own no fragments for now.
        down: IpAddr = ROUTABLE, list "[\"192.0.2.2\"]", reload;
    }
}

/// The forwarders that share the virtual addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `cluster.members`; empty without a cluster
    pub members: Vec<Member>,
}

/// A forwarder of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its tunnel source
    pub address: IpAddr,
    /// Whether it is this node
    pub is_own: bool,
    /// Whether `cluster.down` lists it
    pub is_down: bool,
}

impl ClusterDraft {
    pub(crate) fn finish(self, sources: &Checked<Sources>) -> Checked<Cluster> {
        let (down, sources) = (self.down?, (*sources)?);
        let member = |address: IpAddr| Member {
            address,
            is_own: sources.has(address),
            is_down: down.contains(&address),
        };
        Ok(Cluster { members: self.members?.into_iter().map(member).collect() })
    }
}

pub(crate) fn read(root: &Section<'_>) -> ClusterDraft {
    const MEMBERS: &str = "members";
    let section = root.table("cluster", false);
    if !section.is_present() {
        return ClusterDraft { members: Ok(Vec::new()), down: Ok(Vec::new()) };
    }
    let mut draft = ClusterDraft::read(&section);
    section.distinct(MEMBERS, &draft.members);
    section.distinct("down", &draft.down);
    let Ok(members) = &draft.members else { return draft };
    for (index, value) in draft.down.iter().flatten().enumerate() {
        if !members.contains(value) {
            let message = format!("{value} is not among the members");
            section.mistake(&format!("down[{index}]"), message);
        }
    }
    if members.len() > MAX_MEMBERS {
        let message = format!("names {} nodes; there can be {MAX_MEMBERS}", members.len());
        let beyond = format!("{MEMBERS}[{MAX_MEMBERS}]");
        draft.members = Err(section.mistake_at(&beyond, MEMBERS, message));
    } else if members.is_empty() {
        let message = "is empty; name all nodes, this one among them, or leave out [cluster]";
        draft.members = Err(section.mistake_at("", MEMBERS, message));
    }
    draft
}
