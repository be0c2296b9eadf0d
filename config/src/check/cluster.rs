//! The cluster's members must be other hosts within reach.

use std::net::IpAddr;

use super::addresses::OwnAddresses;
use super::draft::Draft;
use crate::findings::Located;
use crate::text::family;

impl Draft<'_> {
    /// This node must be a member. The other members must be other hosts that this node can send to.
    pub(super) fn cluster(&self, own: &OwnAddresses) {
        const KEY: &str = "cluster.members";
        let (Ok(members), Ok(sources)) = (&self.cluster.members, self.node.sources) else { return };
        let at = self.cluster.members_at();
        if !members.is_empty() && !members.iter().any(|member| sources.has(member.value)) {
            let message = "names no address of node.tunnel_source; a node is a member by it";
            self.findings.mistake(at, KEY, message);
        }
        if members.iter().any(|m| m.value.is_ipv4()) && members.iter().any(|m| m.value.is_ipv6()) {
            let message = "has both families; a member sends from its tunnel_source of the \
                           receiver's family, so name those in tunnel.peers, or list one family";
            self.findings.warn(at, KEY, message);
        }
        let vips = self.vips();
        let others: Vec<(usize, Located<IpAddr>)> = members
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, member)| !sources.has(member.value))
            .collect();
        for &(index, Located { value, at }) in &others {
            let message = match (own.get(value), vips.get(&value)) {
                (Some(own), _) => {
                    format!("{value} is {own}; a node is a member by its tunnel_source")
                }
                (None, Some(&vip)) => {
                    let line = self.findings.line(vip);
                    format!("{value} is the address of the service on line {line}")
                }
                (None, None) if !sources.has_family(value) => format!(
                    "{value} cannot be sent to: node.tunnel_source has no {} address",
                    family(value)
                ),
                (None, None) => continue,
            };
            self.findings.mistake(at, format!("{KEY}[{index}]"), message);
        }
        let others =
            others.into_iter().map(|(index, member)| (format!("cluster.members[{index}]"), member));
        self.reach(others, "member", "fragments for them are dropped");
    }
}
