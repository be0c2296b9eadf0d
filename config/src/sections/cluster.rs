//! `[cluster]`: the forwarders that share the virtual addresses.

use std::net::IpAddr;

use super::node::Sources;
use crate::declare::section;
use crate::findings::{Checked, Located};
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
    /// The position of the members, or else of the section.
    pub(crate) fn members_at(&self) -> usize {
        let first = self.members.as_ref().ok().and_then(|list| list.first());
        first.map_or(self.at, |first| first.at)
    }

    pub(crate) fn finish(self, sources: &Checked<Sources>) -> Checked<Cluster> {
        let (down, sources) = (self.down?, (*sources)?);
        let member = |address: IpAddr| Member {
            address,
            is_own: sources.has(address),
            is_down: down.iter().any(|down| down.value == address),
        };
        Ok(Cluster { members: self.members?.iter().map(|at| member(at.value)).collect() })
    }
}

pub(crate) fn read(root: &Section<'_>) -> ClusterDraft {
    const MEMBERS: &str = "members";
    let section = root.table("cluster", false);
    if !section.is_present() {
        return ClusterDraft { at: section.at, members: Ok(Vec::new()), down: Ok(Vec::new()) };
    }
    let mut draft = ClusterDraft::read(&section);
    section.distinct(MEMBERS, &draft.members);
    section.distinct("down", &draft.down);
    let Ok(members) = &draft.members else { return draft };
    for (index, &Located { value, at }) in draft.down.iter().flatten().enumerate() {
        if !members.iter().any(|member| member.value == value) {
            let message = format!("{value} is not among the members");
            section.mistake_in("down", index, at, message);
        }
    }
    let wrong = match members.get(MAX_MEMBERS) {
        Some(beyond) => {
            let message = format!("names {} nodes; there can be {MAX_MEMBERS}", members.len());
            section.mistake(beyond.at, MEMBERS, message)
        }
        None if members.is_empty() => {
            let message = "is empty; name all nodes, this one among them, or leave out [cluster]";
            section.mistake(section.at, MEMBERS, message)
        }
        None => return draft,
    };
    draft.members = Err(wrong);
    draft
}
