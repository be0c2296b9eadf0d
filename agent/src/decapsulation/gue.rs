//! Generic UDP encapsulation (draft-ietf-intarea-gue): both versions arrive at one port.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! | 0 |C|  Hlen   |  Proto/ctype  |             Flags             |
//! |                Hlen words of extensions, private data         |
//! ```
//!
//! Version 1 has no header: the inner packet follows UDP. Its IP version (4 is 0100, 6 is 0110)
//! begins with the bits 01, which are the version of GUE.
//!
//! In version 0 each flag announces an extension. A receiver must drop a packet with an extension
//! that it does not know, and the agent knows none. Without flags the Hlen words are private data
//! of the sender, and are skipped. Control messages (C) are dropped.

use super::inner::{Error, Family, Inner, inner, inner_of_any_family};
use super::ipip;
use super::tunnel::{Carrier, Encapsulation, Settings, Tunnel};

/// GUE over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["gue", "gue0"],
    tunnels: |settings| vec![Tunnel { carrier: Carrier::Udp(settings.gue_port), decapsulate }],
};

const HEADER: usize = 4;
const WORD: usize = 4;
const CONTROL: u8 = 0x20;
const LENGTH: u8 = 0x1f;

fn decapsulate(payload: &[u8], _: &Settings) -> Result<Inner, Error> {
    match payload.first().ok_or(Error::Truncated)? >> 6 {
        0 => version_0(payload),
        1 => inner_of_any_family(payload, 0),
        other => Err(Error::Version(other)),
    }
}

fn version_0(payload: &[u8]) -> Result<Inner, Error> {
    let header = payload.first_chunk::<HEADER>().ok_or(Error::Truncated)?;
    let flags = u16::from_be_bytes([header[2], header[3]]);
    if header[0] & CONTROL != 0 {
        return Err(Error::Flags(u16::from_be_bytes([header[0], header[1]])));
    }
    if flags != 0 {
        return Err(Error::Flags(flags));
    }
    let family = match header[1] {
        ipip::IPV4 => Family::V4,
        ipip::IPV6 => Family::V6,
        other => return Err(Error::Protocol(other.into())),
    };
    inner(family, payload, HEADER + WORD * usize::from(header[0] & LENGTH))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{SETTINGS, SYN, V6, found};
    use super::*;

    fn decapsulate(payload: &[u8]) -> Result<Inner, Error> {
        super::decapsulate(payload, &SETTINGS)
    }

    /// The draft, section 4: the version field overlaps the IP version of the inner packet.
    #[test]
    fn version_1_has_no_header() {
        assert_eq!(decapsulate(&SYN), found(Family::V4, 0, 40));
        assert_eq!(decapsulate(&V6), found(Family::V6, 0, 48));
        let mut neither = SYN;
        neither[0] = 0x55;
        assert_eq!(decapsulate(&neither), Err(Error::InnerHeader));
    }

    /// The header of the draft, section 3.1.
    #[test]
    fn version_0_has_a_header() {
        let packet = |header: &[u8], packet: &[u8]| [header, packet].concat();
        assert_eq!(decapsulate(&packet(&[0, 4, 0, 0], &SYN)), found(Family::V4, 4, 40));
        assert_eq!(decapsulate(&packet(&[0, 41, 0, 0], &V6)), found(Family::V6, 4, 48));
        let private = packet(&[2, 4, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], &SYN);
        assert_eq!(decapsulate(&private), found(Family::V4, 12, 40));
        assert_eq!(decapsulate(&private[..11]), Err(Error::Truncated));
        assert_eq!(decapsulate(&private[..3]), Err(Error::Truncated));
        assert_eq!(decapsulate(&packet(&[0, 41, 0, 0], &SYN)), Err(Error::InnerHeader));
        assert_eq!(decapsulate(&packet(&[0, 6, 0, 0], &SYN)), Err(Error::Protocol(6)));
        assert_eq!(decapsulate(&packet(&[0, 4, 0x80, 0], &SYN)), Err(Error::Flags(0x8000)));
        assert_eq!(decapsulate(&packet(&[0x20, 4, 0, 0], &SYN)), Err(Error::Flags(0x2004)));
    }

    #[test]
    fn other_versions_are_refused() {
        assert_eq!(decapsulate(&[0x80; 40]), Err(Error::Version(2)));
        assert_eq!(decapsulate(&[0xff; 40]), Err(Error::Version(3)));
        assert_eq!(decapsulate(&[]), Err(Error::Truncated));
    }
}
