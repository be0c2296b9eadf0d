//! Services, and which packets are for which: a lookup for every packet. Each family has an index of its own.

use std::net::IpAddr;

use super::flow::FlowWords;
use super::id::{PolicyIndex, PoolIndex, ServiceId};
use super::index::Index;

/// What happens to packets for a service address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service that counts them.
    pub id: ServiceId,
    /// The pool that serves them.
    pub pool: PoolIndex,
    /// What happens to its flows when their backends drain or go down.
    pub policy: PolicyIndex,
    /// Whether the service accepts fragments.
    pub fragments: bool,
}

impl Service {
    /// No service.
    pub(super) const NONE: Service = Service {
        id: ServiceId(u32::MAX),
        pool: PoolIndex::NONE,
        policy: PolicyIndex(0),
        fragments: false,
    };
}

/// Which replies the forwarder itself sends for a virtual address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vip {
    /// Replies to echo requests.
    pub echo: bool,
    /// "Port unreachable" for UDP packets that no service has.
    pub unreachable: bool,
}

/// Which packets a service accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAddress {
    /// The virtual address.
    pub address: IpAddr,
    /// The IP protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

impl ServiceAddress {
    /// The service address of an IP address, an IP protocol number and a port.
    pub fn new(address: IpAddr, protocol: u8, port: u16) -> ServiceAddress {
        ServiceAddress { address, protocol, port }
    }

    /// The words of a flow to this address, with zeros for the source.
    fn words(&self) -> FlowWords {
        let protocol = u128::from(self.protocol) << 8;
        let port = u128::from(u16::from_le_bytes(self.port.to_be_bytes())) << 112;
        match self.address {
            IpAddr::V4(v4) => {
                let address = u128::from(u32::from_le_bytes(v4.octets())) << 64;
                FlowWords::V4((protocol | address | port).to_le_bytes())
            }
            IpAddr::V6(v6) => FlowWords::V6([0, u128::from_le_bytes(v6.octets()), protocol | port]),
        }
    }
}

/// The services, by their addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Services {
    v4: Index<u64, Service>,
    v6: Index<[u64; 3], Service>,
}

impl Services {
    /// Indexes services, each of which has an address of its own.
    pub fn new(services: &[(ServiceAddress, Service)]) -> Services {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for &(address, service) in services {
            match address.words() {
                FlowWords::V4(words) => v4.push((key_v4(words), service)),
                FlowWords::V6(words) => v6.push((key_v6(words), service)),
            }
        }
        Services { v4: Index::new(&v4, Service::NONE), v6: Index::new(&v6, Service::NONE) }
    }

    /// The service of an address.
    pub fn get(&self, address: &ServiceAddress) -> Option<Service> {
        let mut service = Service::NONE;
        match address.words() {
            FlowWords::V4(words) => self.of_v4(words, &mut service).then_some(service),
            FlowWords::V6(words) => self.of_v6(words, &mut service).then_some(service),
        }
    }

    /// Writes the service of an IPv4 packet, found by its flow's words, to `to`. Returns whether there is one.
    #[inline(always)]
    pub(super) fn of_v4(&self, words: [u8; 16], to: &mut Service) -> bool {
        found(self.v4.get(key_v4(words)), to)
    }

    /// Writes the service of an IPv6 packet, found by its flow's words, to `to`. Returns whether there is one.
    #[inline(always)]
    pub(super) fn of_v6(&self, words: [u128; 3], to: &mut Service) -> bool {
        found(self.v6.get(key_v6(words)), to)
    }
}

/// Writes the service that was found. Returns whether there is one.
#[inline(always)]
fn found(service: Option<&Service>, to: &mut Service) -> bool {
    *to = service.copied().unwrap_or(Service::NONE);
    service.is_some()
}

/// The bits of the destination port in the high half of the last word.
const PORT: u64 = 0xffff << 48;
/// The bits of the protocol in the low half of the last word.
const PROTOCOL: u64 = 0xff << 8;

/// The low and the high half of a word.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
#[inline(always)]
const fn halves(word: u128) -> (u64, u64) {
    (word as u64, (word >> 64) as u64)
}

/// The key of an IPv4 flow: destination address, protocol and destination port.
#[inline(always)]
const fn key_v4(words: [u8; 16]) -> u64 {
    let (low, high) = halves(u128::from_le_bytes(words));
    high & (PORT | 0xffff_ffff) | (low & PROTOCOL) << 32
}

/// The key of an IPv6 flow: destination address, protocol and destination port.
#[inline(always)]
const fn key_v6([_, destination, last]: [u128; 3]) -> [u64; 3] {
    let ((low, high), (protocol, port)) = (halves(destination), halves(last));
    [low, high, port & PORT | protocol & PROTOCOL]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use super::super::flow::FlowKey;
    use super::*;

    fn service(id: u32) -> Service {
        Service {
            id: ServiceId(id),
            pool: PoolIndex(u16::try_from(id / 3).unwrap()),
            policy: PolicyIndex(u8::try_from(id % 64).unwrap()),
            fragments: id.is_multiple_of(2),
        }
    }

    /// The service that a packet to this address finds.
    fn of_packet(services: &Services, to: &ServiceAddress) -> Option<Service> {
        let from: IpAddr = match to.address {
            IpAddr::V4(_) => Ipv4Addr::new(198, 51, 100, 7).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(0x2001_0db8_000c << 80 | 7).into(),
        };
        let mut service = Service::NONE;
        let to_port = SocketAddr::new(to.address, to.port);
        match FlowKey::new(SocketAddr::new(from, 40_000), to_port, to.protocol)?.words() {
            FlowWords::V4(words) => services.of_v4(words, &mut service).then_some(service),
            FlowWords::V6(words) => services.of_v6(words, &mut service).then_some(service),
        }
    }

    #[test]
    fn every_service_is_found_and_nothing_else() {
        let mut addresses = Vec::new();
        let count: u32 = if cfg!(miri) { 10 } else { 2500 };
        for n in 0..count {
            let v4 = Ipv4Addr::from_bits(0xcb00_7100 + n / 4);
            let v6 = Ipv6Addr::from_bits(0x2001_0db8_000f << 80 | u128::from(n / 4) << (n % 60));
            for address in [IpAddr::from(v4), v6.into(), v4.to_ipv6_mapped().into()] {
                let port = 80 + u16::try_from(n % 4).unwrap();
                addresses.push(ServiceAddress::new(address, 6, port));
                addresses.push(ServiceAddress::new(address, 17, port));
            }
        }
        let map: HashMap<ServiceAddress, Service> =
            addresses.iter().zip(0..).map(|(&address, id)| (address, service(id))).collect();
        let list: Vec<_> = map.iter().map(|(&address, &service)| (address, service)).collect();
        let services = Services::new(&list);
        for service_address in &addresses {
            let ServiceAddress { address, protocol, port } = *service_address;
            let near = [
                *service_address,
                ServiceAddress::new(address, protocol ^ 1, port),
                ServiceAddress::new(address, protocol, port ^ 0x100),
                ServiceAddress::new(address, 0, 0),
            ];
            for near in near {
                assert_eq!(services.get(&near), map.get(&near).copied());
                assert_eq!(of_packet(&services, &near), map.get(&near).copied());
            }
        }
    }

    /// Under every usual plan of addresses and ports, few services need a second look. By chance 7.6 % of 10,000
    /// would.
    #[test]
    #[cfg_attr(miri, ignore = "six tables of 10,000 services: minutes under Miri")]
    fn nearly_every_service_is_where_it_is_looked_for_first() {
        let v4 = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0xcb00_7100 + n));
        let v6 = |n: u32| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n)));
        type Plan<'a> = (&'a str, &'a dyn Fn(u32) -> (IpAddr, u32));
        let plans: [Plan<'_>; 6] = [
            ("ports", &|n| (v4(10), n)),
            ("addresses", &|n| (v4(n), 80)),
            ("both", &|n| (v4(n / 4), 80 + n % 4)),
            ("IPv6 ports", &|n| (v6(10), n)),
            ("IPv6 addresses", &|n| (v6(n), 80)),
            ("IPv6 networks", &|n| (Ipv6Addr::from_bits(u128::from(n) << 80).into(), 80)),
        ];
        for (name, plan) in plans {
            let service = |n| {
                let (address, port) = plan(n);
                (ServiceAddress::new(address, 6, u16::try_from(port).unwrap()), service(n))
            };
            let list: Vec<_> = (0..10_000).map(service).collect();
            let Services { v4, v6 } = Services::new(&list);
            let displaced = v4.displaced() + v6.displaced();
            assert!(displaced < 1300, "{name}: {displaced}");
        }
    }

    #[test]
    fn no_service_at_all_is_no_service_for_anything() {
        let services = Services::new(&[]);
        assert_eq!(services.get(&ServiceAddress::new([0, 0, 0, 0].into(), 0, 0)), None);
        assert_eq!(services.get(&ServiceAddress::new(Ipv6Addr::UNSPECIFIED.into(), 6, 80)), None);
    }
}
