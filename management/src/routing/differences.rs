//! Whose next hops two routings can differ in.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::Routing;
use super::route::{Link, NextHop, Unreachable};

/// Whose next hops two routings with the same static routes can differ in.
#[derive(Debug)]
pub(crate) struct Differences {
    /// Everybody's: a port's link is up in one alone.
    everything: bool,
    destinations: FxHashSet<IpAddr>,
    neighbors: FxHashSet<(Link, IpAddr)>,
}

impl Differences {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        !self.everything && self.destinations.is_empty() && self.neighbors.is_empty()
    }

    /// Whether the next hop of a destination, which is this in one routing, can be another in the other.
    pub(crate) fn concern(
        &self,
        destination: IpAddr,
        next_hop: &Result<NextHop, Unreachable>,
    ) -> bool {
        let is_neighbor = |hop: &NextHop| self.neighbors.contains(&(hop.link(), hop.address));
        self.everything
            || next_hop.as_ref().is_ok_and(is_neighbor)
            || self.destinations.contains(&destination)
    }
}

impl Routing {
    /// Whether the static routes and the own addresses are those of `other`.
    pub(crate) fn has_base_of(&self, other: &Routing) -> bool {
        Arc::ptr_eq(&self.fixed, &other.fixed) && self.local == other.local
    }

    /// The differences from another routing.
    pub(crate) fn differences(&self, other: &Routing) -> Differences {
        Differences {
            everything: self.down != other.down,
            destinations: differing_keys(&self.routes, &other.routes),
            neighbors: differing_keys(&self.neighbors, &other.neighbors),
        }
    }
}

/// The keys whose values differ.
fn differing_keys<K: Copy + Eq + Hash, V: PartialEq>(
    a: &Arc<FxHashMap<K, V>>,
    b: &Arc<FxHashMap<K, V>>,
) -> FxHashSet<K> {
    if Arc::ptr_eq(a, b) {
        return FxHashSet::default();
    }
    let missing = |a: &FxHashMap<K, V>, b: &FxHashMap<K, V>| {
        let differs = a.iter().filter(|&(key, value)| b.get(key) != Some(value));
        differs.map(|(&key, _)| key).collect::<Vec<_>>()
    };
    missing(a, b).into_iter().chain(missing(b, a)).collect()
}
