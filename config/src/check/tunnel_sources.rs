//! `node.tunnel_source` must have an address of each family that tunnels need.

use super::draft::{BackendEntry, Draft};
use crate::sections::node::Sources;

impl Draft<'_> {
    /// Reports one mistake for each missing family, however many backends need it.
    pub(super) fn tunnel_sources(&self) {
        // The kernel may have a route to a link, and so a backend that needs no tunnel.
        let routes = self.certain_routes().filter(|_| !self.kernel_may_route());
        // [`Draft::links`] checks a backend that is or must be on a link and can do without a tunnel.
        let needs_source = |entry: &BackendEntry<'_>, address| {
            let on_link = match &routes {
                Some(routes) => routes.next_hop(address).is_some_and(|hop| hop.address == address),
                None => true,
            };
            let listed = entry.encapsulations().unwrap_or_default();
            listed.iter().any(|e| e.is_tunnel())
                && !(on_link && listed.iter().any(|e| !e.is_tunnel()))
        };
        let Ok(Sources { v4, v6, .. }) = self.node.sources else { return };
        for (family, is_v4, present) in
            [("IPv4", true, v4.is_some()), ("IPv6", false, v6.is_some())]
        {
            let mut needing = self.addressed_backends().filter(|(entry, address)| {
                address.is_ipv4() == is_v4 && needs_source(entry, *address)
            });
            let Some((first, _)) = needing.next() else { continue };
            if !present {
                let message = format!(
                    "has no {family} address, which {} as outer source, first {} on line {}; add \
                     one",
                    match needing.count() {
                        0 => "1 backend needs".to_owned(),
                        more => format!("{} backends need", more + 1),
                    },
                    first.title(),
                    self.root.line(&first.path("address"))
                );
                let at =
                    if v4.is_none() && v6.is_none() { "node" } else { "node.tunnel_source[0]" };
                self.root.mistake_at(at, "node.tunnel_source", message);
            }
        }
    }
}
