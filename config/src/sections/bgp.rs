//! `[bgp]` and `[[bgp.peer]]`: the sessions of the managed BIRD.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::control::PATH;
use crate::declare::section;
use crate::findings::Checked;
use crate::kind::{Boolean, Integer, Text, Words, integer, milliseconds, seconds};
use crate::section::Section;
use crate::shape::Form;
use crate::text::{PREFIX, ROUTABLE, within};

/// An address family whose routes a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    const NAMES: &[(&str, Family)] = &[("ipv4", Family::V4), ("ipv6", Family::V6)];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Family::NAMES[*self as usize].0)
    }
}

/// A community of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Community {
    /// Of RFC 1997: `65001:100`.
    Standard(u16, u16),
    /// Of RFC 8092: `65001:1:100`.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(one, two) => write!(f, "{one}:{two}"),
            Community::Large(one, two, three) => write!(f, "{one}:{two}:{three}"),
        }
    }
}

const COMMUNITY: Text<Community> = Text {
    form: &Form {
        noun: "community",
        limits: "`65001:100` or `65001:1:100`",
        pattern: r"^\d{1,10}(:\d{1,10}){1,2}$",
    },
    parse: community,
};

/// Bytes of the longest name of a peer. BIRD's longest names have 64, and those of its sessions and filters are made of
/// this one.
pub const LONGEST_PEER: usize = 59;

const PEER: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 59 letters, digits, `.`, `_`, `-`",
        pattern: "^[A-Za-z0-9._-]{1,59}$",
    },
    parse: peer,
};

const ROUTER_ID: Text<Ipv4Addr> = Text {
    form: &Form {
        noun: "number",
        limits: "in the form of an IPv4 address, not 0.0.0.0",
        pattern: r"^\d{1,3}(\.\d{1,3}){3}$",
    },
    parse: router_id,
};

fn as_number() -> Integer<u32> {
    integer(1..=4_294_967_294)
}

section! {
    /// BGP by a BIRD that the controller configures: `announce.bgp` is `"managed"`.
    ///
    /// [BGP](announcing.md#bgp) has examples.
    "[bgp]" 0..=1 => BgpDraft {
        /// The AS number of the node.
        local_as: u32 = as_number(), optional "65001" else "required with a peer", reload;
        /// The node's BGP identifier.
        router_id: Ipv4Addr = ROUTER_ID,
            optional "\"192.0.2.1\"" else "the first IPv4 address of `node.tunnel_source` or of a port", reload;
        /// The prefixes in which virtual addresses lie. No address outside of them is ever announced.
        allowed: IpNet = PREFIX, list "[\"203.0.113.0/24\", \"2001:db8:f::/48\"]", reload;
        /// What is added to the MED of a route of a draining address.
        drain_med: u32 = integer(0..=4_294_967_295), default "1000", reload;
        /// How many times a draining route has the node's AS number more than otherwise. Routers compare no MED of
        /// neighbours in different ASes.
        drain_prepend: u8 = integer(0..=10), default "3", reload;
        /// The directory of BIRD's configuration, `bird.conf`, and of its control socket, `bird.ctl`.
        directory: PathBuf = PATH, default "\"/run/guideway-bird\"", reload;
        /// The program that checks the configuration.
        program: PathBuf = PATH, default "\"/usr/sbin/bird\"", reload;
        tables peer: PeerDraft, "[{ name = \"tor1\", address = \"192.0.2.254\", as = 65000 }]" else "none",
            "The peers.";
    }
}

section! {
    /// A BGP peer.
    "[[bgp.peer]]" 0..=64 => BgpPeer, PeerDraft {
        /// Its name, unique.
        name: String = PEER, required "\"tor1\"", reload;
        /// Its address.
        address: IpAddr = ROUTABLE, required "\"192.0.2.254\"", reload;
        /// Its AS number. That of the node makes the session an internal one.
        remote_as ("as"): u32 = as_number(), required "65000", reload;
        /// The AS number of the node in this session.
        local_as: u32 = as_number(), optional "65001" else "`bgp.local_as`", reload;
        /// The node's address in this session. BFD with a `ttl_hops` of more than 1 needs it.
        source: IpAddr = ROUTABLE, optional "\"192.0.2.1\"" else "what the kernel chooses", reload;
        /// A file with the password of the session (RFC 2385, MD5), which its first line is.
        password_file: PathBuf = PATH,
            optional "\"/etc/guideway/tor1.password\"" else "no password", reload;
        /// How many hops the peer is away: 1 if it is on a link of the node.
        ttl_hops: u8 = integer(1..=254), default "1", reload, unit "hops";
        /// Whether packets of the session that come from farther than `ttl_hops` are dropped (RFC 5082, GTSM). The peer
        /// has to send with TTL 255, so that it needs the same setting.
        ttl_security: bool = Boolean, default "true", reload;
        /// How long nothing may come from the peer until the session ends; 0 for no end, otherwise at least 3.
        hold_time: Duration = seconds(0..=65_535), default "9", reload, unit "seconds";
        /// The time from one keepalive to the next: a third of `hold_time` at the most.
        keepalive: Duration = seconds(1..=21_845), optional "3" else "a third of `hold_time`", reload, unit "seconds";
        /// Whether BFD watches the peer (RFC 5880), and ends the session when it is gone.
        bfd: bool = Boolean, default "true", reload;
        /// The time from one BFD packet to the next, both ways.
        bfd_interval: Duration = milliseconds(10..=10_000), default "100", reload, unit "milliseconds";
        /// How many BFD packets may be missing.
        bfd_multiplier: u8 = integer(2..=100), default "3", reload;
        /// The families whose addresses the peer is told. A session can have both (RFC 4760).
        families: Family = Words(Family::NAMES), list "[\"ipv4\", \"ipv6\"]", reload;
        /// The next hops that the peer is told, at most one of each family: for a family other than the session's, and
        /// where another address than the session's takes the traffic.
        next_hops: IpAddr = ROUTABLE, list "[\"2001:db8::1\"]", reload;
        /// The communities of the routes.
        communities: Community = COMMUNITY, list "[\"65001:100\"]", reload;
        /// The MED of the routes.
        med: u32 = integer(0..=4_294_967_295), default "0", reload;
        /// How many times more than once the routes have the node's AS number.
        prepend: u8 = integer(0..=10), default "0", reload;
    }
}

/// `[bgp]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bgp {
    /// `bgp.local_as`; 0 if there is neither that nor a peer
    pub local_as: u32,
    /// `bgp.router_id`
    pub router_id: Option<Ipv4Addr>,
    /// `bgp.allowed`, without bits behind the prefixes' lengths
    pub allowed: Vec<IpNet>,
    /// `bgp.drain_med`
    pub drain_med: u32,
    /// `bgp.drain_prepend`
    pub drain_prepend: u8,
    /// `bgp.directory`
    pub directory: PathBuf,
    /// `bgp.program`
    pub program: PathBuf,
    /// `[[bgp.peer]]`
    pub peers: Vec<BgpPeer>,
}

impl Bgp {
    /// Whether an address may be announced.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|prefix| prefix.contains(&address))
    }
}

impl BgpPeer {
    /// Whether the peer is told addresses of this family.
    pub fn has(&self, family: Family) -> bool {
        match self.families.is_empty() {
            true => Family::of(self.address) == family,
            false => self.families.contains(&family),
        }
    }

    /// `bgp.peer.keepalive`, or its default.
    pub fn keepalive(&self) -> Duration {
        self.keepalive.unwrap_or(Duration::from_secs(self.hold_time.as_secs() / 3))
    }
}

impl BgpDraft {
    pub(crate) fn finish(self) -> Checked<Bgp> {
        Ok(Bgp {
            local_as: self.local_as?.unwrap_or_default(),
            router_id: self.router_id?,
            allowed: self.allowed?.iter().map(IpNet::trunc).collect(),
            drain_med: self.drain_med?,
            drain_prepend: self.drain_prepend?,
            directory: self.directory?,
            program: self.program?,
            peers: self.peer?.into_iter().map(PeerDraft::finish).collect::<Checked<_>>()?,
        })
    }
}

pub(crate) fn read(root: &Section<'_>) -> BgpDraft {
    let section = root.table("bgp", false);
    let draft = BgpDraft::read(&section);
    let mut names = HashMap::new();
    for (peer, section) in
        draft.peer.iter().flatten().zip(section.tables("peer").into_iter().flatten().flatten())
    {
        section.unique("name", &peer.name, &mut names);
    }
    draft
}

fn community(text: &str) -> Result<Community, String> {
    let numbers: Option<Vec<u32>> = text
        .split(':')
        .map(|number| number.parse().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit())))
        .collect();
    let standard = |number: u32| u16::try_from(number).ok();
    match numbers.as_deref() {
        Some(&[one, two]) => standard(one)
            .zip(standard(two))
            .map(|(one, two)| Community::Standard(one, two))
            .ok_or_else(|| {
                "each number of such a community is at most 65535; a large one has three".to_owned()
            }),
        Some(&[one, two, three]) => Ok(Community::Large(one, two, three)),
        _ => Err("expected a community like 65001:100 or 65001:1:100".to_owned()),
    }
}

fn peer(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let expected = "1 to 59 letters, digits, points, underscores and hyphens";
    within(text, 1..=LONGEST_PEER, allowed, expected)
}

fn router_id(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse::<Ipv4Addr>() {
        Ok(id) if !id.is_unspecified() => Ok(id),
        _ => Err("expected a number in the form 192.0.2.1".to_owned()),
    }
}
