//! The first step of the full path: parse a frame, match its service, hash its flow.
//!
//! A packet that no service serves is [`Unserved`]: dropped, or an [`Exception`] that the forwarder may handle
//! itself. Workers take this step for a whole burst, and prefetch the flow table's cache lines, before they
//! decide about the first packet.

use std::net::{IpAddr, Ipv4Addr};

use super::decapsulation::is_tunnel_port;
use super::flow::FlowKey;
use super::id::PortIndex;
use super::local::Local;
use super::services::{Service, ServiceAddress, Vip};
use super::tables::Tables;
use super::verdict::DropReason;
use super::worker_state::Balancer;
use crate::wire::plain::PlainHeaders;
use crate::wire::{Error as Malformed, Family, Fragment, Packet, ethernet, protocol};

/// A packet for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Its headers and where they are.
    pub packet: Packet,
    /// The service that it is for.
    pub service: Service,
    /// Its flow's hash, which chooses the worker and the bucket and is the tag in the bucket.
    pub tag: u64,
}

/// A packet without a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// It is dropped.
    Drop(DropReason),
    /// The forwarder may handle it itself.
    Exception(Packet, Exception),
}

impl From<Malformed> for Unserved {
    fn from(error: Malformed) -> Unserved {
        Unserved::Drop(error.into())
    }
}

impl From<DropReason> for Unserved {
    fn from(drop: DropReason) -> Unserved {
        Unserved::Drop(drop)
    }
}

/// A packet without a service that is not dropped at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// No service has its address, or it is a tunnel packet to a virtual address that is the node's tunnel
    /// address too. The forwarder may have to decapsulate it.
    Elsewhere,
    /// UDP or TCP to a virtual address, but to no service.
    Closed(Vip),
    /// ICMP or ICMPv6 to a virtual address.
    Icmp(Vip),
    /// A fragment to a virtual address.
    Fragment(Vip),
}

/// Why a plain packet that no service serves is dropped, and nothing else becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Useless {
    /// Its destination is no virtual address.
    NoVip,
    /// Its destination is one.
    NoService,
}

impl Balancer {
    /// Parses a frame that came in by `port` and finds its service.
    ///
    /// # Errors
    /// The reason to drop it, or the exception that it is.
    #[inline(never)]
    pub fn classify(
        &self,
        tables: &Tables,
        port: PortIndex,
        frame: &[u8],
    ) -> Result<Classified, Unserved> {
        if let Some(mac) = tables.port(port).and_then(|p| p.mac) {
            check_mac(mac, frame)?;
        }
        let packet = Packet::parse(frame)?;
        let service = tables.service_of(&packet, frame)?;
        // The parser has seen the whole header, so there always is a key.
        let tag = FlowKey::of(&packet, frame).map_or(0, |key| self.tag(&key));
        Ok(Classified { packet, service, tag })
    }
}

impl Tables {
    /// The service that a packet is for, or why there is none.
    pub fn service_of(&self, packet: &Packet, frame: &[u8]) -> Result<Service, Unserved> {
        let served = match packet.fragment {
            Fragment::Whole => self.service_of_first(packet, frame),
            _ => None,
        };
        served.ok_or_else(|| self.why_unserved(packet, frame))
    }

    /// Why no service serves a packet.
    #[cold]
    pub(super) fn why_unserved(&self, packet: &Packet, frame: &[u8]) -> Unserved {
        let Some(vip) = self.vip(destination(packet, frame)) else {
            return Unserved::Exception(*packet, Exception::Elsewhere);
        };
        let exception = match packet.protocol {
            // A virtual address may be the node's tunnel address too.
            _ if self.node().tunnel.accepts(packet, frame) => Exception::Elsewhere,
            _ if packet.fragment != Fragment::Whole => Exception::Fragment(vip),
            protocol::TCP | protocol::UDP => Exception::Closed(vip),
            protocol::ICMP | protocol::ICMPV6 => Exception::Icmp(vip),
            _ => return Unserved::Drop(DropReason::UnsupportedProtocol),
        };
        Unserved::Exception(*packet, exception)
    }

    /// Whether a plain packet, read from this same frame, that no service serves is for a virtual address, if nothing
    /// becomes of such a packet: no tunnel ends with it, the kernel does not get it, and it is not answered. `None` leaves it
    /// to [`Tables::why_unserved`] and what follows from that. Most packets that a flood sends to no service end here.
    #[inline(never)]
    pub(super) fn drop_unserved(&self, headers: PlainHeaders, frame: &[u8]) -> Option<Useless> {
        // By family, so that nothing asks again which it is.
        match headers.family {
            Family::V4 => self.drop_flow(&FlowKey::of_plain_v4(headers, frame)?, frame),
            Family::V6 => self.drop_flow(&FlowKey::of_plain_v6(headers, frame)?, frame),
        }
    }

    #[inline(always)]
    fn drop_flow(&self, flow: &FlowKey, frame: &[u8]) -> Option<Useless> {
        let is_udp = flow.protocol() == protocol::UDP;
        if is_udp && is_tunnel_port(flow.destination_port()) {
            return None;
        }
        match self.locals().destination(flow) {
            Some(Local::Virtual(vip)) if vip.unreachable && is_udp => None,
            Some(Local::Virtual(_)) => {
                (!self.is_suspect(flow, frame)).then_some(Useless::NoService)
            }
            Some(Local::Own) => None,
            None => {
                let punts = &self.node().punts;
                let may_be_punted = ethernet::is_multicast(*frame.first_chunk()?)
                    || (!punts.prefixes.is_empty() && punts.is_own(flow.destination()));
                (!may_be_punted).then_some(Useless::NoVip)
            }
        }
    }

    /// The service that a whole packet or a first fragment is for.
    pub fn service_of_first(&self, packet: &Packet, frame: &[u8]) -> Option<Service> {
        let address = destination(packet, frame);
        self.services().get(&ServiceAddress::new(address, packet.protocol, packet.destination))
    }
}

/// The destination address of a packet that was parsed from this frame.
pub(super) fn destination(packet: &Packet, frame: &[u8]) -> IpAddr {
    let v4 = packet.addresses_v4(frame).map(|(_, to)| to.into());
    let v6 = packet.addresses_v6(frame).map(|(_, to)| to.into());
    v4.or(v6).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Refuses frames for another host, and frames for a group of hosts.
#[inline]
fn check_mac(mac: [u8; 6], frame: &[u8]) -> Result<(), DropReason> {
    match frame.first_chunk() {
        Some(&destination) if destination == mac => Ok(()),
        Some(&destination) if ethernet::is_multicast(destination) => Err(DropReason::MulticastMac),
        Some(_) => Err(DropReason::WrongMac),
        // Too short even for an address: the parser names that fault.
        None => Ok(()),
    }
}
