//! The headers of one backend, and how they are put before a packet.

use std::net::IpAddr;

use super::descriptor::{Carrier, Header, Inner, MAX_HEADER};
use super::outer::PerPacket;
use super::{
    Encapsulation, GreKey, INNER_DESTINATION_MAC, Parameters, Setting, UdpChecksum, outer, udp,
};
use crate::balancer::frame::Frame;
use crate::balancer::verdict::DropReason;
use crate::wire::{Family, Packet, ethernet, gre, hops, ipv4, ipv6, vlan};

/// The two ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The port's MAC address.
    pub source_mac: [u8; 6],
    /// The next hop's MAC address.
    pub destination_mac: [u8; 6],
    /// The node's tunnel source; the first address if that is a prefix.
    pub source: IpAddr,
    /// The backend.
    pub destination: IpAddr,
}

const ETHERNET: usize = ethernet::LENGTH;
/// Length of the MAC addresses, behind which a tag would begin.
const MACS: usize = 12;
/// Length of two tags.
const MAX_TAGS: usize = vlan::MAX_TAGS * vlan::LENGTH;
/// Length of Ethernet, IPv6, UDP and the longest header of an encapsulation.
pub(super) const TEMPLATE: usize = ETHERNET + ipv6::LENGTH + udp::LENGTH + MAX_HEADER;

/// All headers of one backend, and the VLAN tag that they get instead of the packet's, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    encapsulation: Encapsulation,
    pub(super) outer: outer::Family,
    /// Sum of the words of the outer IP header.
    sum: u32,
    /// Bytes of `headers` in use.
    pub(super) length: u8,
    /// How many bits of an IPv4 source address the flow chooses.
    pub(super) host_bits: u8,
    /// The longest outer IP packet.
    pub(super) mtu: u16,
    pub(super) carrier: Carrier,
    /// Whether the flow chooses the GRE key.
    pub(super) keyed_by_flow: bool,
    pub(super) computes_checksum: bool,
    /// The VLAN of the next hop, without priority. Packets keep their own tags without it.
    pub(super) vlan: Option<u16>,
    pub(super) headers: [u8; TEMPLATE],
}

/// The parts of a frame that begins with the headers of a template.
struct Encapsulated<'f> {
    /// The headers, from the Ethertype on.
    headers: &'f mut [u8],
    /// The packet, to the end of the frame.
    inner: &'f mut [u8],
    /// Length of the outer IP packet.
    length: u16,
}

impl Template {
    /// The headers for a tunnel by a port of this MTU, with the default settings of the encapsulation. `None` if the
    /// families of the addresses differ.
    pub fn new(encapsulation: Encapsulation, tunnel: &Tunnel, mtu: u16) -> Option<Template> {
        Template::with(encapsulation, &Parameters::default(), tunnel, mtu)
    }

    /// The headers for a tunnel by a port of this MTU, with these settings. A required setting that is missing counts
    /// as 0. `None` if the families of the addresses differ.
    pub fn with(
        encapsulation: Encapsulation,
        parameters: &Parameters,
        tunnel: &Tunnel,
        mtu: u16,
    ) -> Option<Template> {
        let descriptor = encapsulation.descriptor();
        let header = (descriptor.header)(&Parameters {
            inner_source_mac: parameters.inner_source_mac.or(Some(tunnel.source_mac)),
            inner_destination_mac: parameters.inner_destination_mac.or(Some(INNER_DESTINATION_MAC)),
            ..*parameters
        });
        let protocol = match descriptor.carrier {
            Carrier::Ip(protocol) => protocol,
            Carrier::Udp(_) => crate::wire::protocol::UDP,
            Carrier::InnerProtocol | Carrier::Link => 0,
        };
        let (outer, sum, ip) = outer::header(tunnel.source, tunnel.destination, protocol)?;
        let mut headers = [0; TEMPLATE];
        let mut length = 0;
        let mut push = |part: &[u8]| {
            headers[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        };
        push(&tunnel.destination_mac);
        push(&tunnel.source_mac);
        push(&outer.ethertype().to_be_bytes());
        if descriptor.carrier != Carrier::Link {
            push(&ip);
        }
        if let Carrier::Udp(port) = descriptor.carrier {
            push(&udp::header(parameters.udp_port.unwrap_or(port)));
        }
        push(header.as_bytes());
        let compute = encapsulation.uses(Setting::UdpChecksum)
            && parameters.udp_checksum == Some(UdpChecksum::Compute);
        Some(Template {
            encapsulation,
            outer,
            sum,
            length: u8::try_from(length).ok()?,
            host_bits: 0,
            mtu,
            carrier: descriptor.carrier,
            keyed_by_flow: encapsulation.uses(Setting::GreKey)
                && parameters.gre_key == Some(GreKey::Flow),
            computes_checksum: compute && tunnel.destination.is_ipv6(),
            vlan: None,
            headers,
        })
    }

    /// This template for a tunnel source that is an IPv4 prefix of this length, in which the flow chooses the address.
    /// With UDP the source port varies instead, and only the first address is used.
    #[must_use]
    pub fn with_source_prefix(self, length: u8) -> Template {
        let host_bits = match (self.carrier, self.outer) {
            (Carrier::Ip(_) | Carrier::InnerProtocol, outer::Family::V4) => {
                32_u8.saturating_sub(length)
            }
            _ => 0,
        };
        Template { host_bits, ..self }
    }

    /// This template for a next hop in a VLAN: frames leave with its tag instead of the tags that they came with. A tag
    /// does not count towards the MTU.
    #[must_use]
    pub fn with_vlan(self, vlan: Option<u16>) -> Template {
        Template { vlan, ..self }
    }

    /// GRE headers for fragments that are redirected to another forwarder. Recursion control 1 (RFC 1701, bits 5 to 7)
    /// marks that they must not be redirected again.
    pub fn redirecting(tunnel: &Tunnel, mtu: u16) -> Option<Template> {
        let mut template = Template::new(Encapsulation::Gre, tunnel, mtu)?;
        let flags = usize::from(template.length) - gre::LENGTH;
        template.headers[flags] |= 1;
        Some(template)
    }

    /// The longest outer packet.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The encapsulation.
    pub fn encapsulation(&self) -> Encapsulation {
        self.encapsulation
    }

    /// Bytes that a packet grows by.
    #[inline]
    pub fn overhead(&self) -> usize {
        usize::from(self.length) - ETHERNET
    }

    /// Bytes that a packet grows by with an encapsulation and these settings.
    pub(super) fn overhead_of(
        encapsulation: Encapsulation,
        parameters: &Parameters,
        is_v6: bool,
    ) -> usize {
        let descriptor = encapsulation.descriptor();
        let ip = match descriptor.carrier {
            Carrier::Link => 0,
            _ if is_v6 => ipv6::LENGTH,
            _ => ipv4::LENGTH,
        };
        let header: Header = (descriptor.header)(parameters);
        ip + descriptor.carrier.length() + header.as_bytes().len()
    }

    /// Puts the headers before a packet that was parsed from this same frame. The IP packet stays as it is, Ethernet
    /// padding is removed, and VLAN tags stay unless the template has its own. `entropy` is a hash of the flow.
    ///
    /// For `l2`, only the MAC addresses, the template's own tag and the time to live or hop limit change.
    ///
    /// # Errors
    /// The reason to drop the packet, of which only bytes behind the IP packet may have been removed. Without headroom
    /// ([`DropReason::NoHeadroom`]) its tags may be others.
    #[inline(never)]
    pub fn apply(
        &self,
        packet: &Packet,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Result<(), DropReason> {
        match self.vlan {
            Some(identifier) => self.apply_in_vlan(packet, entropy, identifier, frame),
            None if self.carrier == Carrier::Link => self.readdress(packet, frame),
            None => self.encapsulate(packet, entropy, frame),
        }
    }

    /// The headers of packets of a family, without what differs by packet otherwise.
    pub(super) fn headers_of(&self, family: Family) -> [u8; TEMPLATE] {
        let mut headers = self.headers;
        let inner = Inner { family, entropy: 0, keyed_by_flow: false };
        let (ethernet, rest) = headers.split_at_mut(ETHERNET);
        match self.carrier {
            Carrier::Link => ethernet[MACS..].copy_from_slice(&inner.ethertype().to_be_bytes()),
            Carrier::InnerProtocol => rest[self.outer.protocol_at()] = inner.protocol(),
            Carrier::Ip(_) | Carrier::Udp(_) => {}
        }
        if self.carrier != Carrier::Link {
            let tunnel = self.outer.length() + self.carrier.length();
            let length = usize::from(self.length) - ETHERNET;
            self.encapsulation.fix(&mut rest[tunnel..length], &inner);
        }
        headers
    }

    /// Encapsulates or readdresses a frame that gets the template's own tag.
    #[cold]
    fn apply_in_vlan(
        &self,
        packet: &Packet,
        entropy: u64,
        identifier: u16,
        frame: &mut impl Frame,
    ) -> Result<(), DropReason> {
        if self.carrier == Carrier::Link {
            self.readdress(packet, frame)?;
            return retag(packet, identifier, frame).map(|_| ()).ok_or(DropReason::NoHeadroom);
        }
        // First, because a report about a packet that does not fit quotes the packet as it came.
        self.outer_length(packet, self.overhead())?;
        let packet = retag(packet, identifier, frame).ok_or(DropReason::NoHeadroom)?;
        self.encapsulate(&packet, entropy, frame)
    }

    /// Whether a packet fits once it is encapsulated.
    pub(in crate::balancer) fn fits(&self, packet: &Packet) -> bool {
        self.outer_length(packet, self.overhead()).is_ok()
    }

    /// Length of the outer packet, if it fits.
    #[inline(always)]
    fn outer_length(&self, packet: &Packet, overhead: usize) -> Result<u16, DropReason> {
        let length = packet.ip_length() + overhead;
        if length > usize::from(self.mtu) {
            return Err(DropReason::ExceedsMtu);
        }
        #[expect(clippy::cast_possible_truncation, reason = "no more than the MTU")]
        Ok(length as u16)
    }

    /// Puts the headers of a tunnel before a packet, behind the tags that it has.
    #[inline(never)]
    fn encapsulate(
        &self,
        packet: &Packet,
        entropy: u64,
        frame: &mut impl Frame,
    ) -> Result<(), DropReason> {
        let Encapsulated { headers, inner, length } = self.place(packet, frame)?;
        let headers = &mut headers[ETHERNET - MACS..];
        let (ip, rest) = headers.split_at_mut(self.outer.length());
        let (datagram, tunnel) = rest.split_at_mut(self.carrier.length());
        let of_packet = Inner { family: packet.family, entropy, keyed_by_flow: self.keyed_by_flow };
        self.encapsulation.fix(tunnel, &of_packet);
        let protocol = match self.carrier {
            Carrier::InnerProtocol => of_packet.protocol(),
            Carrier::Ip(_) | Carrier::Udp(_) | Carrier::Link => 0,
        };
        let per_packet = PerPacket { protocol, host_bits: self.host_bits };
        self.outer.fix_per_packet(ip, self.sum, length, packet.traffic_class, entropy, per_packet);
        if let Carrier::Udp(_) = self.carrier {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an IP header has 40 bytes at most"
            )]
            udp::fix(datagram, length - self.outer.length() as u16, entropy);
            if self.computes_checksum {
                let checksum = udp::checksum(headers, packet, inner).unwrap_or_default();
                let at = self.outer.length() + udp::CHECKSUM;
                headers[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Adds room before the packet and copies all headers there.
    #[inline(always)]
    fn place<'f>(
        &self,
        packet: &Packet,
        frame: &'f mut impl Frame,
    ) -> Result<Encapsulated<'f>, DropReason> {
        let (l3, end) = (usize::from(packet.l3), packet.end as usize);
        let overhead = self.overhead();
        let length = self.outer_length(packet, overhead)?;
        let tag_length = (l3 - ETHERNET).min(MAX_TAGS);
        let mut tags = [0; MAX_TAGS];
        if let Some(found) = frame.bytes().get(MACS..MACS + tag_length) {
            tags[..tag_length].copy_from_slice(found);
        }
        frame.truncate(end);
        let bytes = frame.push_front(overhead).ok_or(DropReason::NoHeadroom)?;
        let (macs, rest) = bytes.split_at_mut(MACS);
        let (tag, rest) = rest.split_at_mut(tag_length);
        let (headers, inner) = rest.split_at_mut(usize::from(self.length) - MACS);
        macs.copy_from_slice(&self.headers[..MACS]);
        tag.copy_from_slice(&tags[..tag_length]);
        headers.copy_from_slice(&self.headers[MACS..usize::from(self.length)]);
        Ok(Encapsulated { headers, inner, length })
    }

    /// Changes the MAC addresses and lowers the time to live or hop limit, which without a tunnel header is all that
    /// ends a loop.
    #[inline(always)]
    fn readdress(&self, packet: &Packet, frame: &mut impl Frame) -> Result<(), DropReason> {
        // Bytes behind the packet could exceed the MTU and are removed. Padding to the least length stays.
        frame.truncate((packet.end as usize).max(ethernet::LEAST));
        let fits = packet.ip_length() <= usize::from(self.mtu);
        let bytes = frame.push_front(0).ok_or(DropReason::NoHeadroom)?;
        let ip = bytes.get_mut(packet.l3.into()..).ok_or(DropReason::NoHeadroom)?;
        if !fits {
            // A router checks the time to live before the length.
            return Err(match hops::may_go_on(ip) {
                true => DropReason::ExceedsMtu,
                false => DropReason::HopLimitExceeded,
            });
        }
        hops::lower(ip).ok_or(DropReason::HopLimitExceeded)?;
        let macs = bytes.get_mut(..MACS).ok_or(DropReason::NoHeadroom)?;
        macs.copy_from_slice(&self.headers[..MACS]);
        Ok(())
    }
}

/// Puts one tag in the place of all that a frame has. Returns the packet as it is then, or `None` without headroom.
fn retag(packet: &Packet, identifier: u16, frame: &mut impl Frame) -> Option<Packet> {
    #[expect(clippy::cast_possible_truncation, reason = "18")]
    const L3: u16 = (ETHERNET + vlan::LENGTH) as u16;
    let macs: [u8; MACS] = *frame.bytes().first_chunk()?;
    let bytes = match packet.l3.checked_sub(L3) {
        Some(less) => frame.pull_front(less.into())?,
        None => frame.push_front((L3 - packet.l3).into())?,
    };
    let (front, behind) = bytes.split_first_chunk_mut::<MACS>()?;
    *front = macs;
    *behind.first_chunk_mut()? = vlan::tag(0, identifier);
    let (l4, end) = (packet.l4 - packet.l3 + L3, packet.end - u32::from(packet.l3) + u32::from(L3));
    Some(Packet { l3: L3, l4, end, ..*packet })
}
