//! What a configuration says of announcements.

use std::collections::{BTreeMap, BTreeSet};
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
        // `announce.announce_when` may name services of other addresses too.
        let usual: Option<BTreeSet<&String>> = match &announce.announce_when {
            AnnounceWhen::Services(names) => Some(names.iter().collect()),
            AnnounceWhen::All | AnnounceWhen::Any => None,
        };
        let mut vips: BTreeMap<IpAddr, VipSite> = BTreeMap::new();
        for service in &configuration.services {
            let vip = vips.entry(service.address).or_insert_with(|| {
                let special = special.get(&service.address);
                let when = special.and_then(|vip| vip.announce_when.clone());
                let on_loss = special.and_then(|vip| vip.on_quorum_loss);
                let usual = || match &announce.announce_when {
                    AnnounceWhen::Services(_) => AnnounceWhen::Services(Vec::new()),
                    when => when.clone(),
                };
                VipSite {
                    services: Vec::new(),
                    when: when.unwrap_or_else(usual),
                    on_loss: on_loss.unwrap_or(announce.on_quorum_loss),
                }
            });
            vip.services.push(service.name.clone());
            let is_special = special
                .get(&service.address)
                .is_some_and(|special| special.announce_when.is_some());
            if let (AnnounceWhen::Services(names), Some(usual), false) =
                (&mut vip.when, &usual, is_special)
                && usual.contains(&service.name)
            {
                names.push(service.name.clone());
            }
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
    /// Names the nearest.
    pub fn check_peers(&self, peers: &[String]) -> Result<(), Error> {
        let Some(unknown) = peers.iter().find(|peer| !self.peers.contains(peer)) else {
            return Ok(());
        };
        let distance = |peer: &&String| strsim::damerau_levenshtein(unknown, peer);
        let known = match self.peers.iter().min_by_key(distance) {
            None => "the configuration has no [[bgp.peer]]".to_owned(),
            Some(nearest) => format!("the nearest is {nearest:?}"),
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
