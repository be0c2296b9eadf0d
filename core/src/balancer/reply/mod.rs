//! Replies that the forwarder itself sends: echo replies, ICMP errors and RSTs.
//!
//! A reply is made in the buffer of the packet that causes it. It leaves by the port that the packet came by, to the
//! MAC address that sent the frame, with its VLAN tags, from the virtual address to the packet's source. So no route
//! to clients is needed. A [`Limiter`] bounds the rate.

mod answer;
mod echo;
mod error;
mod identification;
mod limit;
mod option;
mod reset;

use std::net::Ipv6Addr;

use zerocopy::FromBytes;

pub use answer::Answer;
pub use echo::reply as echo_reply;
pub use error::{IcmpError, error, may_report};
pub use identification::Identifications;
pub use limit::Limiter;
pub use option::{OptionAction, refused_option};
pub use reset::{may_reset, reset};

use crate::wire::{Checksum, Packet, ethernet};

/// Time to live or hop limit of replies.
const TTL: u8 = 64;

/// Whether frame and packet have a single source, which is not ourselves, and a single destination host. Any other
/// packet must not cause an error (RFC 1122, section 3.2.2; RFC 4443, section 2.4 (e)), and an echo reply to it would
/// serve attacks only.
fn may_reply(packet: &Packet, frame: &[u8]) -> bool {
    let Ok((header, _)) = ethernet::Header::ref_from_prefix(frame) else { return false };
    if ethernet::is_multicast(header.destination) || ethernet::is_multicast(header.source) {
        return false;
    }
    if let Some((source, destination)) = packet.addresses_v4(frame) {
        // This network, loopback, multicast and reserved addresses, including broadcast (RFC 6890).
        return !matches!(source[0], 0 | 127 | 224..) && source != destination;
    }
    packet.addresses_v6(frame).is_some_and(|(source, destination)| {
        let address = Ipv6Addr::from(source);
        let is_one = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
        is_one && source != destination
    })
}

/// The sum of the pseudo-header of a packet's transport, which has `length` bytes; `None` if `frame` is another frame.
fn pseudo(packet: &Packet, frame: &[u8], length: u16) -> Option<Checksum> {
    if let Some((source, destination)) = packet.addresses_v4(frame) {
        return Some(Checksum::pseudo_v4(source, destination, packet.protocol, length));
    }
    let (source, destination) = packet.addresses_v6(frame)?;
    Some(Checksum::pseudo_v6(source, destination, packet.protocol, length.into()))
}

/// Addresses the frame to the host that sent it.
fn return_to_sender(frame: &mut [u8]) {
    if let Some(macs) = frame.first_chunk_mut::<12>() {
        macs.rotate_left(6);
    }
}
