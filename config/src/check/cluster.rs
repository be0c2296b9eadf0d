//! The cluster's members must be other hosts within reach.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::addresses::OwnAddresses;
use super::draft::Draft;
use crate::findings::{Located, count};
use crate::value::family;

impl Draft<'_> {
    /// This node must be a member. The other members must be other hosts that this node can send to.
    pub(super) fn cluster(&self, own: &OwnAddresses) {
        const KEY: &str = "cluster.members";
        let (Ok(members), Ok(sources)) = (&self.cluster.members, self.node.sources) else { return };
        if !members.is_empty() && !members.iter().any(|member| sources.has(member.value)) {
            let message = "names no address of node.tunnel_source; a node is a member by it";
            self.findings.mistake(self.cluster.at, KEY, message);
        }
        if members.iter().any(|m| m.value.is_ipv4()) && members.iter().any(|m| m.value.is_ipv6()) {
            let message = "has both families; a member sends from its tunnel_source of the \
                           receiver's family, so name those in tunnel.peers, or list one family";
            self.findings.warn(self.cluster.at, KEY, message);
        }
        let services = self.services.iter().flatten();
        let vips: HashMap<IpAddr, usize> = services
            .filter_map(|service| service.address.as_ref().ok())
            .map(|address| (address.value, address.at))
            .collect();
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
        self.routes_to(&others);
    }

    fn routes_to(&self, others: &[(usize, Located<IpAddr>)]) {
        if !self.knows_all_networks() {
            return;
        }
        let routes = self.routes();
        let mut unresolved: BTreeMap<IpAddr, (usize, usize, usize)> = BTreeMap::new();
        for &(index, Located { value, at }) in others {
            match routes.next_hop(value) {
                None => {
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has an \
                         {} gateway; add one of the two, or a [[neighbor]]",
                        family(value)
                    );
                    self.findings.mistake(at, format!("cluster.members[{index}]"), message);
                }
                Some(hop) if hop.mac.is_none() => {
                    unresolved.entry(hop.address).or_insert((index, at, 0)).2 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (index, at, members)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: fragments for them are dropped as \
                 next_hop_unresolved until it has one",
                count(members, "member")
            );
            self.findings.warn(at, format!("cluster.members[{index}]"), message);
        }
    }
}
