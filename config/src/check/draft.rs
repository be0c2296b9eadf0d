//! Everything that the sections read, for checks across it.

use std::net::IpAddr;

use guideway_core::balancer::encapsulation::{Encapsulation, Parameters};

use crate::findings::{Checked, Findings, Located, excerpt};
use crate::sections::cluster::ClusterDraft;
use crate::sections::hash::HashDraft;
use crate::sections::neighbor::NeighborDraft;
use crate::sections::node::NodeEntry;
use crate::sections::pool::{BackendDraft, PoolEntry};
use crate::sections::port::PortDraft;
use crate::sections::service::ServiceEntry;
use crate::sections::tunnel::TunnelDraft;
use crate::static_routes::StaticRoutes;
use crate::text::Mac;

/// Everything that the sections read.
pub(crate) struct Draft<'a> {
    pub(crate) findings: &'a Findings,
    pub(crate) node: &'a NodeEntry,
    pub(crate) hash: &'a HashDraft,
    pub(crate) ports: &'a Checked<Vec<PortDraft>>,
    pub(crate) neighbors: &'a Checked<Vec<NeighborDraft>>,
    pub(crate) pools: &'a Checked<Vec<PoolEntry>>,
    pub(crate) services: &'a Checked<Vec<ServiceEntry>>,
    pub(crate) cluster: &'a ClusterDraft,
    pub(crate) tunnel: &'a TunnelDraft,
}

/// A backend with its pool and its position there.
#[derive(Clone, Copy)]
pub(super) struct BackendEntry<'a> {
    pub(super) pool: &'a PoolEntry,
    pub(super) pool_index: usize,
    index: usize,
    pub(super) backend: &'a BackendDraft,
}

impl BackendEntry<'_> {
    pub(super) fn key(&self, key: &str) -> String {
        format!("pool[{}].backends[{}].{key}", self.pool_index, self.index)
    }

    /// `"b1" of pool "web"`.
    pub(super) fn title(&self) -> String {
        let name = |name: &Checked<Located<String>>| {
            name.as_ref().map_or("without a name".to_owned(), |name| excerpt(&name.value))
        };
        format!("{} of pool {}", name(&self.backend.name), name(&self.pool.keys.name))
    }

    /// What the backend accepts.
    pub(super) fn encapsulations(&self) -> Checked<Vec<Encapsulation>> {
        self.backend.encapsulation.listed(&self.pool.keys.encapsulation)
    }

    /// The settings of its encapsulations.
    pub(super) fn parameters(&self) -> Checked<Parameters> {
        self.backend.encapsulation.parameters(&self.pool.keys.encapsulation)
    }
}

impl<'a> Draft<'a> {
    pub(super) fn ports(&self) -> &'a [PortDraft] {
        self.ports.as_ref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn pools(&self) -> &'a [PoolEntry] {
        self.pools.as_ref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn services(&self) -> &'a [ServiceEntry] {
        self.services.as_ref().map_or(&[], Vec::as_slice)
    }

    /// Every gateway, with its key.
    pub(super) fn gateways(&self) -> impl Iterator<Item = (String, Located<IpAddr>)> + use<'a> {
        self.ports().iter().enumerate().flat_map(|(index, port)| {
            let gateways = port.gateways.iter().flatten().enumerate();
            gateways.map(move |(position, &gateway)| {
                (format!("port[{index}].gateways[{position}]"), gateway)
            })
        })
    }

    /// Every neighbour without a mistake: its index, its address and its MAC address.
    pub(super) fn neighbors(
        &self,
    ) -> impl Iterator<Item = (usize, Located<IpAddr>, Located<Mac>)> + use<'a> {
        self.neighbors.iter().flatten().enumerate().filter_map(|(index, neighbor)| {
            let NeighborDraft { address: Ok(address), mac: Ok(mac), .. } = neighbor else {
                return None;
            };
            Some((index, *address, *mac))
        })
    }

    /// Every backend whose address is known.
    pub(super) fn addressed_backends(
        &self,
    ) -> impl Iterator<Item = (BackendEntry<'a>, Located<IpAddr>)> + use<'a> {
        self.pools().iter().enumerate().flat_map(|(pool_index, pool)| {
            let backends = pool.backends.iter().flatten().enumerate();
            backends.filter_map(move |(index, backend)| {
                let address = *backend.address.as_ref().ok()?;
                Some((BackendEntry { pool, pool_index, index, backend }, address))
            })
        })
    }

    /// Every service whose address is known, with its index.
    pub(super) fn addressed_services(
        &self,
    ) -> impl Iterator<Item = (usize, Located<IpAddr>)> + use<'a> {
        let services = self.services().iter().enumerate();
        services.filter_map(|(index, service)| Some((index, *service.keys.address.as_ref().ok()?)))
    }

    pub(super) fn routes(&self) -> StaticRoutes {
        let networks = self.ports().iter().map(|port| {
            let addresses = port.addresses.iter().flatten().map(|prefix| prefix.value);
            (addresses, port.gateways.iter().flatten().map(|gateway| gateway.value))
        });
        StaticRoutes::new(
            networks,
            self.neighbors().map(|(_, address, mac)| (address.value, mac.value)),
        )
    }

    /// The routes, if every address and gateway of the ports was read without a mistake.
    pub(super) fn certain_routes(&self) -> Option<StaticRoutes> {
        let whole = |port: &PortDraft| port.addresses.is_ok() && port.gateways.is_ok();
        let all = self.ports.is_ok() && self.ports().iter().all(whole);
        all.then(|| self.routes())
    }
}
