//! What has happened to BGP sessions.

use guideway_api::{BgpPeer, BgpState, Happening};

/// What happened between two looks.
pub(super) fn differences(before: &[BgpPeer], after: &[BgpPeer]) -> Vec<Happening> {
    let is_established = |peer: &BgpPeer| peer.state == BgpState::Established;
    let was_established =
        |name: &str| before.iter().any(|peer| peer.name == name && is_established(peer));
    let change = |peer: &BgpPeer| match (was_established(&peer.name), is_established(peer)) {
        (false, true) => Some(Happening::BgpEstablished { peer: peer.name.clone() }),
        (true, false) => {
            Some(Happening::BgpLost { peer: peer.name.clone(), error: peer.error.clone() })
        }
        _ => None,
    };
    after.iter().filter_map(change).collect()
}
