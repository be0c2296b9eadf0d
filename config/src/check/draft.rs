//! Everything that the sections read, for checks across it.

use std::net::IpAddr;

use crate::cluster::ClusterDraft;
use crate::findings::{Checked, Findings, Located, excerpt};
use crate::hash::HashDraft;
use crate::model::{Neighbor, Tunnel};
use crate::node::NodeDraft;
use crate::pool::{BackendDraft, PoolDraft};
use crate::port::PortDraft;
use crate::routing::Routes;
use crate::service::ServiceDraft;

/// Everything that the sections read.
pub(crate) struct Draft<'a> {
    pub(crate) findings: &'a Findings,
    pub(crate) node: &'a NodeDraft,
    pub(crate) hash: &'a HashDraft,
    pub(crate) ports: &'a Checked<Vec<PortDraft>>,
    pub(crate) neighbors: &'a Checked<Vec<Checked<Located<Neighbor>>>>,
    pub(crate) pools: &'a Checked<Vec<PoolDraft>>,
    pub(crate) services: &'a Checked<Vec<ServiceDraft>>,
    pub(crate) cluster: &'a ClusterDraft,
    pub(crate) tunnel: &'a Checked<Tunnel>,
}

/// A backend with its pool and its position there.
#[derive(Clone, Copy)]
pub(super) struct BackendEntry<'a> {
    pub(super) pool: &'a PoolDraft,
    pool_index: usize,
    index: usize,
    pub(super) backend: &'a BackendDraft,
}

impl BackendEntry<'_> {
    pub(super) fn key(&self, key: &str) -> String {
        format!("pool[{}].backends[{}].{key}", self.pool_index, self.index)
    }

    pub(super) fn pool_index(&self) -> usize {
        self.pool_index
    }

    /// `"b1" of pool "web"`.
    pub(super) fn title(&self) -> String {
        let name = |name: &Checked<Located<String>>| {
            name.as_ref().map_or("without a name".to_owned(), |name| excerpt(&name.value))
        };
        format!("{} of pool {}", name(&self.backend.name), name(&self.pool.name))
    }
}

impl<'a> Draft<'a> {
    pub(super) fn ports(&self) -> &'a [PortDraft] {
        self.ports.as_ref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn pools(&self) -> &'a [PoolDraft] {
        self.pools.as_ref().map_or(&[], Vec::as_slice)
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

    pub(super) fn routes(&self) -> Routes {
        let networks = self.ports().iter().map(|port| {
            let addresses = port.addresses.iter().flatten().map(|prefix| prefix.value);
            (addresses, port.gateways.iter().flatten().map(|gateway| gateway.value))
        });
        let neighbors = self.neighbors.iter().flatten().flatten();
        Routes::new(
            networks,
            neighbors.map(|neighbor| (neighbor.value.address, neighbor.value.mac)),
        )
    }

    /// Whether every address and gateway of the ports was read without a mistake.
    pub(super) fn knows_all_networks(&self) -> bool {
        let whole = |port: &PortDraft| port.addresses.is_ok() && port.gateways.is_ok();
        self.ports.is_ok() && self.ports().iter().all(whole)
    }
}
