//! The bodies of the fuzz targets, without libFuzzer.
//!
//! A target calls its body with libFuzzer's inputs; `tests/regressions.rs` calls it with the files of `seeds/`
//! and `regressions/`. A body panics only if the program breaks a promise.

use guideway_core::wire::{Error, Family, Fragment, Packet, gre, ipv4, plain};

#[path = "../../core/src/wire/agreement.rs"]
mod agreement;
pub mod answers;
pub mod control;
pub mod decide;
pub mod exceptions;
pub mod fragments;
#[path = "../../core/src/balancer/exception/tests/workers.rs"]
#[expect(dead_code, reason = "unit tests use more of it")]
mod workers;

/// A target's name, which its directories have too, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("parse", parse),
    ("decide", decide::run),
    ("exceptions", exceptions::run),
    ("fragments", fragments::run),
    ("answers", answers::run),
    ("configuration", control::configuration),
    ("control_request", control::request),
];

/// Parses the input as a frame and as a GRE packet.
///
/// Any bytes are a packet with offsets within the frame, or an error; etherparse agrees.
pub fn parse(input: &[u8]) {
    for frame in [Some(input), repaired(input).as_deref()].into_iter().flatten() {
        agreement::check(frame);
        if let Ok(packet) = Packet::parse(frame) {
            assert!(packet.l3 < packet.l4 && u32::from(packet.l4) <= packet.end);
            assert!(packet.ip(frame).is_some_and(|ip| ip.len() == packet.ip_length()));
            assert_eq!(packet.addresses_v4(frame).is_some(), packet.family == Family::V4);
            assert_eq!(packet.addresses_v6(frame).is_some(), packet.family == Family::V6);
        }
    }
    if let Ok(gre) = gre::parse(input) {
        assert!(gre.length <= input.len() && gre.length >= gre::LENGTH);
    }
}

/// The frame with a correct IPv4 checksum, which a fuzzer does not guess. `None` if the checksum is correct or
/// there is none.
fn repaired(frame: &[u8]) -> Option<Vec<u8>> {
    if Packet::parse(frame) != Err(Error::Ipv4Checksum) {
        return None;
    }
    let mut repaired = frame.to_vec();
    for l3 in [14, 18, 22] {
        // If the header is elsewhere, the parser still finds a wrong checksum, and the next offset is tried.
        let header = frame.get(l3..)?;
        let length = usize::from(header.first()? & 0xf) * 4;
        repaired.copy_from_slice(frame);
        repaired.get_mut(l3 + 10..l3 + 12)?.fill(0);
        let Some(bytes) = repaired.get(l3..l3 + length.max(ipv4::LENGTH)) else { continue };
        let checksum = guideway_core::wire::Checksum::of(bytes).to_be_bytes();
        repaired.get_mut(l3 + 10..l3 + 12)?.copy_from_slice(&checksum);
        if Packet::parse(&repaired) != Err(Error::Ipv4Checksum) {
            return Some(repaired);
        }
    }
    None
}
