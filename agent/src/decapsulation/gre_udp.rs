//! GRE in UDP, RFC 8086: a [GRE header](super::gre) after a UDP header, whose source port spreads
//! flows over the network's paths.
//!
//! Only port 4754: port 4755 is for GRE over DTLS.

use super::gre;
use super::tunnel::{Carrier, Encapsulation, Tunnel};

/// GRE over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["gre-udp"],
    tunnels: |_| vec![Tunnel { carrier: Carrier::Udp(PORT), decapsulate: gre::decapsulate }],
};

const PORT: u16 = 4754;
