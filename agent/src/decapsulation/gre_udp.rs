//! GRE in UDP, RFC 8086: the header of [GRE](super::gre) after a UDP header whose source port spreads
//! flows over the network's paths.
//!
//! Port 4754 only; 4755 is GRE over DTLS.

use super::{Carrier, Encapsulation, Tunnel, gre};

/// GRE over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["gre-udp"],
    tunnels: |_| vec![Tunnel { carrier: Carrier::Udp(PORT), decapsulate: gre::decapsulate }],
};

const PORT: u16 = 4754;
