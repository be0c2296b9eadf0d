//! Answers that the forwarder gives itself, made in place of the packet that asks for them: echo
//! replies and ICMP errors.
//!
//! They leave the way the packet came: by its port, to the MAC address that sent the frame, with its
//! VLAN tags; from the virtual address to the packet's source. A [`Limiter`] holds back what would be
//! too much.

mod echo;
mod error;
mod identification;
mod limit;
mod option;

use std::net::Ipv6Addr;

use zerocopy::FromBytes;

pub use echo::reply as echo_reply;
pub use error::{IcmpError, error, may_report};
pub use identification::Identifications;
pub use limit::Limiter;
pub use option::{OptionAction, refused_option};

use crate::wire::{Packet, ethernet};

/// Hop limit of what is sent.
const TTL: u8 = 64;

/// Whether the frame and the packet have one sender, who is not ourselves, and were sent to one
/// station: anything else must not be answered with an error (RFC 1122, section 3.2.2; RFC 4443,
/// section 2.4 (e)), and an echo reply to it would serve attacks only.
fn may_reply(packet: &Packet, frame: &[u8]) -> bool {
    let Ok((header, _)) = ethernet::Header::ref_from_prefix(frame) else { return false };
    if ethernet::is_multicast(header.destination) || ethernet::is_multicast(header.source) {
        return false;
    }
    if let Some((source, destination)) = packet.addresses_v4(frame) {
        // This network, loopback, multicast and what is reserved, broadcast included (RFC 6890).
        return !matches!(source[0], 0 | 127 | 224..) && source != destination;
    }
    packet.addresses_v6(frame).is_some_and(|(source, destination)| {
        let address = Ipv6Addr::from(source);
        let is_one = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
        is_one && source != destination
    })
}

/// Sends the frame back to the station that it came from.
fn return_to_sender(frame: &mut [u8]) {
    if let Some(macs) = frame.first_chunk_mut::<12>() {
        macs.rotate_left(6);
    }
}
