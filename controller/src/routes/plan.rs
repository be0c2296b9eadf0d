//! From the routes that are wanted and those that there are to the changes between both. Pure.
//!
//! All additions come before all removals: an address that keeps a route has one at every moment, so a router never hears
//! of a withdrawal in between. The kernel keeps routes of different metrics beside each other, and the least one counts.
//! Two routes of the same prefix and metric can be beside each other, too, if their interface or protocol differs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where the routes belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The kernel's table.
    pub(super) table: u32,
    /// The index of the interface.
    pub(super) interface: u32,
}

/// A route of the controller's protocol to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) address: IpAddr,
    pub(super) metric: u32,
    pub(super) table: u32,
    /// The index of its interface; 0 if it has none.
    pub(super) interface: u32,
}

impl Route {
    /// Whether it is where the routes belong.
    pub(super) fn is_at(&self, place: Place) -> bool {
        (self.table, self.interface) == (place.table, place.interface)
    }
}

/// The changes, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) add: Vec<Route>,
    /// If an address's addition fails, its routes at the right place are not to be removed.
    pub(super) remove: Vec<Route>,
}

/// The changes after which there is one route with its metric for each address, at its place, and no other one of the
/// controller's. Without a place there is to be none.
pub(super) fn plan(
    metrics: &BTreeMap<IpAddr, u32>,
    place: Option<Place>,
    installed: &BTreeSet<Route>,
) -> Plan {
    let wanted = |(&address, &metric): (&IpAddr, &u32)| {
        place.map(|Place { table, interface }| Route { address, metric, table, interface })
    };
    let add = metrics.iter().filter_map(wanted).filter(|route| !installed.contains(route));
    let is_wanted = |route: &Route| {
        place.is_some_and(|place| route.is_at(place))
            && metrics.get(&route.address) == Some(&route.metric)
    };
    let remove = installed.iter().filter(|route| !is_wanted(route)).copied();
    Plan { add: add.collect(), remove: remove.collect() }
}

/// The metric of each address with a route at its place. Of several routes, the least metric counts.
pub(super) fn in_force(installed: &BTreeSet<Route>, place: Option<Place>) -> BTreeMap<IpAddr, u32> {
    let mut metrics = BTreeMap::new();
    let at = |route: &&Route| place.is_some_and(|place| route.is_at(place));
    for route in installed.iter().filter(at) {
        metrics.entry(route.address).or_insert(route.metric);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place = Place { table: 1000, interface: 7 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn route(text: &str, metric: u32, place: Place) -> Route {
        let Place { table, interface } = place;
        Route { address: address(text), metric, table, interface }
    }

    #[test]
    fn a_new_metric_comes_before_the_old_one_goes() {
        let old = route("192.0.2.1", 1000, PLACE);
        let wanted = BTreeMap::from([(old.address, 2000)]);
        let plan = plan(&wanted, Some(PLACE), &BTreeSet::from([old]));
        let new = route("192.0.2.1", 2000, PLACE);
        assert_eq!(plan, Plan { add: vec![new], remove: vec![old] });
    }

    #[test]
    fn a_route_as_wanted_is_left_alone() {
        let there = route("2001:db8::1", 1000, PLACE);
        let wanted = BTreeMap::from([(there.address, 1000)]);
        assert_eq!(plan(&wanted, Some(PLACE), &BTreeSet::from([there])), Plan::default());
    }

    #[test]
    fn strays_of_another_table_and_interface_go() {
        let strays = [
            route("192.0.2.1", 1000, Place { table: 999, ..PLACE }),
            route("192.0.2.1", 1000, Place { interface: 6, ..PLACE }),
        ];
        let wanted = BTreeMap::from([(address("192.0.2.1"), 1000)]);
        let plan = plan(&wanted, Some(PLACE), &BTreeSet::from(strays));
        assert_eq!(plan.add, [route("192.0.2.1", 1000, PLACE)]);
        assert_eq!(BTreeSet::from_iter(plan.remove), BTreeSet::from(strays));
    }

    #[test]
    fn without_a_place_all_routes_go() {
        let there = route("192.0.2.1", 1000, PLACE);
        let wanted = BTreeMap::from([(there.address, 1000)]);
        let plan = plan(&wanted, None, &BTreeSet::from([there]));
        assert_eq!(plan, Plan { add: Vec::new(), remove: vec![there] });
    }

    #[test]
    fn the_least_metric_counts() {
        let there = [1000, 2000].map(|metric| route("192.0.2.1", metric, PLACE));
        let elsewhere = route("192.0.2.2", 1000, Place { table: 999, ..PLACE });
        let installed = there.into_iter().chain([elsewhere]).collect();
        let expected = BTreeMap::from([(address("192.0.2.1"), 1000)]);
        assert_eq!(in_force(&installed, Some(PLACE)), expected);
        assert_eq!(in_force(&installed, None), BTreeMap::new());
    }

    fn addresses() -> impl Strategy<Value = IpAddr> {
        (0..6_u8, any::<bool>()).prop_map(|(n, is_v4)| match is_v4 {
            true => IpAddr::from([192, 0, 2, n]),
            false => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]),
        })
    }

    fn metrics() -> impl Strategy<Value = u32> {
        proptest::sample::select(&[0_u32, 1000, 1001, 2000][..])
    }

    prop_compose! {
        fn routes()(
            address in addresses(),
            metric in metrics(),
            table in 999..1001_u32,
            interface in 6..8_u32,
        ) -> Route {
            Route { address, metric, table, interface }
        }
    }

    proptest! {
        /// On a model of the kernel's tables that refuses what the kernel would.
        #[test]
        fn a_plan_leads_to_what_is_wanted(
            wanted in btree_map(addresses(), metrics(), 0..12),
            start in btree_set(routes(), 0..40),
            is_up: bool,
        ) {
            let place = is_up.then_some(PLACE);
            let before = in_force(&start, place);
            let Plan { add, remove } = plan(&wanted, place, &start);
            let mut kernel = start.clone();
            let kept: Vec<_> = before.keys().filter(|a| wanted.contains_key(*a)).collect();
            let is_kept = |kernel: &BTreeSet<Route>| {
                let now = in_force(kernel, place);
                kept.iter().all(|address| now.contains_key(*address))
            };
            for route in add {
                prop_assert!(kernel.insert(route), "EEXIST: {route:?}");
                prop_assert!(is_kept(&kernel));
            }
            for route in remove {
                prop_assert!(kernel.remove(&route), "ESRCH: {route:?}");
                prop_assert!(is_kept(&kernel));
            }
            let expected = if is_up { wanted.clone() } else { BTreeMap::new() };
            prop_assert_eq!(in_force(&kernel, Some(PLACE)), expected);
            prop_assert_eq!(kernel.len(), if is_up { wanted.len() } else { 0 });
            prop_assert_eq!(plan(&wanted, place, &kernel), Plan::default());
        }
    }
}
