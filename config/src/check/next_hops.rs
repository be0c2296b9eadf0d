//! Every backend and every other member of the cluster must have a next hop.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::Draft;
use crate::findings::{Located, count};
use crate::text::family;

impl Draft<'_> {
    pub(super) fn next_hops(&self) {
        let backends = self.addressed_backends();
        let targets = backends.map(|(entry, address)| (entry.key("address"), address));
        self.reach(targets, "backend", "packets are dropped");
    }

    /// Reports targets without a next hop. A next hop without a MAC address is a warning.
    pub(super) fn reach(
        &self,
        targets: impl Iterator<Item = (String, Located<IpAddr>)>,
        noun: &str,
        consequence: &str,
    ) {
        let Some(routes) = self.certain_routes() else { return };
        let mut unresolved: BTreeMap<IpAddr, (String, usize, usize)> = BTreeMap::new();
        for (key, Located { value, at }) in targets {
            match routes.next_hop(value) {
                None => {
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has an \
                         {} gateway; add one of the two, or a [[neighbor]]",
                        family(value)
                    );
                    self.findings.mistake(at, key, message);
                }
                Some(hop) if hop.mac.is_none() => {
                    unresolved.entry(hop.address).or_insert((key, at, 0)).2 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (key, at, targets)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: {consequence} as \
                 next_hop_unresolved until it has one",
                count(targets, noun)
            );
            self.findings.warn(at, key, message);
        }
    }
}
