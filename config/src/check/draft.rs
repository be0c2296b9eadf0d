//! Everything that the sections read, for checks across it.

use std::net::IpAddr;

use ipnet::IpNet;

use guideway_core::balancer::encapsulation::{Encapsulation, Parameters};

use crate::findings::{Checked, excerpt};
use crate::section::Section;
use crate::sections::announce::AnnounceDraft;
use crate::sections::bgp::BgpDraft;
use crate::sections::check::CheckDraft;
use crate::sections::cluster::ClusterDraft;
use crate::sections::hash::HashDraft;
use crate::sections::metrics::MetricsDraft;
use crate::sections::neighbor::NeighborDraft;
use crate::sections::node::NodeEntry;
use crate::sections::pool::{BackendDraft, Inclusion, Inclusions, PoolDraft};
use crate::sections::port::PortDraft;
use crate::sections::probe::ProbeDraft;
use crate::sections::service::ServiceEntry;
use crate::sections::tunnel::TunnelDraft;
use crate::sections::vip::VipDraft;
use crate::static_routes::StaticRoutes;
use crate::text::Mac;

/// Everything that the sections read.
pub(crate) struct Draft<'a> {
    /// The whole file.
    pub(crate) root: &'a Section<'a>,
    pub(crate) node: NodeEntry,
    pub(crate) hash: HashDraft,
    pub(crate) ports: Checked<Vec<PortDraft>>,
    pub(crate) neighbors: Checked<Vec<NeighborDraft>>,
    pub(crate) pools: Checked<Vec<PoolDraft>>,
    pub(crate) checks: Checked<Vec<CheckDraft>>,
    /// The indices of each pool's checks.
    pub(crate) pool_checks: Vec<Checked<Vec<usize>>>,
    pub(crate) probe: ProbeDraft,
    pub(crate) metrics: MetricsDraft,
    /// What each pool can choose from.
    pub(crate) inclusions: Vec<Checked<Inclusions>>,
    pub(crate) services: Checked<Vec<ServiceEntry>>,
    pub(crate) cluster: ClusterDraft,
    pub(crate) tunnel: TunnelDraft,
    /// Whether there is a section `[announce]`.
    pub(crate) announces: bool,
    pub(crate) announce: AnnounceDraft,
    pub(crate) vips: Checked<Vec<VipDraft>>,
    pub(crate) bgp: BgpDraft,
}

/// A backend with its pool and its index there.
#[derive(Clone, Copy)]
pub(super) struct BackendEntry<'a> {
    pub(super) pool: &'a PoolDraft,
    pub(super) pool_index: usize,
    pub(super) index: usize,
    pub(super) backend: &'a BackendDraft,
}

impl<'a> BackendEntry<'a> {
    /// The path of a key of the backend.
    pub(super) fn path(&self, key: &str) -> String {
        format!("pool[{}].backends[{}].{key}", self.pool_index, self.index)
    }

    /// `"b1" of pool "web"`.
    pub(super) fn title(&self) -> String {
        let name = |name: &Checked<String>| {
            name.as_ref().map_or("without a name".to_owned(), |name| excerpt(name))
        };
        format!("{} of pool {}", name(&self.backend.name), name(&self.pool.name))
    }

    /// What the backend accepts.
    pub(super) fn encapsulations(&self) -> Checked<&'a [Encapsulation]> {
        self.backend.encapsulation.listed(&self.pool.encapsulation)
    }

    /// The settings of its encapsulations.
    pub(super) fn parameters(&self) -> Checked<Parameters> {
        self.backend.encapsulation.parameters(&self.pool.encapsulation)
    }
}

impl Draft<'_> {
    pub(super) fn ports(&self) -> &[PortDraft] {
        self.ports.as_ref().map_or(&[], Vec::as_slice)
    }

    /// The port whose interface has this name.
    pub(super) fn port_with_interface(&self, name: &str) -> Option<usize> {
        self.ports().iter().position(|port| {
            port.has_interface()
                && port.interface.as_ref().is_ok_and(|it| it.as_deref() == Some(name))
        })
    }

    pub(super) fn pools(&self) -> &[PoolDraft] {
        self.pools.as_ref().map_or(&[], Vec::as_slice)
    }

    /// What a pool can choose from, if that is known.
    pub(super) fn inclusions_of(&self, pool: usize) -> Option<&Inclusions> {
        self.inclusions.get(pool)?.as_ref().ok()
    }

    /// A backend that a pool can choose.
    pub(super) fn backend(&self, included: &Inclusion) -> Option<&BackendDraft> {
        self.pools().get(included.pool)?.backends.as_ref().ok()?.get(included.backend)
    }

    pub(super) fn services(&self) -> &[ServiceEntry] {
        self.services.as_ref().map_or(&[], Vec::as_slice)
    }

    /// Every gateway, with its path.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (String, IpAddr)> {
        elements(self.ports(), "gateways", |port| &port.gateways)
    }

    /// Every address of a port, with its path.
    pub(super) fn port_prefixes(&self) -> impl Iterator<Item = (String, IpNet)> {
        elements(self.ports(), "addresses", |port| &port.addresses)
    }

    /// Every neighbour without a mistake: its index, its address and its MAC address.
    pub(super) fn neighbors(&self) -> impl Iterator<Item = (usize, IpAddr, Mac)> {
        self.neighbors.iter().flatten().enumerate().filter_map(|(index, neighbor)| {
            Some((index, neighbor.address.ok()?, neighbor.mac.ok()?))
        })
    }

    /// Every backend whose address is known.
    pub(super) fn addressed_backends(&self) -> impl Iterator<Item = (BackendEntry<'_>, IpAddr)> {
        self.pools().iter().enumerate().flat_map(|(pool_index, pool)| {
            let backends = pool.backends.iter().flatten().enumerate();
            backends.filter_map(move |(index, backend)| {
                Some((BackendEntry { pool, pool_index, index, backend }, backend.address.ok()?))
            })
        })
    }

    /// Every address of a service, with its path.
    pub(super) fn service_addresses(&self) -> impl Iterator<Item = (String, IpAddr)> {
        let services = self.services().iter().enumerate();
        services.filter_map(|(index, service)| {
            Some((format!("service[{index}].address"), service.keys.address.ok()?))
        })
    }

    /// Whether the kernel may have routes and neighbours that the configuration does not name: a port has an
    /// interface.
    pub(super) fn kernel_may_route(&self) -> bool {
        self.ports().iter().any(PortDraft::has_interface)
    }

    pub(super) fn routes(&self) -> StaticRoutes {
        let networks = self.ports().iter().map(|port| {
            let addresses = port.addresses.iter().flatten().copied();
            (addresses, port.gateways.iter().flatten().copied())
        });
        StaticRoutes::new(networks, self.neighbors().map(|(_, address, mac)| (address, mac)))
    }

    /// The routes, if every address and gateway of the ports was read without a mistake.
    pub(super) fn certain_routes(&self) -> Option<StaticRoutes> {
        let whole = |port: &PortDraft| port.addresses.is_ok() && port.gateways.is_ok();
        let all = self.ports.is_ok() && self.ports().iter().all(whole);
        all.then(|| self.routes())
    }
}

/// The elements of a list of every port, each with its path.
fn elements<'a, T: Copy + 'a>(
    ports: &'a [PortDraft],
    key: &'static str,
    list: impl Fn(&'a PortDraft) -> &'a Checked<Vec<T>>,
) -> impl Iterator<Item = (String, T)> {
    ports.iter().enumerate().flat_map(move |(port, draft)| {
        let elements = list(draft).iter().flatten().enumerate();
        elements.map(move |(index, &element)| (format!("port[{port}].{key}[{index}]"), element))
    })
}
