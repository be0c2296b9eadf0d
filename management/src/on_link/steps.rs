//! Which addresses belong on which device, and the steps there: add, remove, announce.
//!
//! [`wanted`] follows from the services and from the networks of the devices. [`Addresses`] remembers what was put
//! there, so that only that is removed. An address that somebody else removed is added again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use guideway_config::{Mac, Service};
use ipnet::IpNet;

use crate::routing::Link;

/// The time between the first two announcements (RFC 5227, section 1.1: `ANNOUNCE_INTERVAL`).
const SECOND: Duration = Duration::from_secs(2);
/// The time between later ones.
const PERIOD: Duration = Duration::from_secs(60);
/// How long a device may take to show an address that was put on it.
const SHOWN: Duration = Duration::from_secs(1);

/// A device of the kernel on which addresses can be: the interface of a port, or a VLAN device there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Where it is.
    pub(super) place: Place,
    /// Frames that it sends reach the link.
    pub(super) is_up: bool,
    /// The addresses that it has, with their prefixes.
    pub(super) addresses: Vec<IpNet>,
}

/// A device, and how frames leave by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The port and the VLAN.
    pub(super) link: Link,
    /// The kernel's index of the device.
    pub(super) index: u32,
    /// The MAC address of the port.
    pub(super) mac: Mac,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Put the address on the device.
    Add(Place, IpAddr),
    /// Remove the address from the device.
    Remove(Place, IpAddr),
    /// Announce the address on the device's link.
    Announce(Place, IpAddr),
}

/// The device of each virtual address for which the kernel is to reply: of those that have a network with the
/// address, the one with the longest prefix, or else the first.
///
/// An address that a device has as one of its own, with its network, needs nothing: the kernel replies for it.
pub(super) fn wanted(services: &[Service], devices: &[Device]) -> BTreeMap<IpAddr, Place> {
    let networks = || {
        let of = |device: &Device| {
            let place = device.place;
            let networks = device.addresses.iter().filter(|network| !is_host(network));
            networks.map(move |&network| (network, place)).collect::<Vec<_>>()
        };
        devices.iter().flat_map(of)
    };
    let is_own = |address| networks().any(|(network, _)| network.addr() == address);
    let mut wanted = BTreeMap::new();
    for service in services.iter().filter(|service| service.answer_on_link) {
        let address = service.address;
        if is_own(address) {
            continue;
        }
        let around = networks().filter(|(network, _)| network.contains(&address));
        let longest =
            around.reduce(
                |best, other| {
                    if other.0.prefix_len() > best.0.prefix_len() { other } else { best }
                },
            );
        if let Some((_, place)) = longest {
            wanted.insert(address, place);
        }
    }
    wanted
}

/// Whether a prefix has full length, so that it is no network with other hosts.
fn is_host(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// The addresses that were put on devices.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    placed: BTreeMap<IpAddr, Placed>,
}

/// An address on a device.
#[derive(Debug)]
struct Placed {
    place: Place,
    /// When it is announced next.
    next: Instant,
    /// Whether it was announced before, and the link was up since.
    is_known: bool,
    /// When it was to be put on the device, until the device shows it.
    tried: Option<Instant>,
}

impl Addresses {
    /// Whether no address is on any device.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.placed.is_empty()
    }

    /// What is to do so that the addresses on the devices are those that are `wanted`, and are announced.
    ///
    /// The caller carries out every step. An address that the device does not show is among the steps again after a
    /// second.
    pub(super) fn steps(
        &mut self,
        wanted: &BTreeMap<IpAddr, Place>,
        devices: &[Device],
        now: Instant,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        let device = |place: Place| devices.iter().find(|d| d.place.index == place.index);
        self.placed.retain(|&address, placed| {
            let stays = wanted.get(&address).is_some_and(|place| place.index == placed.place.index);
            // With its device the address is gone.
            if !stays && device(placed.place).is_some() {
                steps.push(Step::Remove(placed.place, address));
            }
            stays
        });
        for (&address, &place) in wanted {
            let Some(device) = device(place) else { continue };
            let is_there = device.addresses.iter().any(|has| has.addr() == address);
            let placed = match self.placed.get_mut(&address) {
                Some(placed) => placed,
                // Somebody else has put it there, and may remove it again.
                None if is_there => continue,
                None => {
                    let new = Placed { place, next: now, is_known: false, tried: None };
                    self.placed.entry(address).or_insert(new)
                }
            };
            if is_there {
                placed.tried = None;
            } else if placed.tried.is_none_or(|tried| now >= tried + SHOWN) {
                placed.tried = Some(now);
                steps.push(Step::Add(place, address));
            }
            if !device.is_up || placed.place != place {
                // Once the link is up, or with another MAC address, the address begins again.
                *placed = Placed { place, next: now, is_known: false, ..*placed };
            }
            if device.is_up && placed.next <= now {
                steps.push(Step::Announce(place, address));
                placed.next = now + if placed.is_known { PERIOD } else { SECOND };
                placed.is_known = true;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn place(port: usize, vlan: Option<u16>, index: u32) -> Place {
        Place { link: Link { port, vlan }, index, mac: [2, 0, 0, 0, 0, 1] }
    }

    fn device(place: Place, addresses: &[&str]) -> Device {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Device { place, is_up: true, addresses }
    }

    const EDGE0: u32 = 3;

    fn edge0(addresses: &[&str]) -> Vec<Device> {
        vec![device(place(0, None, EDGE0), addresses)]
    }

    /// Services with these addresses and `answer_on_link`.
    fn services(addresses: &[(&str, bool)]) -> Vec<Service> {
        let text = crate::sample::text(crate::sample::THREE);
        let service = guideway_config::parse(&text).unwrap().configuration.services.remove(0);
        let of = |&(address, answer_on_link)| Service {
            address: ip(address),
            answer_on_link,
            ..service.clone()
        };
        addresses.iter().map(of).collect()
    }

    #[test]
    fn an_address_belongs_on_the_device_with_its_network() {
        let devices = [
            device(place(0, None, EDGE0), &["192.0.2.1/24", "2001:db8::1/64", "10.0.0.1/8"]),
            device(place(0, Some(200), 4), &["10.1.0.1/16"]),
            device(place(1, None, 5), &["192.0.2.2/24", "10.9.9.9/32"]),
        ];
        let set = |address| services(&[(address, true)]);
        let index = |address| wanted(&set(address), &devices).get(&ip(address)).map(|p| p.index);
        assert_eq!(index("192.0.2.100"), Some(EDGE0), "of equal prefixes the first");
        assert_eq!(index("2001:db8::100"), Some(EDGE0));
        assert_eq!(index("10.1.0.100"), Some(4), "the longest prefix");
        assert_eq!(index("10.2.0.100"), Some(EDGE0));
        assert_eq!(index("203.0.113.10"), None, "on no link");
        assert_eq!(index("192.0.2.2"), None, "the node's own address");
        assert_eq!(index("10.9.9.9"), Some(EDGE0), "a host address is no network");
        // Of several services with one address, one with the key decides.
        let both = services(&[("192.0.2.100", false), ("192.0.2.100", true), ("192.0.2.9", false)]);
        assert_eq!(wanted(&both, &devices).into_keys().collect::<Vec<_>>(), [ip("192.0.2.100")]);
    }

    #[test]
    fn an_address_comes_and_goes_with_its_service() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let (vip, edge) = (ip("192.0.2.100"), place(0, None, EDGE0));
        let devices = edge0(&["192.0.2.1/24"]);
        let set = wanted(&services(&[("192.0.2.100", true)]), &devices);
        let steps = addresses.steps(&set, &devices, now);
        assert_eq!(steps, [Step::Add(edge, vip), Step::Announce(edge, vip)]);
        let with = edge0(&["192.0.2.1/24", "192.0.2.100/32"]);
        assert_eq!(wanted(&services(&[("192.0.2.100", true)]), &with), set);
        assert_eq!(addresses.steps(&set, &with, now), []);
        assert_eq!(addresses.steps(&BTreeMap::new(), &with, now), [Step::Remove(edge, vip)]);
        assert!(addresses.is_empty());
        assert_eq!(addresses.steps(&BTreeMap::new(), &devices, now), []);
    }

    #[test]
    fn announcements_come_at_once_again_after_two_seconds_and_every_minute() {
        let (mut addresses, start) = (Addresses::default(), Instant::now());
        let devices = edge0(&["192.0.2.1/24", "2001:db8::1/64"]);
        let set = wanted(&services(&[("2001:db8::100", true)]), &devices);
        let with = edge0(&["192.0.2.1/24", "2001:db8::1/64", "2001:db8::100/128"]);
        let mut times = Vec::new();
        addresses.steps(&set, &devices, start);
        for second in 1..=130 {
            let steps = addresses.steps(&set, &with, start + Duration::from_secs(second));
            times.extend(steps.iter().map(|_| second));
        }
        assert_eq!(times, [2, 62, 122]);
    }

    #[test]
    fn a_link_that_comes_up_and_another_mac_address_are_announced() {
        let (mut addresses, start) = (Addresses::default(), Instant::now());
        let later = start + Duration::from_secs(10);
        let vip = ip("192.0.2.100");
        let mut devices = edge0(&["192.0.2.1/24", "192.0.2.100/32"]);
        devices[0].is_up = false;
        let without = edge0(&["192.0.2.1/24"]);
        let set = wanted(&services(&[("192.0.2.100", true)]), &devices);
        let mut down = without.clone();
        down[0].is_up = false;
        let edge = place(0, None, EDGE0);
        assert_eq!(addresses.steps(&set, &down, start), [Step::Add(edge, vip)]);
        assert_eq!(addresses.steps(&set, &devices, later), []);
        devices[0].is_up = true;
        assert_eq!(addresses.steps(&set, &devices, later), [Step::Announce(edge, vip)]);
        let renamed = Place { mac: [2, 0, 0, 0, 0, 9], ..edge };
        devices[0].place = renamed;
        let set = wanted(&services(&[("192.0.2.100", true)]), &devices);
        let announced = [Step::Announce(renamed, vip)];
        assert_eq!(addresses.steps(&set, &devices, later), announced);
        assert_eq!(addresses.steps(&set, &devices, later), []);
    }

    #[test]
    fn what_others_do_with_addresses_is_noticed() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let (vip, edge) = (ip("192.0.2.100"), place(0, None, EDGE0));
        let (without, with) =
            (edge0(&["192.0.2.1/24"]), edge0(&["192.0.2.1/24", "192.0.2.100/32"]));
        let set = wanted(&services(&[("192.0.2.100", true)]), &without);
        // An address that an operator has put there stays theirs.
        assert_eq!(addresses.steps(&set, &with, now), []);
        assert_eq!(addresses.steps(&BTreeMap::new(), &with, now), []);
        // A flush of all addresses: without its network the address has no place, then it returns.
        assert_eq!(addresses.steps(&set, &without, now).len(), 2);
        let flushed = edge0(&[]);
        let none = wanted(&services(&[("192.0.2.100", true)]), &flushed);
        assert_eq!(addresses.steps(&none, &flushed, now), [Step::Remove(edge, vip)]);
        assert_eq!(addresses.steps(&set, &without, now)[0], Step::Add(edge, vip));
        // Somebody removes the address alone.
        assert_eq!(addresses.steps(&set, &with, now), []);
        assert_eq!(addresses.steps(&set, &without, now), [Step::Add(edge, vip)]);
        // The device is given a second to show the address.
        assert_eq!(addresses.steps(&set, &without, now + SHOWN / 2), []);
        assert_eq!(addresses.steps(&set, &without, now + SHOWN), [Step::Add(edge, vip)]);
    }

    #[test]
    fn an_address_moves_with_its_network_and_ends_with_its_device() {
        let (mut addresses, now) = (Addresses::default(), Instant::now());
        let vip = ip("192.0.2.100");
        let (edge, other) = (place(0, None, EDGE0), place(1, None, 5));
        let service = services(&[("192.0.2.100", true)]);
        let before = [device(edge, &["192.0.2.1/24"]), device(other, &[])];
        addresses.steps(&wanted(&service, &before), &before, now);
        let after = [device(edge, &["192.0.2.100/32"]), device(other, &["192.0.2.1/24"])];
        assert_eq!(
            addresses.steps(&wanted(&service, &after), &after, now),
            [Step::Remove(edge, vip), Step::Add(other, vip), Step::Announce(other, vip)]
        );
        let gone = [device(edge, &[])];
        assert_eq!(addresses.steps(&wanted(&service, &gone), &gone, now), []);
        assert!(addresses.is_empty());
    }
}
