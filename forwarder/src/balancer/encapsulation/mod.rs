//! Encapsulation: the headers that carry a packet to its backend.
//!
//! A [`Template`] holds, for one backend, everything that does not change from packet to packet,
//! Ethernet included. Applying it copies it before the packet and fixes what does change: lengths,
//! checksum, traffic class, flow label and what the tunnel itself varies.
//!
//! To add an encapsulation: a file beside `gre.rs` with its header and its per-packet part, and a
//! line in each of the lists of [`Encapsulation`].

mod gre;
mod outer;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use super::frame::Frame;
use super::verdict::Drop;
use crate::wire::{Packet, ethernet, protocol};

/// The encapsulations there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// RFC 2784, without checksum and key.
    #[default]
    Gre,
}

impl Encapsulation {
    /// Every one by its name in configurations and listings.
    pub const NAMES: &[(&str, Encapsulation)] = &[("gre", Encapsulation::Gre)];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Encapsulation::Gre => "gre",
        }
    }

    /// The IP protocol number and the tunnel header of a template.
    fn header(self) -> (u8, &'static [u8]) {
        match self {
            Encapsulation::Gre => (protocol::GRE, &gre::HEADER),
        }
    }

    /// Fixes the tunnel header for one packet.
    #[inline]
    fn fix(self, header: &mut [u8], inner: &Packet) {
        match self {
            Encapsulation::Gre => gre::fix(header, inner),
        }
    }
}

/// The ends of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The port's MAC address.
    pub source_mac: [u8; 6],
    /// The next hop's MAC address.
    pub destination_mac: [u8; 6],
    /// The node's tunnel source.
    pub source: IpAddr,
    /// The backend.
    pub destination: IpAddr,
}

/// Room for Ethernet, IPv6 and the longest tunnel header.
const TEMPLATE: usize = 72;

/// All headers of one backend, without a VLAN tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    encapsulation: Encapsulation,
    outer: outer::Family,
    /// Bytes of `headers` in use.
    length: u8,
    /// Bytes of an outer IP packet at the most.
    mtu: u16,
    headers: [u8; TEMPLATE],
}

const ETHERNET: usize = ethernet::LENGTH;
/// Where the MAC addresses end, and a tag would begin.
const MACS: usize = 12;
/// Two tags.
const MAX_TAGS: usize = 8;

impl Template {
    /// The headers for a tunnel by a port of this MTU; none if the addresses' families differ.
    pub fn new(encapsulation: Encapsulation, tunnel: &Tunnel, mtu: u16) -> Option<Template> {
        let (protocol, tunnel_header) = encapsulation.header();
        let (outer, ip) = outer::header(tunnel.source, tunnel.destination, protocol)?;
        let ethertype = outer.ethertype().to_be_bytes();
        let mut headers = [0; TEMPLATE];
        let parts =
            [&tunnel.destination_mac[..], &tunnel.source_mac, &ethertype, &ip, tunnel_header];
        let mut length = 0;
        for part in parts {
            headers.get_mut(length..length + part.len())?.copy_from_slice(part);
            length += part.len();
        }
        Some(Template { encapsulation, outer, length: u8::try_from(length).ok()?, mtu, headers })
    }

    /// Bytes that a packet grows by.
    #[inline]
    pub fn overhead(&self) -> usize {
        usize::from(self.length) - ETHERNET
    }

    /// Puts the headers before a packet that was parsed from this very frame. The IP packet is not
    /// touched, Ethernet padding is cut off, and VLAN tags stay. `entropy` is a hash of the flow.
    ///
    /// # Errors
    /// The reason to drop the packet, which may have been cut to its IP length by then.
    #[inline]
    pub fn apply(&self, packet: &Packet, entropy: u64, frame: &mut impl Frame) -> Result<(), Drop> {
        let (l3, end) = (usize::from(packet.l3), packet.end as usize);
        let overhead = self.overhead();
        let length = end - l3 + overhead;
        let Ok(length) = u16::try_from(length) else { return Err(Drop::ExceedsMtu) };
        if length > self.mtu {
            return Err(Drop::ExceedsMtu);
        }
        let tag_length = (l3 - ETHERNET).min(MAX_TAGS);
        let mut tags = [0; MAX_TAGS];
        if let Some(found) = frame.bytes().get(MACS..MACS + tag_length) {
            tags[..tag_length].copy_from_slice(found);
        }
        frame.truncate(end);
        let bytes = frame.push_front(overhead).ok_or(Drop::NoHeadroom)?;
        let (macs, rest) = bytes.split_at_mut(MACS);
        let (tag, rest) = rest.split_at_mut(tag_length);
        let headers = &mut rest[..usize::from(self.length) - MACS];
        macs.copy_from_slice(&self.headers[..MACS]);
        tag.copy_from_slice(&tags[..tag_length]);
        headers.copy_from_slice(&self.headers[MACS..usize::from(self.length)]);
        let (ip, tunnel) = headers[ETHERNET - MACS..].split_at_mut(self.outer.length());
        self.outer.fix(ip, length, packet.traffic_class, entropy);
        self.encapsulation.fix(tunnel, packet);
        Ok(())
    }
}
