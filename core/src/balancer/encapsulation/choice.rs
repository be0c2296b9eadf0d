//! Which of several listed encapsulations a backend gets: the best for multipath of those that can be sent.
//!
//! Routers and NICs spread flows by the headers that they hash. [`Encapsulation::choose`] prefers the encapsulation
//! whose outer header varies most usefully by flow ([`Entropy`]), then the smallest overhead.

use super::descriptor::Carrier;
use super::parameters::{GreKey, Parameters};
use super::{Encapsulation, Template};

/// What a backend and its port allow, on which the choice depends.
#[derive(Clone, Copy, Debug)]
pub struct Constraints<'a> {
    /// Whether the backend has an IPv6 address.
    pub is_v6: bool,
    /// Whether the backend is on the link of the port that its packets leave by.
    pub on_link: bool,
    /// Whether the node has a tunnel source of the backend's family.
    pub has_source: bool,
    /// Whether that tunnel source is a prefix.
    pub source_is_prefix: bool,
    /// The settings for the backend.
    pub parameters: &'a Parameters,
}

/// The field by which routers, link aggregates and the backend's NIC can tell flows apart, the best first. The flow
/// label and the source address never compete, since a backend has one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entropy {
    /// The source port of the outer UDP header. Everything hashes ports.
    UdpPort,
    /// The packet's own addresses and ports. They are as good, but a single link is a single path.
    Own,
    /// The IPv6 flow label. Routers hash it; many NICs do not.
    FlowLabel,
    /// The IPv4 source address, out of the prefix of the tunnel source.
    SourceAddress,
    /// The GRE key. Few hash it.
    GreKey,
    /// Nothing.
    Nothing,
}

/// Why an encapsulation cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// It needs the backend on the link.
    NotOnLink,
    /// It needs a tunnel source of the backend's family.
    NoSource,
}

impl Unsendable {
    /// Whether this keeps the encapsulation from being sent, where it applies to any.
    fn concerns(self, encapsulation: Encapsulation) -> bool {
        (encapsulation.descriptor().carrier == Carrier::Link) == (self == Unsendable::NotOnLink)
    }
}

/// The encapsulation of a backend, and why it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The encapsulation.
    pub encapsulation: Encapsulation,
    /// The field that tells flows apart.
    pub entropy: Entropy,
    /// Why listed encapsulations, if any, cannot be sent.
    refusal: Option<Unsendable>,
}

impl Encapsulation {
    /// Whether it can be sent under these constraints.
    ///
    /// # Errors
    /// Why it cannot be sent.
    pub fn sendable(self, constraints: &Constraints<'_>) -> Result<(), Unsendable> {
        match self.descriptor().carrier {
            Carrier::Link if !constraints.on_link => Err(Unsendable::NotOnLink),
            Carrier::Ip(_) | Carrier::InnerProtocol | Carrier::Udp(_)
                if !constraints.has_source =>
            {
                Err(Unsendable::NoSource)
            }
            _ => Ok(()),
        }
    }

    fn entropy(self, constraints: &Constraints<'_>) -> Entropy {
        let descriptor = self.descriptor();
        let flow_key = constraints.parameters.gre_key == Some(GreKey::Flow);
        match descriptor.carrier {
            Carrier::Udp(_) => Entropy::UdpPort,
            Carrier::Link => Entropy::Own,
            _ if constraints.is_v6 => Entropy::FlowLabel,
            _ if constraints.source_is_prefix => Entropy::SourceAddress,
            _ if flow_key && descriptor.keys.contains(&super::Setting::GreKey) => Entropy::GreKey,
            _ => Entropy::Nothing,
        }
    }

    /// The best of the listed encapsulations: first by [`Entropy`], then by overhead, then in the order of the list.
    /// `None` if none of them can be sent.
    pub fn choose(listed: &[Encapsulation], constraints: &Constraints<'_>) -> Option<Choice> {
        let refusal = listed.iter().find_map(|e| e.sendable(constraints).err());
        let (encapsulation, entropy) = listed
            .iter()
            .filter(|e| e.sendable(constraints).is_ok())
            .map(|&e| (e, e.entropy(constraints)))
            .min_by_key(|&(e, entropy)| {
                (entropy, Template::overhead_of(e, constraints.parameters, constraints.is_v6))
            })?;
        Some(Choice { encapsulation, entropy, refusal })
    }
}

impl Encapsulation {
    /// Bytes that a packet to a backend of this family grows by with these settings.
    pub fn overhead(self, parameters: &Parameters, is_v6: bool) -> usize {
        Template::overhead_of(self, parameters, is_v6)
    }
}

impl Choice {
    /// Those of the backend's list that cannot be sent, and why.
    pub fn left_out(
        &self,
        listed: &[Encapsulation],
    ) -> impl Iterator<Item = (Encapsulation, Unsendable)> {
        let refusal = self.refusal;
        listed.iter().filter_map(move |&encapsulation| {
            refusal.filter(|r| r.concerns(encapsulation)).map(|r| (encapsulation, r))
        })
    }
}
