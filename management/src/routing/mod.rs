//! Next hops: an input of the compile.
//!
//! The port and the address of a next hop follow from the static routes, which the ports' networks, gateways and
//! `[[neighbor]]` sections make. The MAC address is that of the static neighbour, or else the one that was learnt.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use guideway_config::Mac;
use guideway_config::static_routes::StaticRoutes;

/// The next hop of packets to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The port that packets leave by, an index into the ports of the configuration.
    pub port: usize,
    /// The destination itself if it is on the port's link, else the gateway.
    pub address: IpAddr,
    /// The MAC address of `address`, if it is known.
    pub mac: Option<Mac>,
}

/// The routes and neighbours at one time. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Routing {
    routes: Arc<StaticRoutes>,
    learnt: Arc<FxHashMap<IpAddr, Mac>>,
}

impl Routing {
    /// Routing by static routes, with no neighbour learnt.
    pub fn new(routes: StaticRoutes) -> Routing {
        Routing { routes: Arc::new(routes), learnt: Arc::default() }
    }

    /// Replaces the static routes.
    pub fn set_routes(&mut self, routes: StaticRoutes) {
        self.routes = Arc::new(routes);
    }

    /// Notes the MAC address of a neighbour, or that it is no longer known. Returns whether that is new.
    pub fn learn(&mut self, address: IpAddr, mac: Option<Mac>) -> bool {
        if self.learnt.get(&address).copied() == mac {
            return false;
        }
        let learnt = Arc::make_mut(&mut self.learnt);
        match mac {
            Some(mac) => learnt.insert(address, mac),
            None => learnt.remove(&address),
        };
        true
    }

    /// The next hop of an address; `None` if there is no route.
    pub fn next_hop(&self, address: IpAddr) -> Option<NextHop> {
        let hop = self.routes.next_hop(address)?;
        let mac = hop.mac.or_else(|| self.learnt.get(&hop.address).copied());
        Some(NextHop { port: hop.port, address: hop.address, mac })
    }

    /// Whether ports and addresses of all next hops are those of `other`.
    pub(crate) fn has_routes_of(&self, other: &Routing) -> bool {
        Arc::ptr_eq(&self.routes, &other.routes)
    }

    /// The neighbours whose learnt MAC address differs from that in `other`.
    pub(crate) fn learnt_differences(&self, other: &Routing) -> FxHashSet<IpAddr> {
        if Arc::ptr_eq(&self.learnt, &other.learnt) {
            return FxHashSet::default();
        }
        let missing = |a: &Routing, b: &Routing| {
            let differs =
                a.learnt.iter().filter(|&(address, mac)| b.learnt.get(address) != Some(mac));
            differs.map(|(&address, _)| address).collect::<Vec<_>>()
        };
        missing(self, other).into_iter().chain(missing(other, self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_static_neighbor_wins_over_a_learnt_one() {
        let parsed = guideway_config::parse(&crate::sample::text(crate::sample::THREE)).unwrap();
        let mut routing = Routing::new(parsed.configuration.static_routes());
        let mac = |routing: &Routing, text| routing.next_hop(ip(text)).unwrap().mac;
        assert!(routing.learn(ip("192.0.2.10"), Some([9; 6])));
        assert!(routing.learn(ip("192.0.2.30"), Some([9; 6])));
        assert_eq!(mac(&routing, "192.0.2.10"), Some([2, 0, 0, 0, 0, 0x10]));
        assert_eq!(mac(&routing, "192.0.2.30"), Some([9; 6]));
    }

    #[test]
    fn differences_are_what_was_learnt_and_forgotten() {
        let mut routing = Routing::new(StaticRoutes::default());
        let before = routing.clone();
        assert!(!routing.learn(ip("192.0.2.30"), None));
        assert!(routing.learn(ip("192.0.2.30"), Some([1; 6])));
        assert!(!routing.learn(ip("192.0.2.30"), Some([1; 6])));
        let between = routing.clone();
        assert_eq!(between.learnt_differences(&before), [ip("192.0.2.30")].into_iter().collect());
        routing.learn(ip("192.0.2.30"), None);
        routing.learn(ip("192.0.2.31"), Some([1; 6]));
        let both = [ip("192.0.2.30"), ip("192.0.2.31")].into_iter().collect();
        assert_eq!(routing.learnt_differences(&between), both);
        assert!(routing.has_routes_of(&before));
    }
}
