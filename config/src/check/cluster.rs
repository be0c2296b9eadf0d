//! The cluster's members must be other hosts within reach.

use super::addresses::OwnAddresses;
use super::draft::Draft;
use crate::text::family;

impl Draft<'_> {
    /// This node must be a member. The other members must be other hosts that this node can send to.
    pub(super) fn cluster(&self, own: &OwnAddresses) {
        const KEY: &str = "cluster.members";
        let (Ok(members), Ok(sources)) = (&self.cluster.members, self.node.sources) else { return };
        let first = "cluster.members[0]";
        if !members.is_empty() && !members.iter().any(|&member| sources.has(member)) {
            let message = "names no address of node.tunnel_source; a node is a member by it";
            self.root.mistake_at(first, KEY, message);
        }
        if members.iter().any(|m| m.is_ipv4()) && members.iter().any(|m| m.is_ipv6()) {
            let message = "has both families; a member sends from its tunnel_source of the \
                           receiver's family, so name those in tunnel.peers, or list one family";
            self.root.warn_at(first, KEY, message);
        }
        let vips = self.vips();
        let paths = members.iter().enumerate().map(|(index, &m)| (format!("{KEY}[{index}]"), m));
        let others: Vec<_> = paths.filter(|&(_, member)| !sources.has(member)).collect();
        for &(ref path, value) in &others {
            let message = match (own.get(value), vips.get(&value)) {
                (Some(own), _) => {
                    format!("{value} is {own}; a node is a member by its tunnel_source")
                }
                (None, Some(line)) => {
                    format!("{value} is the address of the service on line {line}")
                }
                (None, None) if !sources.has_family(value) => format!(
                    "{value} cannot be sent to: node.tunnel_source has no {} address",
                    family(value)
                ),
                (None, None) => continue,
            };
            self.root.mistake(path, message);
        }
        let others = others.into_iter().map(|(path, value)| (move || path.clone(), value));
        self.reach(others, "member", "fragments for them are dropped");
    }
}
