//! `[tunnel]`: who may tunnel packets to this node.

use ipnet::IpNet;

use super::findings::{Checked, Located};
use super::model::Tunnel;
use super::node::Sources;
use super::section::Section;
use super::value::{self, family};

const MAX_PEERS: usize = 1024;

pub(super) fn read(mut section: Section<'_>, sources: &Checked<Sources>) -> Checked<Tunnel> {
    const KEY: &str = "peers";
    let peers = section.list(KEY, "[\"192.0.2.0/24\"]", value::text(value::prefix));
    let peers = peers.map(Option::unwrap_or_default).and_then(|list| {
        if let Some(beyond) = list.get(MAX_PEERS) {
            let message = format!("has {} prefixes; there can be {MAX_PEERS}", list.len());
            return Err(section.mistake(beyond.at, KEY, message));
        }
        let mut peers: Vec<IpNet> = Vec::with_capacity(list.len());
        let mut result = Ok(());
        for (index, &Located { value, at }) in list.iter().enumerate() {
            let peer = value.trunc();
            if peers.contains(&peer) {
                let message = format!("{peer} is listed twice; keep one");
                result = Err(section.mistake_in(KEY, index, at, message));
            } else if peer != value {
                let message = format!("{} is read as {peer}", value.addr());
                section.warn(at, KEY, message);
            }
            if sources.is_ok_and(|sources| !sources.has_family(value.addr())) {
                let family = family(value.addr());
                let message = format!(
                    "nothing comes from {}: node.tunnel_source has no {family} address to send it to",
                    value.addr()
                );
                section.warn(at, KEY, message);
            }
            peers.push(peer);
        }
        result.map(|()| peers)
    });
    section.finish();
    Ok(Tunnel { peers: peers? })
}
