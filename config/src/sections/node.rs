//! `[node]`: who this forwarder is.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::declare::section;
use crate::findings::Checked;
use crate::kind::Text;
use crate::section::Section;
use crate::shape::Form;
use crate::text::{IDENTIFIER, PREFIX, ROUTABLE, routable};

/// The shortest prefix of tunnel sources: more than 65536 addresses do not distinguish more flows.
const SHORTEST_SOURCE: u8 = 16;

/// More sources than the probes of any node need ports of.
const MAX_CHECK_SOURCES: usize = 16;

const CHECK_SOURCE: &str = "check_source";

/// An address, or an IPv4 prefix from which flows choose one.
const SOURCE: Text<IpNet> = Text {
    form: &Form {
        noun: "address",
        limits: "unicast, not link-local",
        pattern: r"^(\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?|[\da-fA-F:.]*:[\da-fA-F:.]*)$",
    },
    parse: source,
};

section! {
    /// Who this forwarder is.
    "[node]" 1..=1 => NodeDraft {
        /// The node's name in listings.
        name: String = IDENTIFIER, required "\"lb1\"", reload;
        /// The outer source address of packets to backends, at most one per family. The IPv4 one may be
        /// a prefix, `192.0.2.64/26`: each flow then takes an address of it.
        ///
        /// Each family in which a backend has its address needs one, unless the packets to the backend
        /// need no tunnel. [Tunnel sources](operations.md#tunnel-sources) has the rules of a prefix.
        tunnel_source: IpNet = SOURCE, list "[\"192.0.2.1\", \"2001:db8::1\"]", reload;
        /// The source addresses of probes through tunnels, at most 16. Each family in which a virtual address is checked
        /// so needs one.
        ///
        /// Servers answer to these addresses, so that routers must send them to this node, which alone has them. One in
        /// a port's network must be among the port's `addresses`, and no other address of the node's may be one. The
        /// others the forwarder gives to `probe.interface`.
        check_source: IpAddr = ROUTABLE, list "[\"192.0.2.10\", \"2001:db8::10\"]", reload;
    }
}

/// Who this forwarder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.name`
    pub name: String,
    /// `node.tunnel_source`, the IPv4 prefix; of length 32 if it is one address
    pub tunnel_source_v4: Option<Ipv4Net>,
    /// `node.tunnel_source`, the IPv6 address
    pub tunnel_source_v6: Option<Ipv6Addr>,
    /// `node.check_source`
    pub check_sources: Vec<IpAddr>,
}

/// The outer source addresses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sources {
    /// The prefix from which flows choose an address; of length 32 if it is one address.
    pub(crate) v4: Option<Ipv4Net>,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Sources {
    /// Whether `address` is a source.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.is_some_and(|own| own.addr() == v4),
            IpAddr::V6(v6) => self.v6 == Some(v6),
        }
    }

    /// Whether `address` is a source, or one of the prefix from which flows choose one.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.is_some_and(|own| own.contains(&v4)),
            IpAddr::V6(v6) => self.v6 == Some(v6),
        }
    }

    /// Whether there is a source of the family of `address`.
    pub(crate) fn has_family(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.v4.is_some(),
            IpAddr::V6(_) => self.v6.is_some(),
        }
    }
}

/// The section, its sources told apart.
#[derive(Debug)]
pub(crate) struct NodeEntry {
    name: Checked<String>,
    pub(crate) sources: Checked<Sources>,
    pub(crate) check_sources: Checked<Vec<IpAddr>>,
}

impl NodeEntry {
    pub(crate) fn finish(self) -> Checked<Node> {
        let Sources { v4, v6 } = self.sources?;
        Ok(Node {
            name: self.name?,
            tunnel_source_v4: v4,
            tunnel_source_v6: v6,
            check_sources: self.check_sources?,
        })
    }
}

pub(crate) fn read(root: &Section<'_>) -> NodeEntry {
    let section = root.table("node", true);
    let draft = NodeDraft::read(&section);
    let sources = draft.tunnel_source.and_then(|list| {
        let mut sources = Sources::default();
        let mut result = Ok(());
        for (index, &value) in list.iter().enumerate() {
            let (family, taken) = match value {
                IpNet::V4(v4) => ("IPv4", sources.v4.replace(v4).is_some()),
                IpNet::V6(v6) => ("IPv6", sources.v6.replace(v6.addr()).is_some()),
            };
            if taken {
                let message = format!("is a second {family} address; one per family is used");
                result = Err(section.mistake(&format!("tunnel_source[{index}]"), message));
            }
        }
        result.map(|()| sources)
    });
    let mut check_sources = draft.check_source;
    section.distinct(CHECK_SOURCE, &check_sources);
    if let Ok(listed) = &check_sources
        && listed.len() > MAX_CHECK_SOURCES
    {
        let message = format!("has {} addresses; there can be {MAX_CHECK_SOURCES}", listed.len());
        let at = format!("{CHECK_SOURCE}[{MAX_CHECK_SOURCES}]");
        check_sources = Err(section.mistake_at(&at, CHECK_SOURCE, message));
    }
    NodeEntry { name: draft.name, sources, check_sources }
}

fn source(text: &str) -> Result<IpNet, String> {
    if !text.contains('/') {
        return Ok(routable(text)?.into());
    }
    let prefix = (PREFIX.parse)(text)?;
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
