//! What changes of addresses and the node, in a few words.

use std::net::IpAddr;

use guideway_api::VipState;

use crate::manager::View;

/// Addresses that are named. Of more there are the numbers.
const NAMED: usize = 5;

/// These addresses, in a few words.
pub(super) fn describe(view: &View, addresses: &[IpAddr]) -> String {
    if addresses.len() <= NAMED {
        let state = |address: &IpAddr| match view.vip(*address) {
            None => format!("{address} not listed"),
            Some(vip) => {
                let of = |peer: &guideway_api::VipPeer| {
                    let next_hop = peer.next_hop.map(|it| format!(" via {it}")).unwrap_or_default();
                    format!("{} {}{next_hop}", peer.peer, peer.state.name())
                };
                let peers: Vec<String> = vip.peers.iter().map(of).collect();
                let but = if peers.is_empty() { "" } else { ", but " };
                format!("{address} {}{but}{}", vip.state.name(), peers.join(", "))
            }
        };
        return addresses.iter().map(state).collect::<Vec<_>>().join("; ");
    }
    let listed = || addresses.iter().filter_map(|&address| view.vip(address));
    let count = |state: VipState| listed().filter(|vip| vip.state == state).count();
    format!(
        "{} addresses: {} announced, {} draining, {} withdrawn",
        addresses.len(),
        count(VipState::Announced),
        count(VipState::Draining),
        addresses.len() - count(VipState::Announced) - count(VipState::Draining)
    )
}

/// The node, in a few words.
pub(super) fn describe_node(view: &View) -> String {
    let peers: Vec<&str> =
        view.drains.iter().map(|drain| drain.peer.as_deref().unwrap_or("all peers")).collect();
    let drains = match peers.is_empty() {
        true => "no drain".to_owned(),
        false => format!("drained for {}", peers.join(", ")),
    };
    let count = |state| view.count(state);
    format!(
        "{drains}; {} announced, {} draining, {} withdrawn",
        count(VipState::Announced),
        count(VipState::Draining),
        count(VipState::Withdrawn)
    )
}
