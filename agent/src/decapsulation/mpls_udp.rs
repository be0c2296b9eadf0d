//! MPLS in UDP, RFC 7510: a [label stack](super::mpls) after a UDP header.
//!
//! Only port 6635: port 6636 is for MPLS over DTLS.

use super::mpls;
use super::tunnel::{Carrier, Encapsulation, Tunnel};

/// MPLS over UDP.
pub(super) const ENCAPSULATION: Encapsulation = Encapsulation {
    names: &["mpls-udp"],
    tunnels: |_| {
        vec![Tunnel {
            carrier: Carrier::Udp(PORT),
            decapsulate: |payload, _| mpls::inner_after_labels(payload, 0),
        }]
    },
};

const PORT: u16 = 6635;
