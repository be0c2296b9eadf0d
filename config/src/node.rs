//! `[node]`: who this forwarder is.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::findings::{Checked, Located};
use super::model::Node;
use super::section::Section;
use super::value;

/// The shortest prefix of tunnel sources: more than 65536 addresses do not distinguish more flows.
const SHORTEST_SOURCE: u8 = 16;

#[derive(Debug)]
pub(super) struct NodeDraft {
    name: Checked<Located<String>>,
    pub(super) sources: Checked<Sources>,
    /// The position of the sources, or else of the section.
    pub(super) sources_at: usize,
}

/// The outer source addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sources {
    /// The prefix from which flows choose an address; of length 32 if it is one address.
    pub(super) v4: Option<Ipv4Net>,
    pub(super) v6: Option<Ipv6Addr>,
}

impl Sources {
    /// Whether `address` is a source.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.is_some_and(|own| own.addr() == v4),
            IpAddr::V6(v6) => self.v6 == Some(v6),
        }
    }

    /// Whether there is a source of the family of `address`.
    pub(super) fn has_family(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }
}

impl NodeDraft {
    pub(super) fn finish(self) -> Checked<Node> {
        let sources = self.sources?;
        Ok(Node {
            name: self.name?.value,
            tunnel_source_v4: sources.v4,
            tunnel_source_v6: sources.v6,
        })
    }
}

pub(super) fn read(mut section: Section<'_>) -> NodeDraft {
    const KEY: &str = "tunnel_source";
    let name = section.required("name", "\"lb1\"", value::text(value::identifier));
    let list = section.list(KEY, "[\"192.0.2.1\"]", value::text(source));
    let sources_at = match &list {
        Ok(Some(list)) => list.first().map_or(section.at, |first| first.at),
        _ => section.at,
    };
    let sources = list.and_then(|list| {
        let mut sources = Ok(Sources::default());
        for (index, &Located { value, at }) in list.iter().flatten().enumerate() {
            let mut found = sources.unwrap_or_default();
            let (family, taken) = match value {
                IpNet::V4(v4) => ("IPv4", found.v4.replace(v4).is_some()),
                IpNet::V6(v6) => ("IPv6", found.v6.replace(v6.addr()).is_some()),
            };
            if taken {
                let message = format!("is a second {family} address; one per family is used");
                sources = Err(section.mistake_in(KEY, index, at, message));
            } else {
                sources = sources.map(|_| found);
            }
        }
        sources
    });
    section.finish();
    NodeDraft { name, sources, sources_at }
}

/// An address, or an IPv4 prefix from which flows choose one.
fn source(text: &str) -> Result<IpNet, String> {
    if !text.contains('/') {
        return Ok(value::routable(text)?.into());
    }
    let prefix = value::prefix(text)?;
    if prefix.addr().is_ipv6() {
        return Err(
            "over IPv6 the flow label distinguishes flows; expected one address, without a \
                    prefix length"
                .to_owned(),
        );
    }
    if prefix.prefix_len() < SHORTEST_SOURCE {
        return Err(format!(
            "expected a prefix length from {SHORTEST_SOURCE} to 32 after the slash"
        ));
    }
    if prefix.network() != prefix.addr() {
        return Err(format!("it has host bits set; {} is the prefix without them", prefix.trunc()));
    }
    Ok(prefix)
}
