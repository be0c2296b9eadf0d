//! What operators have ordered. Orders outlive restarts of everything.
//!
//! An order is for all peers or for one. For an address and a peer, withdrawn outweighs drained, and drained outweighs
//! announced, whoever of the four it is ordered for: the address or the node, all peers or this one.
//!
//! Orders may be given while the configuration is unknown, for example when only the controller was restarted. Then an
//! address with or without services is meant: what is withdrawn or drained stays so, and what is announced is registered,
//! unless that ends an order.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use guideway_api::{Error, ErrorKind, MAX_CHANGES, NodeOrder, VipOrder};
use guideway_chassis::wall::Wall;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::site::Site;

/// Addresses with orders at the most.
pub(super) const MOST: usize = MAX_CHANGES;

/// Orders that name a peer at the most. With the longest reasons they fit the file that a store reads.
pub(super) const MOST_FOR_PEERS: usize = 1 << 19;

/// When something was ordered, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Milliseconds from 1970 on.
    pub since: u64,
    /// Why, in the words of who ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The same order for all peers, and for some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Marks {
    /// For all peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Mark>,
    /// For these, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub peers: BTreeMap<String, Mark>,
}

impl Marks {
    fn is_empty(&self) -> bool {
        self.all.is_none() && self.peers.is_empty()
    }

    /// Marks a scope; none is all peers. False if it was marked already.
    fn set(&mut self, peer: Option<&str>, mark: &Mark) -> bool {
        match peer {
            None if self.all.is_none() => self.all = Some(mark.clone()),
            Some(peer) if !self.peers.contains_key(peer) => {
                self.peers.insert(peer.to_owned(), mark.clone());
            }
            _ => return false,
        }
        true
    }

    /// Removes the marks of one peer, or all marks. False if there was none.
    fn unset(&mut self, peer: Option<&str>) -> bool {
        match peer {
            None => !self.is_empty() && std::mem::take(self) != Marks::default(),
            Some(peer) => self.peers.remove(peer).is_some(),
        }
    }
}

/// The orders for one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VipOrders {
    /// It is announced even without a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered: Option<Mark>,
    /// It is announced to these peers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<BTreeSet<String>>,
    /// Next hops for all peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<IpAddr>,
    /// Next hops for these peers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub next_hops_of: BTreeMap<String, Vec<IpAddr>>,
    /// It is withdrawn.
    #[serde(skip_serializing_if = "Marks::is_empty")]
    pub withdrawn: Marks,
    /// It drains.
    #[serde(skip_serializing_if = "Marks::is_empty")]
    pub drained: Marks,
}

/// All orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// The node drains.
    #[serde(skip_serializing_if = "Marks::is_empty")]
    pub node: Marks,
    /// By address.
    #[serde(deserialize_with = "distinct")]
    pub vips: BTreeMap<IpAddr, VipOrders>,
}

/// What a [`Request::VipSet`](guideway_api::Request::VipSet) says of each address.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The order.
    pub order: VipOrder,
    /// The peers that it is for; all of them without any.
    pub peers: &'a [String],
    /// The next hops.
    pub next_hops: &'a [IpAddr],
    /// Why.
    pub reason: Option<&'a str>,
}

impl Orders {
    /// Orders something for addresses, all or none of them. Returns for how many that changes anything.
    ///
    /// # Errors
    /// If [`Site`] knows no such peer or may not announce an address, if a next hop is of no use, or if there would be
    /// too many orders.
    pub fn order(
        &mut self,
        site: Option<&Site>,
        addresses: &[IpAddr],
        change: &Change<'_>,
        now: Wall,
    ) -> Result<usize, Error> {
        check_peers(site, change.peers)?;
        if change.order == VipOrder::Announce {
            addresses.iter().try_for_each(|&address| check_announced(site, address, change))?;
        }
        let mut before = Vec::new();
        let mut is_more = false;
        for &address in addresses {
            let old = self.vips.get(&address).cloned();
            let has_services = site.map_or_else(
                || change.order != VipOrder::Announce || old.is_some(),
                |site| site.has(address),
            );
            if self.set(address, has_services, change, now) {
                is_more |= old.is_none() || !change.peers.is_empty();
                before.push((address, old));
            }
        }
        if is_more && let Err(error) = self.check_number() {
            // The other way round, since an address may be listed twice.
            for (address, old) in before.into_iter().rev() {
                match old {
                    None => _ = self.vips.remove(&address),
                    Some(old) => _ = self.vips.insert(address, old),
                }
            }
            return Err(error);
        }
        Ok(before.len())
    }

    /// Orders something for the node. False if that changes nothing.
    ///
    /// # Errors
    /// If [`Site`] knows no such peer.
    pub fn order_node(
        &mut self,
        site: Option<&Site>,
        order: NodeOrder,
        peers: &[String],
        reason: Option<&str>,
        now: Wall,
    ) -> Result<bool, Error> {
        check_peers(site, peers)?;
        Ok(self.set_node(order, peers, reason, now))
    }

    /// Refuses more orders than can be stored.
    pub(super) fn check_number(&self) -> Result<(), Error> {
        let rejected = |message| Err(Error::new(ErrorKind::Rejected, message));
        if self.vips.len() > MOST {
            return rejected(format!("there would be orders for more than {MOST} addresses"));
        }
        let of_peers: usize = self.vips.values().map(VipOrders::number_for_peers).sum();
        match of_peers + self.node.peers.len() {
            0..=MOST_FOR_PEERS => Ok(()),
            _ => rejected(format!("there would be more than {MOST_FOR_PEERS} orders for peers")),
        }
    }

    /// Orders something for an address, which has services or not. False if that changes nothing.
    pub(super) fn set(
        &mut self,
        address: IpAddr,
        has_services: bool,
        change: &Change<'_>,
        now: Wall,
    ) -> bool {
        let before = self.vips.get(&address).cloned().unwrap_or_default();
        let mut orders = before.clone();
        let mark = Mark { since: now.0, reason: change.reason.map(str::to_owned) };
        let scopes: Vec<Option<&str>> = match change.peers {
            [] => vec![None],
            peers => peers.iter().map(|peer| Some(peer.as_str())).collect(),
        };
        for peer in scopes {
            match change.order {
                VipOrder::Announce => orders.announce(peer, has_services, change.next_hops, &mark),
                VipOrder::Withdraw => orders.withdraw(peer, has_services, &mark),
                VipOrder::Drain if has_services || orders.registered.is_some() => {
                    orders.drained.set(peer, &mark);
                }
                VipOrder::Drain => {}
                VipOrder::Undrain => _ = orders.drained.unset(peer),
            }
        }
        if orders == before {
            return false;
        }
        match orders == VipOrders::default() {
            true => self.vips.remove(&address),
            false => self.vips.insert(address, orders),
        };
        true
    }

    pub(super) fn set_node(
        &mut self,
        order: NodeOrder,
        peers: &[String],
        reason: Option<&str>,
        now: Wall,
    ) -> bool {
        let mark = Mark { since: now.0, reason: reason.map(str::to_owned) };
        let mut set = |peer: Option<&str>| match order {
            NodeOrder::Drain => self.node.set(peer, &mark),
            NodeOrder::Undrain => self.node.unset(peer),
        };
        match peers {
            [] => set(None),
            // Every one is set, so no short circuit.
            peers => peers.iter().fold(false, |changed, peer| set(Some(peer)) | changed),
        }
    }
}

impl VipOrders {
    fn announce(
        &mut self,
        peer: Option<&str>,
        has_services: bool,
        next_hops: &[IpAddr],
        mark: &Mark,
    ) {
        let is_new = !has_services && self.registered.is_none();
        if is_new {
            self.registered = Some(mark.clone());
        }
        let Some(peer) = peer else {
            (self.withdrawn, self.only) = (Marks::default(), None);
            self.next_hops_of.clear();
            self.next_hops = next_hops.to_vec();
            return;
        };
        if is_new || self.withdrawn.all.is_some() {
            // Nobody has learnt of it so far, so that this peer is the only one.
            (self.withdrawn, self.only) = (Marks::default(), Some(BTreeSet::new()));
        }
        self.withdrawn.peers.remove(peer);
        if let Some(only) = &mut self.only {
            only.insert(peer.to_owned());
        }
        match next_hops {
            [] => _ = self.next_hops_of.remove(peer),
            next_hops => _ = self.next_hops_of.insert(peer.to_owned(), next_hops.to_vec()),
        }
    }

    fn withdraw(&mut self, peer: Option<&str>, has_services: bool, mark: &Mark) {
        let is_last = |only: &BTreeSet<String>, peer: &str| only.len() == 1 && only.contains(peer);
        match (peer, &mut self.only) {
            (Some(peer), Some(only)) if !is_last(only, peer) => _ = only.remove(peer),
            // From all peers already: what is announced to some of them later is announced to those alone.
            (Some(_), None) if self.withdrawn.all.is_some() => {}
            (Some(peer), None) => {
                if has_services || self.registered.is_some() {
                    self.withdrawn.set(Some(peer), mark);
                }
            }
            // From all peers, or from the last of them.
            (None | Some(_), _) if !has_services => *self = VipOrders::default(),
            (None | Some(_), _) => {
                let all = self.withdrawn.all.take().unwrap_or_else(|| mark.clone());
                self.only = None;
                self.withdrawn = Marks { all: Some(all), peers: BTreeMap::new() };
            }
        }
    }

    /// Orders that name a peer.
    fn number_for_peers(&self) -> usize {
        let only = self.only.as_ref().map_or(0, BTreeSet::len);
        let marks = self.withdrawn.peers.len() + self.drained.peers.len();
        only + marks + self.next_hops_of.len()
    }

    /// The next hop that a peer is told, if orders name one of the address' family.
    pub(super) fn next_hop(&self, address: IpAddr, peer: &str) -> Option<IpAddr> {
        let of_peer = self.next_hops_of.get(peer).into_iter().flatten();
        let mut next_hops = of_peer.chain(&self.next_hops);
        next_hops.find(|next_hop| next_hop.is_ipv4() == address.is_ipv4()).copied()
    }
}

/// Reads a map that has no key twice.
fn distinct<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord + fmt::Display,
    V: Deserialize<'de>,
{
    struct Distinct<K, V>(PhantomData<(K, V)>);

    impl<'de, K, V> Visitor<'de> for Distinct<K, V>
    where
        K: Deserialize<'de> + Ord + fmt::Display,
        V: Deserialize<'de>,
    {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                match map.entry(key) {
                    Entry::Vacant(entry) => _ = entry.insert(value),
                    Entry::Occupied(entry) => {
                        let message = format_args!("{} is there twice", entry.key());
                        return Err(de::Error::custom(message));
                    }
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(Distinct(PhantomData))
}

/// Refuses peers that the configuration does not have.
fn check_peers(site: Option<&Site>, peers: &[String]) -> Result<(), Error> {
    match site {
        Some(site) => site.check_peers(peers),
        None if peers.is_empty() => Ok(()),
        None => {
            let message = "no peer is known: the forwarder has not told a configuration with \
                           [announce] yet";
            Err(Error::new(ErrorKind::Failed, message))
        }
    }
}

/// Refuses to announce what no router could be told.
fn check_announced(site: Option<&Site>, address: IpAddr, change: &Change<'_>) -> Result<(), Error> {
    site.map_or(Ok(()), |site| site.check_allowed(address))?;
    let fits = |next_hop: &&IpAddr| next_hop.is_ipv4() == address.is_ipv4();
    let mut fitting = change.next_hops.iter().filter(fits);
    let wrong = match (change.next_hops, fitting.next(), fitting.next()) {
        ([], ..) => return Ok(()),
        (_, Some(next_hop), _) if *next_hop == address => "is its own next hop",
        (_, Some(_), None) => return Ok(()),
        (_, Some(_), Some(_)) => "can have one next hop only",
        (_, None, _) => "needs a next hop of its own family",
    };
    Err(Error::new(ErrorKind::Rejected, format!("{address} {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 10));

    fn change(order: VipOrder, peers: &[String]) -> Change<'_> {
        Change { order, peers, next_hops: &[], reason: Some("why") }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_same_order_again_changes_nothing() {
        for has_services in [true, false] {
            for peers in [names(&[]), names(&["a"]), names(&["a", "b"])] {
                let mut orders = Orders::default();
                for order in [
                    VipOrder::Announce,
                    VipOrder::Drain,
                    VipOrder::Undrain,
                    VipOrder::Drain,
                    VipOrder::Withdraw,
                ] {
                    orders.set(WEB, has_services, &change(order, &peers), Wall(1));
                    let before = orders.clone();
                    let again = orders.set(WEB, has_services, &change(order, &peers), Wall(2));
                    assert!(!again && orders == before, "{order:?} {peers:?} {orders:?}");
                }
            }
        }
        let mut orders = Orders::default();
        let both = names(&["a", "b"]);
        assert!(orders.set_node(NodeOrder::Drain, &both, None, Wall(1)));
        assert!(!orders.set_node(NodeOrder::Drain, &both[..1], None, Wall(2)));
        assert!(orders.set_node(NodeOrder::Drain, &[], None, Wall(3)));
        assert!(orders.set_node(NodeOrder::Undrain, &[], None, Wall(4)));
        assert!(!orders.set_node(NodeOrder::Undrain, &[], None, Wall(5)));
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn an_address_without_services_is_registered_and_forgotten() {
        let mut orders = Orders::default();
        for order in [VipOrder::Withdraw, VipOrder::Drain, VipOrder::Undrain] {
            assert!(!orders.set(WEB, false, &change(order, &[]), Wall(1)), "{order:?}");
        }
        assert!(orders.set(WEB, false, &change(VipOrder::Announce, &names(&["a"])), Wall(1)));
        assert_eq!(orders.vips[&WEB].only, Some(BTreeSet::from(["a".to_owned()])));
        assert!(orders.set(WEB, false, &change(VipOrder::Announce, &names(&["b"])), Wall(2)));
        assert!(orders.set(WEB, false, &change(VipOrder::Withdraw, &names(&["a"])), Wall(3)));
        assert_eq!(orders.vips[&WEB].only, Some(BTreeSet::from(["b".to_owned()])));
        assert!(orders.set(WEB, false, &change(VipOrder::Withdraw, &names(&["b"])), Wall(4)));
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn an_address_that_was_withdrawn_goes_to_the_peers_that_are_named() {
        let mut orders = Orders::default();
        orders.set(WEB, true, &change(VipOrder::Withdraw, &[]), Wall(1));
        orders.set(WEB, true, &change(VipOrder::Announce, &names(&["a"])), Wall(2));
        assert_eq!(orders.vips[&WEB].only, Some(BTreeSet::from(["a".to_owned()])));
        orders.set(WEB, true, &change(VipOrder::Announce, &[]), Wall(3));
        assert_eq!(orders, Orders::default());
        // Of an address that goes to all, a peer is an exception.
        orders.set(WEB, true, &change(VipOrder::Withdraw, &names(&["a"])), Wall(4));
        let withdrawn = &orders.vips[&WEB].withdrawn;
        assert!(withdrawn.all.is_none() && withdrawn.peers["a"].since == 4);
        orders.set(WEB, true, &change(VipOrder::Announce, &names(&["a"])), Wall(5));
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn next_hops_are_those_of_the_peer_or_of_all() {
        let (one, two): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut orders = Orders::default();
        let mut announce = |next_hops: &[IpAddr], peers: &[&str], now| {
            let peers = names(peers);
            let change = Change { next_hops, ..change(VipOrder::Announce, &peers) };
            orders.set(WEB, true, &change, Wall(now));
            orders.vips.get(&WEB).cloned()
        };
        announce(&[one], &[], 1);
        let vip = announce(&[two], &["a"], 1).unwrap();
        assert_eq!((vip.next_hop(WEB, "a"), vip.next_hop(WEB, "b")), (Some(two), Some(one)));
        let six = "2001:db8::1".parse().unwrap();
        assert_eq!(vip.next_hop(six, "a"), None);
        assert_eq!(announce(&[], &[], 2), None);
    }
}
