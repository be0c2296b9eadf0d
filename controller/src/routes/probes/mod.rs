//! The rules and routes by which probes leave the node, kept as they are wanted.
//!
//! ```text
//! 1000: from SOURCE lookup TABLE proto 200                 one for each source
//! default dev INTERFACE table TABLE metric 1 proto 200     for each family of the sources
//! unreachable default table TABLE metric 4294967295 proto 200
//! ```
//!
//! A probe through a tunnel has to take the way of traffic or none: by the table `main` it would reach a server that traffic
//! does not reach, and prove nothing. So the route to nowhere is there before the rule, and stays while the forwarder's
//! interface is missing.

mod kernel;

use std::collections::BTreeSet;

use guideway_netlink::{Error, Requests, Told};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use self::kernel::Item;
use super::kernel::{EEXIST, ENETDOWN, ENODEV, ENOENT, ESRCH, Link, is_about, is_down, link};
use super::{Probes, Report};

/// What is wanted, and what is known of the kernel.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// None before the first wish; none in it if there are no probes.
    wanted: Option<Option<Probes>>,
    link: Option<Link>,
    /// What was there after the last round.
    installed: BTreeSet<Item>,
    /// Own ones may be in other tables.
    everywhere: bool,
    /// The interface was down or gone meanwhile, so that its routes are gone by nobody's order.
    was_down: bool,
    /// What was reported.
    is_ready: Option<bool>,
    has_refused: bool,
}

impl Keeper {
    /// Takes a wish. Returns whether it is another one.
    pub(super) fn want(&mut self, probes: Option<Probes>) -> bool {
        let probes = probes.filter(|probes| !probes.sources.is_empty());
        if self.wanted.as_ref() == Some(&probes) {
            return false;
        }
        let table = |probes: &Option<Probes>| probes.as_ref().map(|probes| probes.table);
        self.everywhere |= self.wanted.as_ref().map(table) != Some(table(&probes));
        self.wanted = Some(probes);
        true
    }

    /// Whether what the kernel tells has to do with probes. `own` is the number of the socket for requests.
    pub(super) fn hear(&mut self, told: &Told, own: u32) -> bool {
        use RouteNetlinkMessage as M;
        let Some(Some(probes)) = &self.wanted else { return false };
        let index = self.link.map(|link| link.index);
        match told {
            Told::Route(route) => {
                route.by != own && route.table == probes.table && route.prefix.prefix_len() == 0
            }
            Told::Message(M::NewLink(link) | M::DelLink(link))
                if link.header.interface_family == AddressFamily::Unspec
                    && is_about(link, &probes.interface, index) =>
            {
                self.was_down |= matches!(told, Told::Message(M::DelLink(_))) || is_down(link);
                true
            }
            // With the last address of an interface, the kernel removes its IPv4 routes, and does not tell so.
            Told::Message(M::DelAddress(address)) => Some(address.header.index) == index,
            // Those that the thread itself removes are not wanted.
            Told::Message(M::DelRule(rule)) => match kernel::rule(rule) {
                Some(Item::Rule { source, table }) => {
                    table == probes.table && probes.sources.contains(&source)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Reads the kernel's rules and routes, and sets them right. Returns what there is to report.
    pub(super) fn keep(&mut self, requests: &mut Requests) -> Result<Vec<Report>, Error> {
        let Some(wanted) = self.wanted.clone() else { return Ok(Vec::new()) };
        let index = self.link.map(|link| link.index);
        self.link = match &wanted {
            Some(probes) => link(requests, &probes.interface)?,
            None => None,
        };
        let was_down =
            std::mem::take(&mut self.was_down) || index != self.link.map(|link| link.index);
        let table = wanted.as_ref().map(|probes| probes.table).filter(|_| !self.everywhere);
        let found = kernel::read(requests, table)?;
        let goal = wanted.as_ref().map(|probes| goal(probes, self.link)).unwrap_or_default();
        let lost = |item: &Item| {
            let by_link = was_down && matches!(item, Item::Default { .. });
            self.installed.contains(item) && !by_link
        };
        let (mut rules, mut routes, mut refusal) = (0, 0, None);
        let mut installed = found.clone();
        for &item in goal.difference(&found) {
            match kernel::add(requests, item)? {
                Ok(()) => {
                    installed.insert(item);
                    match item {
                        Item::Rule { .. } => rules += usize::from(lost(&item)),
                        _ => routes += usize::from(lost(&item)),
                    }
                }
                // There meanwhile, or the interface has gone meanwhile, and the kernel tells so.
                Err(refused) if matches!(refused.errno, EEXIST | ENODEV | ENETDOWN) => (),
                Err(refused) => refusal = refusal.or(Some(refused)),
            }
        }
        for item in found.into_iter().rev().filter(|item| !goal.contains(item)) {
            match kernel::remove(requests, item)? {
                Err(refused) if !matches!(refused.errno, ENOENT | ESRCH | ENODEV) => {
                    refusal = refusal.or(Some(refused));
                }
                _ => {
                    installed.remove(&item);
                }
            }
        }
        self.everywhere = false;
        let is_ready = wanted
            .is_some()
            .then(|| self.link.is_some_and(|link| link.is_up) && installed.is_superset(&goal));
        self.installed = installed;
        let mut reports = Vec::new();
        if rules + routes > 0 {
            reports.push(Report::ProbesRestored { rules, routes });
        }
        if let (Some(refused), false) = (&refusal, self.has_refused) {
            reports.push(Report::ProbesRefused { error: refused.to_string() });
        }
        self.has_refused = refusal.is_some();
        if let Some(is_ready) = is_ready.filter(|_| is_ready != self.is_ready) {
            reports.push(Report::ProbesReady { is_ready });
        }
        self.is_ready = is_ready;
        Ok(reports)
    }
}

/// What there is to be.
fn goal(probes: &Probes, link: Option<Link>) -> BTreeSet<Item> {
    let Probes { table, sources, .. } = probes;
    let (table, mut items) = (*table, BTreeSet::new());
    for &source in sources {
        let ipv6 = source.is_ipv6();
        items.insert(Item::Rule { source, table });
        items.insert(Item::Nowhere { ipv6, table });
        if let Some(Link { index: interface, is_up: true }) = link {
            items.insert(Item::Default { ipv6, table, interface });
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(sources: &[&str]) -> Probes {
        let sources = sources.iter().map(|source| source.parse().unwrap()).collect();
        Probes { interface: "gwcheck".to_owned(), table: 1001, sources }
    }

    #[test]
    fn nowhere_comes_before_the_rule_and_goes_after_it() {
        let link = Some(Link { index: 7, is_up: true });
        let items: Vec<_> =
            goal(&probes(&["192.0.2.1", "2001:db8::1"]), link).into_iter().collect();
        let table = 1001;
        assert_eq!(
            items,
            [
                Item::Nowhere { ipv6: false, table },
                Item::Nowhere { ipv6: true, table },
                Item::Default { ipv6: false, table, interface: 7 },
                Item::Default { ipv6: true, table, interface: 7 },
                Item::Rule { source: "192.0.2.1".parse().unwrap(), table },
                Item::Rule { source: "2001:db8::1".parse().unwrap(), table },
            ]
        );
    }

    #[test]
    fn without_the_interface_a_probe_goes_nowhere() {
        let down = Some(Link { index: 7, is_up: false });
        for link in [None, down] {
            let items = goal(&probes(&["192.0.2.1"]), link);
            assert_eq!(items.len(), 2);
            assert!(items.contains(&Item::Nowhere { ipv6: false, table: 1001 }));
        }
    }

    #[test]
    fn the_same_wish_is_none_and_no_source_is_no_probes() {
        let mut keeper = Keeper::default();
        assert!(keeper.want(Some(probes(&[]))));
        assert!(!keeper.want(None));
        assert!(keeper.want(Some(probes(&["192.0.2.1"]))));
        assert!(!keeper.want(Some(probes(&["192.0.2.1"]))));
        assert!(keeper.want(Some(probes(&["192.0.2.2"]))));
    }
}
