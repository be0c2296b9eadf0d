//! Why addresses are kept from a BGP peer, in words.
//!
//! BIRD's word on a session says how many routes it sends, and not which ones are missing.

use std::fmt::Display;
use std::net::IpAddr;

use guideway_api::{BgpPeer, BgpState, VipCause, VipState};
use guideway_config::{self as config, Family};

use crate::manager::View;

/// Addresses that a note names.
const NAMED: usize = 3;

/// Every peer, with its notes. Peers of the configuration that BIRD has not spoken of yet are listed too.
pub(super) fn annotated(view: &View) -> Vec<BgpPeer> {
    let Some(configuration) = &view.configuration else { return Vec::new() };
    let listed = |peer: &config::BgpPeer| {
        let known = view.sessions.iter().find(|session| session.name == peer.name);
        let session = known.cloned().unwrap_or_else(|| unknown(view, configuration, peer));
        BgpPeer { notes: notes(view, peer), ..session }
    };
    configuration.bgp.peers.iter().map(listed).collect()
}

/// The notes on a peer.
pub(super) fn of(view: &View, name: &str) -> Vec<String> {
    let peers = view.configuration.iter().flat_map(|configuration| &configuration.bgp.peers);
    let peer = { peers }.find(|peer| peer.name == name);
    peer.map(|peer| notes(view, peer)).unwrap_or_default()
}

/// A peer of which BIRD says nothing.
fn unknown(view: &View, configuration: &config::Configuration, peer: &config::BgpPeer) -> BgpPeer {
    let error = match view.is_bird_up {
        Some(false) => "BIRD does not answer: is guideway-bird.service running?",
        _ => "BIRD does not know this peer yet",
    };
    BgpPeer {
        name: peer.name.clone(),
        address: peer.address,
        remote_as: peer.remote_as,
        local_as: peer.local_as.unwrap_or(configuration.bgp.local_as),
        state: BgpState::Unknown,
        since: view.forwarder_since.rfc3339(),
        error: Some(error.to_owned()),
        routes: 0,
        bfd_up: None,
        notes: Vec::new(),
    }
}

fn notes(view: &View, peer: &config::BgpPeer) -> Vec<String> {
    let is_wanted = |address: IpAddr| peer.has(Family::of(address));
    let peers = || view.configuration.iter().flat_map(|configuration| &configuration.bgp.peers);
    let is_anybodys = |address: IpAddr| peers().any(|peer| peer.has(Family::of(address)));
    let of = |is_kept: &dyn Fn(&guideway_api::Vip) -> bool| -> Vec<IpAddr> {
        view.vips.iter().filter(|vip| is_kept(vip)).map(|vip| vip.address).collect()
    };
    let is_out = |vip: &guideway_api::Vip| vip.state != VipState::Withdrawn;
    let is_for = |vip: &guideway_api::Vip, state| {
        vip.peers.iter().any(|of| of.peer == peer.name && of.state == state)
    };
    let kept = [
        (
            of(&|vip| vip.cause == VipCause::NotAllowed && is_wanted(vip.address)),
            "outside of bgp.allowed, so that nobody is told",
        ),
        (
            // Another session may have the family: that is how most sites have both.
            of(&|vip| is_out(vip) && !is_anybodys(vip.address)),
            "of a family that no bgp.peer.families has",
        ),
        (
            of(&|vip| is_wanted(vip.address) && view.waiting.contains(&vip.address)),
            "as before the last order until BIRD takes the new configuration",
        ),
        (
            of(&|vip| is_out(vip) && is_for(vip, VipState::Withdrawn)),
            "withdrawn from this peer by order",
        ),
    ];
    let note = |(addresses, why): (Vec<IpAddr>, &str)| {
        (!addresses.is_empty()).then(|| format!("{}: {why}", first_of(&addresses)))
    };
    kept.into_iter().filter_map(note).collect()
}

/// The first few, and how many more there are.
fn first_of(addresses: &[impl Display]) -> String {
    let named: Vec<String> = addresses.iter().take(NAMED).map(ToString::to_string).collect();
    match addresses.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_first_and_counts_the_rest() {
        assert_eq!(first_of(&[1]), "1");
        assert_eq!(first_of(&[1, 2, 3]), "1, 2, 3");
        assert_eq!(first_of(&[1, 2, 3, 4, 5]), "1, 2, 3 and 2 more");
    }
}
