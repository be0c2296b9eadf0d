//! What is new in the kernel's tables.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_config::Mac;

use super::Routing;
use super::route::{Link, LocalAddress, Route};

/// What is new in the kernel's tables. All of it is published together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// What the kernel says about destinations now; `None` forgets one.
    pub routes: Vec<(IpAddr, Option<Arc<Route>>)>,
    /// The MAC addresses of neighbours; `None` if it is not known any more.
    pub neighbors: Vec<(Link, IpAddr, Option<Mac>)>,
    /// All addresses of this node, if they are others.
    pub local: Option<Arc<[LocalAddress]>>,
}

impl Routing {
    /// Takes over what is new. Returns whether anything is another now.
    pub fn apply(&mut self, batch: &Batch) -> bool {
        let mut is_changed = false;
        let routes =
            batch.routes.iter().filter(|(to, route)| self.routes.get(to) != route.as_ref());
        let routes: Vec<_> = routes.collect();
        if !routes.is_empty() {
            is_changed = true;
            let known = Arc::make_mut(&mut self.routes);
            for (destination, route) in routes {
                match route {
                    Some(route) => known.insert(*destination, Arc::clone(route)),
                    None => known.remove(destination),
                };
            }
        }
        for &(link, address, mac) in &batch.neighbors {
            is_changed |= self.learn(link, address, mac);
        }
        if let Some(local) = batch.local.as_ref().filter(|local| ***local != *self.local) {
            is_changed = true;
            self.local = Arc::clone(local);
        }
        is_changed
    }
}
