//! What follows from a configuration for the probes of its checks: where they go, and how long they may be.
//!
//! The checks across sections use the same rules as the controller and the forwarder.

use guideway_core::balancer::Protocol;
use guideway_core::balancer::mtu::inner_mtu;

use crate::model::Configuration;
use crate::sections::{Backend, Via};

/// For each pool, the first services of the file that can choose from its backends.
#[derive(Clone, Debug)]
pub struct FirstServices(Vec<First>);

/// The indices of the first services of each protocol.
#[derive(Clone, Copy, Debug, Default)]
struct First {
    tcp: Option<usize>,
    udp: Option<usize>,
}

/// The lower of two indices.
fn lower(one: Option<usize>, other: Option<usize>) -> Option<usize> {
    one.into_iter().chain(other).min()
}

impl First {
    fn or(self, other: First) -> First {
        First { tcp: lower(self.tcp, other.tcp), udp: lower(self.udp, other.udp) }
    }
}

impl FirstServices {
    /// Of so many pools. Each service has its index, its pool and its protocol; `chosen` says of which pools a pool can
    /// choose backends.
    pub(crate) fn new<I: Iterator<Item = usize>>(
        pools: usize,
        services: impl Iterator<Item = (usize, usize, Protocol)>,
        chosen: impl Fn(usize) -> I,
    ) -> FirstServices {
        // First by the services' own pools: thousands of services may share one that chooses from thousands.
        let mut direct = vec![First::default(); pools];
        for (service, pool, protocol) in services {
            let Some(first) = direct.get_mut(pool) else { continue };
            let of_protocol = match protocol {
                Protocol::Tcp => &mut first.tcp,
                Protocol::Udp => &mut first.udp,
            };
            *of_protocol = lower(*of_protocol, Some(service));
        }
        let mut found = direct.clone();
        for (pool, first) in direct.into_iter().enumerate() {
            for other in chosen(pool) {
                if let Some(of_other) = found.get_mut(other) {
                    *of_other = of_other.or(first);
                }
            }
        }
        FirstServices(found)
    }

    /// The service that a check of a pool goes to: the first of the check's protocol, or else the first of any. An
    /// index into [`Configuration::services`].
    pub fn of(&self, pool: usize, protocol: Option<Protocol>) -> Option<usize> {
        let First { tcp, udp } = self.0.get(pool).copied()?;
        let of_protocol = match protocol {
            Some(Protocol::Tcp) => tcp,
            Some(Protocol::Udp) => udp,
            None => None,
        };
        of_protocol.or(lower(tcp, udp))
    }
}

impl Configuration {
    /// For each pool, the first services that can choose from its backends.
    pub fn first_services(&self) -> FirstServices {
        let services = self.services.iter().enumerate();
        let services = services.map(|(index, service)| (index, service.pool, service.protocol));
        FirstServices::new(self.pools.len(), services, |pool| {
            self.pools[pool].included.iter().map(|inclusion| inclusion.pool)
        })
    }

    /// Whether a probe goes through a tunnel.
    pub fn has_tunnel_checks(&self) -> bool {
        let goes = |checks: &[usize], backend: &Backend| {
            checks.iter().any(|&check| self.checks[check].via_to(backend) == Via::Tunnel)
        };
        let of_pools = self
            .pools
            .iter()
            .any(|pool| pool.backends.iter().any(|backend| goes(&pool.checks, backend)));
        let of_services = || {
            self.services.iter().filter(|service| !service.checks.is_empty()).any(|service| {
                let chosen = self.pools[service.pool].included.iter();
                let mut chosen = chosen.map(|i| &self.pools[i.pool].backends[i.backend]);
                chosen.any(|backend| goes(&service.checks, backend))
            })
        };
        of_pools || of_services()
    }

    /// The longest packet that fits every tunnel, before encapsulation: the smallest MTU of a port less the largest
    /// overhead of a backend's encapsulation. IPv6 needs a device of at least 1280 bytes all the same.
    pub fn probe_mtu(&self) -> u16 {
        let overheads = self.pools.iter().flat_map(|pool| &pool.backends).flat_map(|backend| {
            let is_v6 = backend.address.is_ipv6();
            let listed = backend.encapsulations.iter();
            listed.map(move |e| e.overhead(&backend.parameters, is_v6))
        });
        probe_mtu(self.ports.iter().map(|port| port.mtu), overheads)
    }
}

/// [`Configuration::probe_mtu`] of these ports and encapsulations.
pub(crate) fn probe_mtu(
    ports: impl Iterator<Item = u16>,
    overheads: impl Iterator<Item = usize>,
) -> u16 {
    inner_mtu(ports.min().unwrap_or(0), overheads.max().unwrap_or(0))
}
