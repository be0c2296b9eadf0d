//! The source ports of probes through tunnels: from them follow the pins.
//!
//! A target has two to four fixed pairs of address and port, and uses them by turns: a pin has to be in force before the
//! first packet, and a server that closed the last connection may still hold its port. A target keeps its pairs over
//! reloads. Those that become free are given out again only after all others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use guideway_config::Configuration;

use super::target::{Member, Path, Plan, TargetKey};

/// What pairs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// `node.check_source`.
    pub(super) addresses: Vec<IpAddr>,
    /// `probe.source_ports`.
    pub(super) ports: RangeInclusive<u16>,
    /// `probe.ports_each`.
    pub(super) each: usize,
}

impl Range {
    /// The pairs of a configuration.
    pub(super) fn of(configuration: &Configuration) -> Range {
        Range {
            addresses: configuration.node.check_sources.clone(),
            ports: configuration.probe.source_ports.clone(),
            each: configuration.probe.ports_each.into(),
        }
    }
}

/// Which target has which pairs.
#[derive(Debug, Default)]
pub(super) struct Ports {
    of: BTreeMap<TargetKey, Pairs>,
    taken: BTreeSet<SocketAddr>,
    /// The place of the next candidate of each family.
    next: [usize; 2],
}

/// The pairs of a target.
#[derive(Clone, Debug, Default)]
struct Pairs {
    pairs: Vec<SocketAddr>,
    turn: usize,
}

impl Ports {
    /// Gives the targets of a plan their pairs. Returns the pins, and how many targets got fewer than they should.
    pub(super) fn assign(
        &mut self,
        plan: &Plan,
        range: &Range,
    ) -> (Arc<BTreeMap<SocketAddr, Member>>, usize) {
        let in_range = |pair: &SocketAddr| {
            range.addresses.contains(&pair.ip()) && range.ports.contains(&pair.port())
        };
        let taken = &mut self.taken;
        self.of.retain(|key, pairs| {
            let stays = plan.targets.contains_key(key);
            pairs.pairs.retain(|pair| {
                let keep = stays && in_range(pair);
                if !keep {
                    taken.remove(pair);
                }
                keep
            });
            for pair in pairs.pairs.drain(pairs.pairs.len().min(range.each)..) {
                taken.remove(&pair);
            }
            stays
        });
        let (mut pins, mut short) = (BTreeMap::new(), 0);
        for (key, target) in &plan.targets {
            if key.path == Path::Direct {
                continue;
            }
            let mut pairs = self.of.remove(key).unwrap_or_default();
            while pairs.pairs.len() < range.each {
                let Some(pair) = self.take(range, key.to.ip().is_ipv4()) else { break };
                pairs.pairs.push(pair);
            }
            short += usize::from(pairs.pairs.len() < range.each);
            pins.extend(pairs.pairs.iter().map(|&pair| (pair, target.members[0].clone())));
            self.of.insert(key.clone(), pairs);
        }
        (Arc::new(pins), short)
    }

    /// The next pair that nobody has.
    fn take(&mut self, range: &Range, is_ipv4: bool) -> Option<SocketAddr> {
        let addresses: Vec<IpAddr> =
            range.addresses.iter().filter(|ip| ip.is_ipv4() == is_ipv4).copied().collect();
        let count = addresses.len() * range.ports.len();
        let next = &mut self.next[usize::from(is_ipv4)];
        for _ in 0..count {
            let place = *next % count;
            *next = place + 1;
            let port = usize::from(*range.ports.start()) + place / addresses.len();
            let pair =
                SocketAddr::new(addresses[place % addresses.len()], u16::try_from(port).ok()?);
            if self.taken.insert(pair) {
                return Some(pair);
            }
        }
        None
    }

    /// The pair of a target's next probe; none if it has none.
    pub(super) fn turn(&mut self, key: &TargetKey) -> Option<SocketAddr> {
        let pairs = self.of.get_mut(key)?;
        pairs.turn = pairs.turn.wrapping_add(1);
        pairs.pairs.get(pairs.turn.checked_rem(pairs.pairs.len())?).copied()
    }

    /// The pairs of a target.
    pub(super) fn of(&self, key: &TargetKey) -> &[SocketAddr] {
        self.of.get(key).map_or(&[], |pairs| &pairs.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{plan, tunnel_plan};

    fn range(addresses: &[&str], ports: RangeInclusive<u16>) -> Range {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Range { addresses, ports, each: 2 }
    }

    #[test]
    fn each_target_has_pairs_of_its_own_and_its_family() {
        let mut ports = Ports::default();
        let plan = tunnel_plan(100);
        let range = range(&["192.0.2.9", "192.0.2.10", "2001:db8::9"], 20_000..=20_099);
        let (pins, short) = ports.assign(&plan, &range);
        assert_eq!((pins.len(), short), (200, 0));
        for (key, target) in &plan.targets {
            let own = ports.of(key).to_vec();
            assert_eq!(own.len(), 2);
            assert!(own.iter().all(|pair| pins[pair] == target.members[0]));
            assert!(own.iter().all(|pair| pair.is_ipv4() == key.to.ip().is_ipv4()));
            let turns: Vec<_> = (0..4).map(|_| ports.turn(key).unwrap()).collect();
            assert_eq!((turns[0], turns[1]), (turns[2], turns[3]));
            assert_ne!(turns[0], turns[1]);
        }
    }

    #[test]
    fn targets_that_stay_keep_theirs_and_free_ones_rest() {
        let mut ports = Ports::default();
        let range = range(&["192.0.2.9", "2001:db8::9"], 20_000..=20_099);
        ports.assign(&tunnel_plan(20), &range);
        let few = tunnel_plan(10);
        let before: Vec<_> = few.targets.keys().map(|key| ports.of(key).to_vec()).collect();
        let (pins, _) = ports.assign(&few, &range);
        assert_eq!(pins.len(), 20);
        let freed: BTreeSet<_> = pins.keys().copied().collect();
        let (pins, _) = ports.assign(&tunnel_plan(20), &range);
        let after: Vec<_> = few.targets.keys().map(|key| ports.of(key).to_vec()).collect();
        assert_eq!(before, after);
        let new: Vec<_> = pins.keys().filter(|pair| !freed.contains(pair)).collect();
        assert!(new.iter().all(|pair| pair.port() >= 20_020), "used ones rest: {new:?}");
    }

    #[test]
    fn another_range_takes_pairs_away_and_too_small_a_one_is_said() {
        let mut ports = Ports::default();
        let plan = tunnel_plan(10);
        ports.assign(&plan, &range(&["192.0.2.9", "2001:db8::9"], 20_000..=20_099));
        let other = range(&["192.0.2.10", "2001:db8::9"], 30_000..=30_009);
        let (pins, short) = ports.assign(&plan, &other);
        assert_eq!((pins.len(), short), (20, 0));
        assert!(pins.keys().all(|pair| (30_000..=30_009).contains(&pair.port())));
        let narrow = range(&["192.0.2.10"], 30_000..=30_002);
        let (pins, short) = ports.assign(&plan, &narrow);
        let v4 = plan.targets.keys().filter(|key| key.to.ip().is_ipv4()).count();
        assert_eq!(pins.len(), 3);
        assert_eq!(short, 10 - 1.min(v4));
        let none = plan.targets.keys().find(|key| key.to.ip().is_ipv6()).unwrap();
        assert_eq!(ports.turn(none), None);
    }

    #[test]
    fn direct_probes_have_no_pins() {
        let range = range(&["192.0.2.9"], 20_000..=20_099);
        let (pins, short) = Ports::default().assign(&plan(5), &range);
        assert_eq!((pins.len(), short), (0, 0));
    }
}
