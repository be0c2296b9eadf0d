//! A virtual address in a port's own network: hosts there ask for its MAC address, and somebody must reply.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::addresses::OwnAddresses;
use super::draft::Draft;
use crate::sections::port::PortDraft;

impl Draft<'_> {
    /// Reports virtual addresses on a link for which nobody replies, and `answer_on_link` without effect.
    pub(super) fn answers(&self, own: &OwnAddresses) {
        let Some(routes) = self.certain_routes() else { return };
        // By address: the first service's path, and the path of one with the key set.
        let mut vips: BTreeMap<IpAddr, (String, Option<String>)> = BTreeMap::new();
        for (index, service) in self.services().iter().enumerate() {
            let (Ok(address), Ok(is_set)) = (service.keys.address, service.keys.answer_on_link)
            else {
                return;
            };
            let path = |key| format!("service[{index}].{key}");
            let (_, set) = vips.entry(address).or_insert_with(|| (path("address"), None));
            if is_set {
                set.get_or_insert_with(|| path("answer_on_link"));
            }
        }
        for (address, (path, set)) in vips {
            // The kernel replies for the node's own addresses.
            if own.get(address).is_some() {
                continue;
            }
            let port = routes.on_link(address);
            let has_interface = port.is_some_and(|port| self.ports()[port].has_interface());
            let line = |port| self.root.line(&format!("port[{port}]"));
            match (set, port) {
                (None, Some(port)) => {
                    let what = if address.is_ipv4() { "ARP" } else { "neighbor discovery" };
                    let message = format!(
                        "{address} lies in a network of the port on line {}, and nobody replies to \
                         {what} for it: hosts there cannot reach it; set answer_on_link = true, or \
                         take an address that routers send here",
                        line(port)
                    );
                    self.root.warn(&path, message);
                }
                (Some(set), Some(port)) if !has_interface => {
                    let message =
                        format!("has no effect: the port on line {} has no interface", line(port));
                    self.root.warn(&set, message);
                }
                (Some(set), None) if self.are_networks_known() => {
                    let message = format!("has no effect: {address} lies in no port's network");
                    self.root.warn(&set, message);
                }
                _ => {}
            }
        }
    }

    /// Whether the configuration names every network on a port's link: no port leaves its addresses to other
    /// tools.
    fn are_networks_known(&self) -> bool {
        let is_left =
            |port: &PortDraft| port.has_interface() && !matches!(port.manage_addresses, Ok(true));
        !self.ports().iter().any(is_left)
    }
}
