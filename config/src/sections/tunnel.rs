//! `[tunnel]`: who may tunnel packets to this node.

use ipnet::IpNet;

use super::node::Sources;
use crate::declare::section;
use crate::findings::Checked;
use crate::section::Section;
use crate::text::{PREFIX, family};

const MAX_PEERS: usize = 1024;

section! {
    /// Who may tunnel packets to this node.
    ///
    /// [Tunnels](operations.md#tunnels) says which encapsulations are taken off and what is dropped.
    #[derive(Default)]
    "[tunnel]" 0..=1 => Tunnel, TunnelDraft {
        /// Who may send encapsulated packets to `tunnel_source`, to have the packets inside balanced: at
        /// most 1024. Cluster members are peers too.
        peers: IpNet = PREFIX, list "[\"192.0.2.0/24\"]", reload;
    }
}

pub(crate) fn read(root: &Section<'_>, sources: &Checked<Sources>) -> TunnelDraft {
    const KEY: &str = "peers";
    let section = root.table("tunnel", false);
    let mut draft = TunnelDraft::read(&section);
    let Ok(peers) = &mut draft.peers else { return draft };
    if peers.len() > MAX_PEERS {
        let message = format!("has {} prefixes; there can be {MAX_PEERS}", peers.len());
        draft.peers = Err(section.mistake_at(&format!("{KEY}[{MAX_PEERS}]"), KEY, message));
        return draft;
    }
    for (index, value) in peers.iter_mut().enumerate() {
        let warn = |message| section.warn_at(&format!("{KEY}[{index}]"), KEY, message);
        let address = value.addr();
        if value.trunc() != *value {
            warn(format!("{address} is read as {}", value.trunc()));
        }
        if sources.is_ok_and(|sources| !sources.has_family(address)) {
            let family = family(address);
            warn(format!(
                "nothing comes from {address}: node.tunnel_source has no {family} address to send \
                 it to"
            ));
        }
        *value = value.trunc();
    }
    section.distinct(KEY, &draft.peers);
    draft
}
