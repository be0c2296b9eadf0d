//! What a configuration says of announcements.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use guideway_api::{Error, ErrorKind};
use guideway_config::{AnnounceWhen, Configuration, OnQuorumLoss};
use ipnet::IpNet;

/// What a configuration with `[announce]` says of announcements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The addresses of services.
    pub vips: BTreeMap<IpAddr, VipSite>,
    /// The prefixes in which addresses may lie; any without one.
    pub allowed: Vec<IpNet>,
    /// The names of the peers.
    pub peers: Vec<String>,
    /// `announce.hold`
    pub hold: Duration,
    /// `announce.drain_time`
    pub drain_time: Duration,
}

/// An address of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipSite {
    /// The services on it, in the configuration's order.
    pub services: Vec<String>,
    /// Which of them have to serve.
    pub when: AnnounceWhen,
    /// What happens if too few serve.
    pub on_loss: OnQuorumLoss,
}

impl Site {
    /// What a configuration says; none without `[announce]`.
    pub fn of(configuration: &Configuration) -> Option<Site> {
        let announce = configuration.announce.as_ref()?;
        // The same loop of services for each address would take long with 65,535 of both.
        let special: BTreeMap<IpAddr, _> =
            configuration.vips.iter().map(|vip| (vip.address, vip)).collect();
        let mut vips: BTreeMap<IpAddr, VipSite> = BTreeMap::new();
        for service in &configuration.services {
            let vip = vips.entry(service.address).or_insert_with(|| {
                let special = special.get(&service.address);
                let when = special.and_then(|vip| vip.announce_when.clone());
                let on_loss = special.and_then(|vip| vip.on_quorum_loss);
                VipSite {
                    services: Vec::new(),
                    when: when.unwrap_or_else(|| announce.announce_when.clone()),
                    on_loss: on_loss.unwrap_or(announce.on_quorum_loss),
                }
            });
            vip.services.push(service.name.clone());
        }
        Some(Site {
            vips,
            allowed: configuration.bgp.allowed.clone(),
            peers: configuration.bgp.peers.iter().map(|peer| peer.name.clone()).collect(),
            hold: announce.hold,
            drain_time: announce.drain_time,
        })
    }

    /// Whether an address may be announced.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|prefix| prefix.contains(&address))
    }

    /// Whether an address has services.
    pub fn has(&self, address: IpAddr) -> bool {
        self.vips.contains_key(&address)
    }

    /// Refuses names that no peer has.
    ///
    /// # Errors
    /// Names the peers that there are.
    pub fn check_peers(&self, peers: &[String]) -> Result<(), Error> {
        let Some(unknown) = peers.iter().find(|peer| !self.peers.contains(peer)) else {
            return Ok(());
        };
        let known = match self.peers.as_slice() {
            [] => "the configuration has no [[bgp.peer]]".to_owned(),
            peers => format!("the peers are {}", peers.join(", ")),
        };
        Err(Error::new(ErrorKind::NotFound, format!("there is no peer {unknown:?}; {known}")))
    }

    /// Refuses an address that may never be announced.
    ///
    /// # Errors
    /// Names the prefixes.
    pub fn check_allowed(&self, address: IpAddr) -> Result<(), Error> {
        if self.allows(address) {
            return Ok(());
        }
        let allowed: Vec<String> = self.allowed.iter().map(IpNet::to_string).collect();
        let message = format!(
            "{address} is outside of bgp.allowed ({}), so that it would never be announced",
            allowed.join(", ")
        );
        Err(Error::new(ErrorKind::Rejected, message))
    }
}

impl VipSite {
    /// The services that keep the address from its quorum, of those that `serves` says do not serve; empty if there are
    /// enough that do.
    pub fn missing(&self, serves: impl Fn(&str) -> bool) -> Vec<String> {
        let wanted = match &self.when {
            AnnounceWhen::Services(names) => names,
            AnnounceWhen::All | AnnounceWhen::Any => &self.services,
        };
        let missing: Vec<String> = wanted.iter().filter(|name| !serves(name)).cloned().collect();
        match self.when {
            AnnounceWhen::Any if missing.len() < wanted.len() => Vec::new(),
            _ => missing,
        }
    }
}
