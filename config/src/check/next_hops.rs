//! Every backend and every other member of the cluster must have a next hop, unless the kernel may have the route.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::draft::Draft;
use crate::findings::count;
use crate::static_routes::NextHop;
use crate::text::family;

impl Draft<'_> {
    pub(super) fn next_hops(&self) {
        let backends = self.addressed_backends();
        let targets = backends.map(|(entry, address)| (move || entry.path("address"), address));
        self.reach(targets, "backend", "packets are dropped");
    }

    /// Reports targets without a next hop, each with what makes its path. A next hop without a MAC address is a warning.
    ///
    /// The kernel of a node with interfaces may know more. Its routes show while the node runs, so that
    /// `guidewayctl backend list` says then what is missing.
    pub(super) fn reach(
        &self,
        targets: impl Iterator<Item = (impl Fn() -> String, IpAddr)>,
        noun: &str,
        consequence: &str,
    ) {
        let Some(routes) = self.certain_routes() else { return };
        let mut unresolved: BTreeMap<IpAddr, (String, usize)> = BTreeMap::new();
        for (path, value) in targets {
            match routes.next_hop(value) {
                None if self.kernel_may_route() => {}
                None => {
                    let message = format!(
                        "{value} cannot be reached: it is in no port's network, and no port has an \
                         {} gateway; add one of the two, or a [[neighbor]]",
                        family(value)
                    );
                    self.root.mistake(&path(), message);
                }
                Some(hop) if hop.mac.is_none() && !self.may_be_learnt(hop, value) => {
                    unresolved.entry(hop.address).or_insert_with(|| (path(), 0)).1 += 1;
                }
                Some(_) => {}
            }
        }
        for (hop, (path, targets)) in unresolved {
            let message = format!(
                "the next hop {hop} of {} has no [[neighbor]]: {consequence} as \
                 next_hop_unresolved until it has one",
                count(targets, noun)
            );
            self.root.warn(&path, message);
        }
    }

    /// Whether the kernel may find the MAC address of a target's next hop. Behind a gateway, it may have another
    /// route by a port with an interface.
    fn may_be_learnt(&self, hop: NextHop, target: IpAddr) -> bool {
        match hop.address == target {
            true => self.ports()[hop.port].has_interface(),
            false => self.kernel_may_route(),
        }
    }
}
