//! Next hops: an input of the compile.
//!
//! Two sources say where packets to a destination go. The static routes follow from the configuration: the ports'
//! networks, gateways and `[[neighbor]]` sections. The kernel's routes are its answers for each destination.
//!
//! - The longest prefix decides; of equal ones, the static route. A gateway of the configuration counts as a route
//!   of length 0, and a destination with a `[[neighbor]]` of its own as one of full length.
//! - A port without link is no way, nor is a device that is no port: if the other source has a way, it is taken.
//! - The kernel does not say the prefix of a route that refuses packets. Such a route counts as longer than a
//!   gateway of the configuration and shorter than all else.
//!
//! The MAC address of a next hop is that of the static neighbour, or else of the kernel's neighbour on that link.
//!
//! | file | what |
//! |---|---|
//! | `route.rs` | the kernel's answers, next hops, why there is none |
//! | `batch.rs` | what is new in the kernel's tables |
//! | `differences.rs` | whose next hops two routings can differ in |

mod batch;
mod differences;
mod route;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use guideway_config::Mac;
use guideway_config::static_routes::{self, StaticRoutes};

pub use batch::Batch;
pub(crate) use differences::Differences;
pub use route::{Hop, Kind, Link, LocalAddress, NextHop, Refusal, Route, Unreachable};

/// The routes and neighbours at one time. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Routing {
    /// The static routes.
    fixed: Arc<StaticRoutes>,
    /// The kernel's answers, by destination.
    routes: Arc<FxHashMap<IpAddr, Arc<Route>>>,
    neighbors: Arc<FxHashMap<(Link, IpAddr), Mac>>,
    /// The addresses of this node.
    local: Arc<[LocalAddress]>,
    /// The ports without link.
    down: Arc<BTreeSet<usize>>,
}

impl Routing {
    /// Routing by static routes, with nothing of the kernel known and every link up.
    pub fn new(routes: StaticRoutes) -> Routing {
        Routing {
            fixed: Arc::new(routes),
            routes: Arc::default(),
            neighbors: Arc::default(),
            local: Arc::default(),
            down: Arc::default(),
        }
    }

    /// Replaces the static routes.
    pub fn set_routes(&mut self, routes: StaticRoutes) {
        // What is compared by pointers later stays the same.
        if *self.fixed != routes {
            self.fixed = Arc::new(routes);
        }
    }

    /// Notes the MAC address of a neighbour, or that it is no longer known. Returns whether that is new.
    pub fn learn(&mut self, link: Link, address: IpAddr, mac: Option<Mac>) -> bool {
        if self.learnt(link, address) == mac {
            return false;
        }
        let neighbors = Arc::make_mut(&mut self.neighbors);
        match mac {
            Some(mac) => neighbors.insert((link, address), mac),
            None => neighbors.remove(&(link, address)),
        };
        true
    }

    /// Notes whether a port has link. Returns whether that is new.
    pub fn set_link(&mut self, port: usize, is_up: bool) -> bool {
        if self.is_up(port) == is_up {
            return false;
        }
        let down = Arc::make_mut(&mut self.down);
        if is_up { down.remove(&port) } else { down.insert(port) }
    }

    /// Whether a port has link.
    pub fn is_up(&self, port: usize) -> bool {
        !self.down.contains(&port)
    }

    /// The addresses of this node, as the kernel has them.
    pub fn local(&self) -> &[LocalAddress] {
        &self.local
    }

    /// What the kernel says about a destination, if it was asked.
    pub fn route(&self, destination: IpAddr) -> Option<&Arc<Route>> {
        self.routes.get(&destination)
    }

    /// The destinations about which the kernel was asked, and its answers.
    pub fn routes(&self) -> impl Iterator<Item = (IpAddr, &Arc<Route>)> {
        self.routes.iter().map(|(&destination, route)| (destination, route))
    }

    /// The neighbours with a MAC address from the kernel.
    pub fn neighbors(&self) -> impl Iterator<Item = (Link, IpAddr, Mac)> {
        self.neighbors.iter().map(|(&(link, address), &mac)| (link, address, mac))
    }

    /// The MAC address of a neighbour from the kernel.
    pub fn learnt(&self, link: Link, address: IpAddr) -> Option<Mac> {
        self.neighbors.get(&(link, address)).copied()
    }

    /// Whether the MAC address of a next hop is the configuration's.
    pub fn is_static(&self, address: IpAddr) -> bool {
        self.fixed.neighbor(address).is_some()
    }

    /// The next hop of packets to a destination, or why there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub fn way(&self, destination: IpAddr) -> Result<NextHop, Unreachable> {
        let fixed =
            self.fixed.route(destination).map(|(length, hop)| (length, self.by_static(hop)));
        let asked = self.routes.get(&destination);
        let (length, fixed, kernel) =
            match (fixed, asked.and_then(|route| self.by_kernel(destination, route))) {
                (None, None) => return Err(Unreachable::NoRoute),
                (Some((_, way)), None) | (None, Some((_, way))) => return way,
                (Some((length, fixed)), Some((kernel_length, kernel))) => {
                    (length.cmp(&kernel_length), fixed, kernel)
                }
            };
        match (length.is_ge(), &fixed, &kernel) {
            (true, Ok(_), _) => fixed,
            (true, Err(_), Ok(_)) => kernel,
            (true, Err(_), Err(_)) => fixed,
            (false, _, Ok(_) | Err(Unreachable::Refused(_) | Unreachable::Own)) => kernel,
            (false, Ok(_), Err(_)) => fixed,
            (false, Err(_), Err(_)) => kernel,
        }
    }

    /// Whether the way to a destination is that of a static route, not of the kernel's.
    pub fn is_static_way(&self, destination: IpAddr) -> bool {
        let Some((length, hop)) = self.fixed.route(destination) else { return false };
        let (fixed, way) = (self.by_static(hop), self.way(destination));
        let asked = self.routes.get(&destination);
        match asked.and_then(|route| self.by_kernel(destination, route)) {
            // Both may say the same.
            Some((kernel_length, kernel)) if kernel == way => {
                fixed == way && length >= kernel_length
            }
            _ => fixed == way,
        }
    }

    fn by_static(&self, hop: static_routes::NextHop) -> Result<NextHop, Unreachable> {
        if !self.is_up(hop.port) {
            return Err(Unreachable::LinkDown { port: hop.port });
        }
        let link = Link::of_port(hop.port);
        Ok(NextHop {
            port: hop.port,
            vlan: None,
            address: hop.address,
            mac: self.mac(link, hop.address),
        })
    }

    /// The way by an answer of the kernel, and the length of its prefix; `None` if the kernel has no route.
    fn by_kernel(
        &self,
        destination: IpAddr,
        route: &Route,
    ) -> Option<(u8, Result<NextHop, Unreachable>)> {
        match &route.kind {
            Kind::Via(hops) => Some((route.prefix, self.by_hops(destination, hops))),
            Kind::Own => Some((route.prefix, Err(Unreachable::Own))),
            &Kind::Refused(refusal) => Some((1, Err(Unreachable::Refused(refusal)))),
            Kind::None => None,
        }
    }

    /// The way by the first hop that lives.
    fn by_hops(&self, destination: IpAddr, hops: &[Hop]) -> Result<NextHop, Unreachable> {
        let mut why = Unreachable::NoRoute;
        for hop in hops {
            let reason = match hop.link {
                Some(link) if hop.is_alive && self.is_up(link.port) => {
                    let address = hop.gateway.unwrap_or(destination);
                    let mac = self.mac(link, address);
                    return Ok(NextHop { port: link.port, vlan: link.vlan, address, mac });
                }
                Some(link) => Unreachable::LinkDown { port: link.port },
                None => Unreachable::NotAPort { interface: Arc::clone(&hop.interface) },
            };
            if why == Unreachable::NoRoute {
                why = reason;
            }
        }
        Err(why)
    }

    fn mac(&self, link: Link, address: IpAddr) -> Option<Mac> {
        self.fixed.neighbor(address).or_else(|| self.learnt(link, address))
    }
}
