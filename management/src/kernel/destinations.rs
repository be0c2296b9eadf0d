//! About whom the kernel is asked, and what it said.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use guideway_config::Configuration;
use ipnet::IpNet;

use crate::routing::Route;

/// The most changed prefixes that are told apart. With more, everything is asked about.
const PREFIXES: usize = 4096;

/// About whom the kernel is asked, and what it said.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    known: BTreeMap<IpAddr, Option<(Arc<Route>, SystemTime)>>,
    /// About whom it must be asked.
    due: Due,
}

#[derive(Debug, Default)]
struct Due {
    everybody: bool,
    prefixes: BTreeSet<IpNet>,
    single: Vec<IpAddr>,
}

impl Destinations {
    /// Takes those of a configuration: backends, and members of the cluster. Returns who is gone.
    pub(super) fn set(&mut self, configuration: &Configuration) -> Vec<IpAddr> {
        let backends = configuration.pools.iter().flat_map(|pool| &pool.backends);
        let members = configuration.cluster.members.iter().filter(|member| !member.is_own);
        let mut wanted: BTreeSet<IpAddr> = backends.map(|backend| backend.address).collect();
        wanted.extend(members.map(|member| member.address));
        let gone: Vec<_> =
            self.known.keys().filter(|address| !wanted.contains(address)).copied().collect();
        self.known.retain(|address, _| wanted.contains(address));
        for address in wanted {
            self.known.entry(address).or_insert_with(|| {
                self.due.single.push(address);
                None
            });
        }
        gone
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.known.keys().copied()
    }

    /// What the kernel said, and since when.
    pub(super) fn answers(&self) -> impl Iterator<Item = (IpAddr, &(Arc<Route>, SystemTime))> {
        self.known.iter().filter_map(|(&to, known)| Some((to, known.as_ref()?)))
    }

    /// A routing table has another route with this prefix.
    pub(super) fn touch(&mut self, prefix: IpNet) {
        if !self.due.everybody && self.within(prefix).next().is_some() {
            self.due.prefixes.insert(prefix.trunc());
            self.due.everybody = self.due.prefixes.len() > PREFIXES;
        }
    }

    /// Any route can be another.
    pub(super) fn touch_all(&mut self) {
        self.due.everybody = true;
    }

    /// Whether the kernel must be asked about somebody.
    pub(super) fn are_due(&self) -> bool {
        self.due.everybody || !self.due.prefixes.is_empty() || !self.due.single.is_empty()
    }

    /// Takes nothing as said: everybody must be asked about, and every answer counts as another.
    pub(super) fn forget_answers(&mut self) {
        self.known.values_mut().for_each(|known| *known = None);
        self.due.everybody = true;
    }

    /// About whom the kernel must be asked. From now on they count as asked.
    pub(super) fn take_due(&mut self) -> Vec<IpAddr> {
        let due = std::mem::take(&mut self.due);
        if due.everybody {
            return self.iter().collect();
        }
        let within = due.prefixes.iter().flat_map(|&prefix| self.within(prefix));
        let all: BTreeSet<IpAddr> = within.chain(due.single).collect();
        all.into_iter().filter(|address| self.known.contains_key(address)).collect()
    }

    /// Those inside a prefix.
    fn within(&self, prefix: IpNet) -> impl Iterator<Item = IpAddr> {
        let (first, last) = (prefix.network(), prefix.broadcast());
        self.known
            .range((Bound::Included(first), Bound::Included(last)))
            .map(|(&address, _)| address)
    }

    /// Takes an answer. Returns whether it is another one than before.
    pub(super) fn answer(&mut self, destination: IpAddr, route: &Arc<Route>) -> bool {
        let Some(known) = self.known.get_mut(&destination) else { return false };
        let is_same = known.as_ref().is_some_and(|(before, _)| before == route);
        if !is_same {
            *known = Some((Arc::clone(route), SystemTime::now()));
        }
        !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Kind;
    use crate::sample::MIXED;

    fn destinations() -> Destinations {
        let mut destinations = Destinations::default();
        let configuration = guideway_config::parse(MIXED).unwrap().configuration;
        assert!(destinations.set(&configuration).is_empty());
        assert_eq!(destinations.take_due().len(), 10);
        destinations
    }

    fn due(destinations: &mut Destinations) -> Vec<String> {
        destinations.take_due().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_those_inside_a_changed_prefix_are_due() {
        let mut destinations = destinations();
        destinations.touch("172.16.0.0/12".parse().unwrap());
        assert!(!destinations.are_due());
        destinations.touch("10.0.0.2/31".parse().unwrap());
        destinations.touch("10.0.0.1/32".parse().unwrap());
        assert_eq!(due(&mut destinations), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        destinations.touch("2001:db8::/48".parse().unwrap());
        assert_eq!(due(&mut destinations), ["2001:db8::10"]);
        destinations.touch("::/0".parse().unwrap());
        assert_eq!(due(&mut destinations), ["2001:db8::10", "2001:db8:1::1"]);
        destinations.touch("0.0.0.0/0".parse().unwrap());
        assert_eq!(due(&mut destinations).len(), 8);
        destinations.touch_all();
        assert_eq!(due(&mut destinations).len(), 10);
        assert!(!destinations.are_due());
    }

    #[test]
    fn a_configuration_adds_and_removes() {
        let mut destinations = destinations();
        let mut configuration = guideway_config::parse(MIXED).unwrap().configuration;
        configuration.pools[2].backends[0].address = "10.9.0.1".parse().unwrap();
        configuration.pools[0].backends.retain(|backend| backend.name != "c");
        assert_eq!(destinations.set(&configuration), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(due(&mut destinations), ["10.9.0.1"]);
        let none = Arc::new(Route::without_prefix(Kind::None));
        assert!(destinations.answer("10.9.0.1".parse().unwrap(), &none));
        assert!(!destinations.answer("10.9.0.1".parse().unwrap(), &none));
        assert!(!destinations.answer("10.0.0.1".parse().unwrap(), &none), "nobody asks about it");
    }
}
