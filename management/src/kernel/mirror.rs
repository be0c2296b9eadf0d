//! The kernel's links, addresses and neighbours, kept up to date by what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use guideway_config::Mac;
use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use rustc_hash::FxHashMap;

use super::message::{self, Device, Entry};
use super::view::{Interface, NeighborState};
use crate::routing::{Link, LocalAddress};
use guideway_netlink::{Error, Requests, Told};

/// A port with an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInterface {
    /// The port, an index into the ports of the configuration.
    pub port: usize,
    /// The name of its interface.
    pub interface: String,
}

/// How long a MAC address is used after its entry was removed or failed, while the neighbour is resolved anew. Flushing
/// a table fails its entries first.
const GRACE: Duration = Duration::from_secs(1);

/// A neighbour as the kernel has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) entry: Entry,
    /// The MAC address that was valid last, and until when it may be used.
    kept: Option<(Mac, Instant)>,
    /// When the MAC address became this one, or unknown.
    pub(super) since: SystemTime,
}

impl Known {
    /// The MAC address to send to.
    pub(super) fn mac(&self, now: Instant) -> Option<Mac> {
        let kept = self.kept.filter(|&(_, until)| now < until).map(|(mac, _)| mac);
        self.valid().or(kept)
    }

    /// The MAC address that the kernel would send to.
    fn valid(&self) -> Option<Mac> {
        self.entry.mac.filter(|_| self.entry.state.is_valid())
    }

    /// Replaces the entry. The MAC address of one that was valid is kept for a while.
    fn set(&mut self, entry: Entry, now: Instant) {
        let before = self.valid();
        self.entry = entry;
        if self.valid().is_some() {
            self.kept = None;
        } else if let Some(mac) = before {
            self.kept = Some((mac, now + GRACE));
        }
    }
}

/// What a message changes for those who use the mirror.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// A routing table has another route with this prefix.
    Prefix(IpNet),
    /// Any route can be another.
    Routes,
    /// Any route can be another, since the addresses of this node are others.
    Addresses,
    /// Any route can be another, since a device is. Its neighbours may be gone.
    Device(u32),
    /// A neighbour is another.
    Neighbor {
        /// Where it is.
        link: Link,
        /// Its address.
        address: IpAddr,
        /// Whether its entry is gone, is not managed, or will not be probed soon: the kernel probes old entries and
        /// those that failed only every 5 s, unless they are entered again.
        is_weak: bool,
    },
}

/// The kernel's links, addresses and neighbours.
#[derive(Debug)]
pub(super) struct Mirror {
    ports: Vec<Port>,
    devices: BTreeMap<u32, Device>,
    addresses: BTreeSet<(u32, IpNet)>,
    /// On the ports' interfaces and on VLAN devices on them.
    neighbors: FxHashMap<(Link, IpAddr), Known>,
}

#[derive(Debug)]
struct Port {
    port: usize,
    /// The name that the configuration gives to the interface.
    name: String,
    index: Option<u32>,
}

impl Mirror {
    /// A mirror that knows nothing yet.
    pub(super) fn new(ports: Vec<PortInterface>) -> Mirror {
        let ports = ports.into_iter().map(|PortInterface { port, interface }| Port {
            port,
            name: interface,
            index: None,
        });
        Mirror {
            ports: ports.collect(),
            devices: BTreeMap::new(),
            addresses: BTreeSet::new(),
            neighbors: FxHashMap::default(),
        }
    }

    /// Reads everything. The watch must be open, so that nothing is missed.
    pub(super) fn read(&mut self, requests: &mut Requests) -> Result<(), Error> {
        use RouteNetlinkMessage as M;
        let links = requests.dump(&M::GetLink(LinkMessage::default()))?;
        let addresses = requests.dump(&M::GetAddress(AddressMessage::default()))?;
        let neighbors = requests.dump(&M::GetNeighbour(NeighbourMessage::default()))?;
        self.devices.clear();
        for link in links {
            if let M::NewLink(link) = link
                && let Some(device) = message::device(&link)
            {
                self.devices.insert(device.index, device);
            }
        }
        self.find_interfaces();
        for missing in self.ports.iter().filter(|port| port.index.is_none()) {
            tracing::warn!(port = missing.port, "there is no interface {} yet", missing.name);
        }
        self.addresses = addresses
            .iter()
            .filter_map(|message| match message {
                M::NewAddress(address) => message::address(address),
                _ => None,
            })
            .collect();
        let gone: Vec<_> = self.neighbors.keys().copied().collect();
        let mut known = FxHashMap::default();
        std::mem::swap(&mut known, &mut self.neighbors);
        for message in neighbors {
            if let M::NewNeighbour(message) = message
                && let Some((index, address, entry)) = message::neighbor(&message)
                && let Some(link) = self.link_of(index)
            {
                if let Some(before) = known.remove(&(link, address)) {
                    self.neighbors.insert((link, address), before);
                }
                self.note(link, address, entry);
            }
        }
        for key in gone {
            if let Some(before) = known.remove(&key) {
                self.neighbors.insert(key, before);
                self.forget(key.0, key.1);
            }
        }
        Ok(())
    }

    /// Takes note of what the kernel has told.
    pub(super) fn take(&mut self, told: Told) -> Effect {
        use RouteNetlinkMessage as M;
        let told = match told {
            Told::Message(told) => told,
            Told::NextHopObject => return Effect::Routes,
            Told::Route(route) => return Effect::Prefix(route.prefix),
        };
        match told {
            M::NewLink(link) => {
                let Some(device) = message::device(&link) else { return Effect::None };
                let index = device.index;
                // Links are told of for many reasons, such as each membership of a multicast group.
                if self.devices.get(&index) == Some(&device) {
                    return Effect::None;
                }
                self.devices.insert(index, device);
                self.find_interfaces();
                Effect::Device(index)
            }
            M::DelLink(link) => {
                let index = link.header.index;
                // A bridge tells so of a device that leaves it.
                if link.header.interface_family != netlink_packet_route::AddressFamily::Unspec {
                    return Effect::None;
                }
                let lost = self.link_of(index);
                if self.devices.remove(&index).is_none() {
                    return Effect::None;
                }
                self.addresses.retain(|&(of, _)| of != index);
                self.find_interfaces();
                if let Some(lost) = lost {
                    let gone: Vec<_> =
                        self.neighbors.keys().filter(|(link, _)| *link == lost).copied().collect();
                    gone.into_iter().for_each(|(link, address)| self.forget(link, address));
                }
                Effect::Device(index)
            }
            M::NewAddress(message) => match message::address(&message) {
                Some(address) if message::is_duplicate(&message) => self.give_up(address),
                Some(address) if self.addresses.insert(address) => Effect::Addresses,
                _ => Effect::None,
            },
            M::DelAddress(address) => match message::address(&address) {
                Some(address) if self.addresses.remove(&address) => Effect::Addresses,
                _ => Effect::None,
            },
            M::NewRule(_) | M::DelRule(_) => Effect::Routes,
            M::NewNeighbour(message) => self.neighbor(&message, false),
            M::DelNeighbour(message) => self.neighbor(&message, true),
            _ => Effect::None,
        }
    }

    /// Takes note that the kernel does not use an address, because another host has it.
    fn give_up(&mut self, (index, network): (u32, IpNet)) -> Effect {
        if let (Some(device), Some(_)) = (self.devices.get(&index), self.link_of(index)) {
            tracing::error!(
                "interface {}: another host on the link has the address {}, and the kernel does not use it: give one \
                 of both another address",
                device.name,
                network.addr()
            );
        }
        match self.addresses.remove(&(index, network)) {
            true => Effect::Addresses,
            false => Effect::None,
        }
    }

    fn neighbor(&mut self, message: &NeighbourMessage, is_gone: bool) -> Effect {
        let Some((index, address, entry)) = message::neighbor(message) else { return Effect::None };
        let Some(link) = self.link_of(index) else { return Effect::None };
        let before = self.known(link, address).map(|known| known.entry.state);
        if is_gone {
            self.forget(link, address);
        } else {
            self.note(link, address, entry);
        }
        // A host that never answers is left to the kernel.
        let has_failed =
            entry.state == NeighborState::Failed && before.is_some_and(NeighborState::is_valid);
        let is_weak =
            is_gone || !entry.is_managed || has_failed || entry.state == NeighborState::Stale;
        Effect::Neighbor { link, address, is_weak }
    }

    fn note(&mut self, link: Link, address: IpAddr, entry: Entry) {
        let now = Instant::now();
        let Some(known) = self.neighbors.get_mut(&(link, address)) else {
            let known = Known { entry, kept: None, since: SystemTime::now() };
            self.neighbors.insert((link, address), known);
            return;
        };
        let before = known.mac(now);
        known.set(entry, now);
        if known.mac(now) != before {
            known.since = SystemTime::now();
        }
    }

    /// Takes note that an entry was removed.
    fn forget(&mut self, link: Link, address: IpAddr) {
        if let Some(known) = self.neighbors.get_mut(&(link, address)) {
            let gone = Entry { mac: None, state: NeighborState::Missing, is_managed: false };
            known.set(gone, Instant::now());
        }
    }

    /// Drops what is known of removed entries whose time is over. Returns who they were, and when the next is over.
    pub(super) fn expire(&mut self, now: Instant) -> (Vec<(Link, IpAddr)>, Option<Instant>) {
        let (mut expired, mut next) = (Vec::new(), None);
        self.neighbors.retain(|&key, known| {
            match known.kept {
                Some((_, until)) if until <= now => {
                    known.kept = None;
                    known.since = SystemTime::now();
                    expired.push(key);
                }
                Some((_, until)) => {
                    next = Some(next.map_or(until, |next: Instant| next.min(until)))
                }
                None => (),
            }
            known.kept.is_some() || known.entry.state != NeighborState::Missing
        });
        (expired, next)
    }

    /// Finds the ports' interfaces: a device that was one stays one under another name.
    fn find_interfaces(&mut self) {
        for port in &mut self.ports {
            let Port { port, name, index } = port;
            if let Some(device) = index.and_then(|index| self.devices.get(&index)) {
                // The watch of the links records it.
                name.clone_from(&device.name);
                continue;
            }
            let found = self.devices.values().find(|device| device.name == *name);
            if index.is_some() && found.is_some() {
                tracing::warn!(port, "another device is called {name} now");
            }
            *index = found.map(|device| device.index);
        }
    }

    /// What a device is; `None` if it is no port's.
    pub(super) fn link_of(&self, index: u32) -> Option<Link> {
        let port = |index| self.ports.iter().find(|port| port.index == Some(index));
        if let Some(found) = port(index) {
            return Some(Link::of_port(found.port));
        }
        let (vlan, parent) = self.devices.get(&index)?.vlan?;
        Some(Link { port: port(parent)?.port, vlan: Some(vlan) })
    }

    /// The index of the device of a link.
    pub(super) fn index_of(&self, link: Link) -> Option<u32> {
        let port = self.ports.iter().find(|port| port.port == link.port)?.index?;
        let Some(vlan) = link.vlan else { return Some(port) };
        self.devices
            .values()
            .find(|device| device.vlan == Some((vlan, port)))
            .map(|device| device.index)
    }

    /// The name of a device.
    pub(super) fn name_of(&self, index: u32) -> Arc<str> {
        self.devices
            .get(&index)
            .map_or_else(|| format!("device {index}").into(), |device| device.name.as_str().into())
    }

    /// A device.
    pub(super) fn device(&self, index: u32) -> Option<&Device> {
        self.devices.get(&index)
    }

    /// A neighbour.
    pub(super) fn known(&self, link: Link, address: IpAddr) -> Option<&Known> {
        self.neighbors.get(&(link, address))
    }

    /// Whether this is an address of this node.
    pub(super) fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(_, network)| network.addr() == address)
    }

    /// The addresses of this node.
    pub(super) fn local(&self) -> Arc<[LocalAddress]> {
        let local = self.addresses.iter().map(|&(index, network)| LocalAddress {
            network,
            interface: self.name_of(index),
            link: self.link_of(index),
        });
        local.collect()
    }

    /// The ports' interfaces, each followed by the VLAN devices on it.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        let addresses = |index| {
            let of = self.addresses.iter().filter(move |(of, _)| *of == index);
            of.map(|&(_, network)| network).collect()
        };
        let interface = |link, device: &Device| Interface {
            link,
            name: device.name.clone(),
            index: Some(device.index),
            is_up: device.is_up,
            has_carrier: device.has_carrier,
            addresses: addresses(device.index),
        };
        let mut list = Vec::new();
        for port in &self.ports {
            let link = Link::of_port(port.port);
            let Some(device) = port.index.and_then(|index| self.devices.get(&index)) else {
                let name = port.name.clone();
                list.push(Interface {
                    link,
                    name,
                    index: None,
                    is_up: false,
                    has_carrier: false,
                    addresses: Vec::new(),
                });
                continue;
            };
            list.push(interface(link, device));
            let on_it = self.devices.values().filter_map(|on| {
                let (vlan, _) = on.vlan.filter(|&(_, parent)| parent == device.index)?;
                Some(interface(Link { vlan: Some(vlan), ..link }, on))
            });
            list.extend(on_it);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{
        InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, VlanProtocol,
    };

    use super::*;

    fn device(index: u32, name: &str, vlan: Option<(u16, u32, VlanProtocol)>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        if let Some((id, parent, protocol)) = vlan {
            message.attributes.push(LinkAttribute::Link(parent));
            let data = InfoData::Vlan(vec![InfoVlan::Id(id), InfoVlan::Protocol(protocol)]);
            message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Data(data)]));
        }
        message
    }

    fn mirror() -> Mirror {
        let port = |port, name: &str| PortInterface { port, interface: name.to_owned() };
        let mut mirror = Mirror::new(vec![port(0, "edge0"), port(1, "edge1")]);
        for (index, name, vlan) in [
            (1, "lo", None),
            (5, "edge0", None),
            (6, "edge1", None),
            (7, "edge1.200", Some((200, 6, VlanProtocol::Ieee8021Q))),
            (8, "edge1.200.7", Some((7, 7, VlanProtocol::Ieee8021Q))),
            (9, "provider", Some((9, 6, VlanProtocol::Ieee8021Ad))),
            (10, "lo.1", Some((1, 1, VlanProtocol::Ieee8021Q))),
        ] {
            let told = Told::Message(RouteNetlinkMessage::NewLink(device(index, name, vlan)));
            assert_eq!(mirror.take(told), Effect::Device(index));
        }
        mirror
    }

    #[test]
    fn a_vlan_device_on_an_interface_is_a_link_of_its_port() {
        let mirror = mirror();
        let link = |port, vlan| Some(Link { port, vlan });
        let links: Vec<_> = (1..=11).map(|index| mirror.link_of(index)).collect();
        let none = None;
        let expected = [
            none,
            none,
            none,
            none,
            link(0, None),
            link(1, None),
            link(1, Some(200)),
            none,
            none,
            none,
            none,
        ];
        assert_eq!(links, expected, "tags within tags and provider tags are none");
        assert_eq!(mirror.index_of(Link { port: 1, vlan: Some(200) }), Some(7));
        assert_eq!(mirror.index_of(Link { port: 1, vlan: Some(7) }), None);
        let names: Vec<_> = mirror.interfaces().into_iter().map(|i| i.name).collect();
        assert_eq!(names, ["edge0", "edge1", "edge1.200"]);
    }

    #[test]
    fn what_is_told_twice_is_no_news() {
        let mut mirror = mirror();
        let told = || Told::Message(RouteNetlinkMessage::NewLink(device(5, "edge0", None)));
        assert_eq!(mirror.take(told()), Effect::None);
        let gone = Told::Message(RouteNetlinkMessage::DelLink(device(5, "edge0", None)));
        assert_eq!(mirror.take(gone), Effect::Device(5));
        assert_eq!(mirror.index_of(Link::of_port(0)), None);
        assert_eq!(mirror.take(told()), Effect::Device(5));
        assert_eq!(mirror.index_of(Link::of_port(0)), Some(5));
    }

    #[test]
    fn an_address_is_kept_for_a_while_after_its_entry_is_gone_or_failed() {
        let mut mirror = mirror();
        let (link, address) = (Link::of_port(0), IpAddr::from([192, 0, 2, 9]));
        let entry =
            |mac: Option<u8>, state| Entry { mac: mac.map(|n| [n; 6]), state, is_managed: true };
        let mac =
            |mirror: &Mirror, now| mirror.known(link, address).and_then(|known| known.mac(now));
        let late = || Instant::now() + GRACE;
        mirror.note(link, address, entry(Some(1), NeighborState::Reachable));
        assert_eq!(mac(&mirror, late()), Some([1; 6]));
        for state in [NeighborState::Failed, NeighborState::Incomplete] {
            mirror.note(link, address, entry(None, state));
            assert_eq!((mac(&mirror, Instant::now()), mac(&mirror, late())), (Some([1; 6]), None));
        }
        mirror.note(link, address, entry(Some(2), NeighborState::Stale));
        mirror.forget(link, address);
        mirror.forget(link, address);
        assert_eq!((mac(&mirror, Instant::now()), mac(&mirror, late())), (Some([2; 6]), None));
        let (expired, next) = mirror.expire(Instant::now());
        assert!(expired.is_empty() && next.is_some());
        assert_eq!(mirror.expire(late()), (vec![(link, address)], None));
        assert!(mirror.known(link, address).is_none());
    }
}
