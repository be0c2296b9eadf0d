//! `[cluster]`: the forwarders that share the virtual addresses.

use std::net::IpAddr;

use super::findings::{Checked, Located};
use super::model::{Cluster, Member};
use super::node::Sources;
use super::section::Section;
use super::value;

/// More nodes than can share virtual addresses behind one router, which has dozens of equal-cost routes
/// at most.
const MAX_MEMBERS: usize = 256;

#[derive(Debug)]
pub(super) struct ClusterDraft {
    pub(super) members: Checked<Vec<Located<IpAddr>>>,
    down: Checked<Vec<Located<IpAddr>>>,
    /// The position of the members, or else of the section.
    pub(super) at: usize,
}

impl ClusterDraft {
    pub(super) fn finish(self, sources: &Checked<Sources>) -> Checked<Cluster> {
        let (down, sources) = (self.down?, (*sources)?);
        let member = |address: IpAddr| Member {
            address,
            is_own: sources.has(address),
            is_down: down.iter().any(|down| down.value == address),
        };
        Ok(Cluster { members: self.members?.iter().map(|at| member(at.value)).collect() })
    }
}

pub(super) fn read(mut section: Section<'_>) -> ClusterDraft {
    const MEMBERS: &str = "members";
    const DOWN: &str = "down";
    const EXAMPLE: &str = "[\"192.0.2.1\", \"192.0.2.2\"]";
    let given = section.list(MEMBERS, EXAMPLE, value::text(value::routable));
    let at = match &given {
        Ok(Some(list)) => list.first().map_or(section.at, |first| first.at),
        _ => section.at,
    };
    let members = given.and_then(|list| match list {
        None if section.is_present() => Err(section.missing(MEMBERS, EXAMPLE)),
        None => Ok(Vec::new()),
        Some(list) if list.is_empty() => {
            let message = "is empty; name all nodes, this one among them, or leave out [cluster]";
            Err(section.mistake(section.at, MEMBERS, message))
        }
        Some(list) => {
            if let Some(beyond) = list.get(MAX_MEMBERS) {
                let message = format!("names {} nodes; there can be {MAX_MEMBERS}", list.len());
                return Err(section.mistake(beyond.at, MEMBERS, message));
            }
            distinct(&section, MEMBERS, &list)?;
            Ok(list)
        }
    });
    let down = section.list(DOWN, "[\"192.0.2.2\"]", value::text(value::routable));
    let down = down.map(Option::unwrap_or_default).and_then(|list| {
        distinct(&section, DOWN, &list)?;
        let Ok(members) = &members else { return Ok(list) };
        let mut result = Ok(());
        for (index, &Located { value, at }) in list.iter().enumerate() {
            if !members.iter().any(|member| member.value == value) {
                let message = format!("{value} is not among the members");
                result = Err(section.mistake_in(DOWN, index, at, message));
            }
        }
        result.map(|()| list)
    });
    section.finish();
    ClusterDraft { members, down, at }
}

fn distinct(section: &Section<'_>, key: &str, list: &[Located<IpAddr>]) -> Checked<()> {
    let mut result = Ok(());
    for (index, &Located { value, at }) in list.iter().enumerate() {
        if list[..index].iter().any(|other| other.value == value) {
            let message = format!("{value} is listed twice; keep one");
            result = Err(section.mistake_in(key, index, at, message));
        }
    }
    result
}
