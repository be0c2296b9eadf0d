//! What each fuzz target does with an input, without libFuzzer.
//!
//! The targets call these functions with what libFuzzer invents, `tests/regressions.rs` with the files of
//! `seeds/` and `regressions/`. A body panics if a promise of the program is broken, and only then.

use guideway::wire::{Error, Family, Fragment, Packet, gre, ipv4, plain};

#[path = "../../forwarder/src/wire/agreement.rs"]
mod agreement;
pub mod answers;
pub mod control;
pub mod decide;
pub mod fragments;

/// A target's name, which is also that of its directories, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("parse", parse),
    ("decide", decide::run),
    ("fragments", fragments::run),
    ("answers", answers::run),
    ("configuration", control::configuration),
    ("control_request", control::request),
];

/// The input is a frame, and a GRE packet.
///
/// Any bytes are a packet whose offsets lie inside the frame, or an error; etherparse agrees.
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

/// The frame with the IPv4 checksum made right, which no fuzzer guesses; none if it is right or has none.
fn repaired(frame: &[u8]) -> Option<Vec<u8>> {
    if Packet::parse(frame) != Err(Error::Ipv4Checksum) {
        return None;
    }
    let mut repaired = frame.to_vec();
    for l3 in [14, 18, 22] {
        // Where the header is not, the parser still finds a wrong checksum, and the next fields is tried.
        let header = frame.get(l3..)?;
        let length = usize::from(header.first()? & 0xf) * 4;
        repaired.copy_from_slice(frame);
        repaired.get_mut(l3 + 10..l3 + 12)?.fill(0);
        let Some(bytes) = repaired.get(l3..l3 + length.max(ipv4::LENGTH)) else { continue };
        let checksum = guideway::wire::Checksum::of(bytes).to_be_bytes();
        repaired.get_mut(l3 + 10..l3 + 12)?.copy_from_slice(&checksum);
        if Packet::parse(&repaired) != Err(Error::Ipv4Checksum) {
            return Some(repaired);
        }
    }
    None
}
