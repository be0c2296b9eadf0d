//! Every backend must have a next hop.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::{BackendEntry, Draft};
use crate::findings::{Located, count};

impl Draft<'_> {
    pub(super) fn next_hops(&self) {
        if !self.knows_all_networks() {
            return;
        }
        let routes = self.routes();
        let mut unresolved: BTreeMap<IpAddr, (BackendEntry<'_>, usize, usize)> = BTreeMap::new();
        for (entry, Located { value, at }) in self.addressed_backends() {
            let hop = routes.next_hop(value);
            if let Some(hop) = hop {
                self.link(entry, Located { value, at }, hop.address == value);
            }
            match hop {
                None => {
                    let family = if value.is_ipv4() { "IPv4" } else { "IPv6" };
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has \
                         an {family} gateway; add one of the two, or a [[neighbor]]"
                    );
                    self.findings.mistake(at, entry.key("address"), message);
                }
                Some(hop) if hop.mac.is_none() => {
                    unresolved.entry(hop.address).or_insert((entry, at, 0)).2 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (entry, at, backends)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: packets are dropped as \
                 next_hop_unresolved until it has one",
                count(backends, "backend")
            );
            self.findings.warn(at, entry.key("address"), message);
        }
    }
}
