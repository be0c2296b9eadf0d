//! Encapsulation: the headers that carry a packet to its backend.
//!
//! A [`Template`] holds, for one backend, everything that does not change from packet to packet,
//! Ethernet included. Applying it copies it before the packet and fixes what does change: lengths,
//! checksums, traffic class, what the flow chooses, and what the tunnel itself varies.
//!
//! To add an encapsulation: a file beside `gre.rs` with its `Descriptor` and its per-packet part, and
//! a line in the list below. Configuration, choice, listings and tests go by that list. One that needs
//! a setting of its own adds it to `parameters.rs` and [`Setting`], and its form to the configuration.
//!
//! | file | what |
//! |---|---|
//! | `descriptor.rs` | what an encapsulation says of itself |
//! | `parameters.rs` | what the operator can set |
//! | `choice.rs` | which of several a backend gets |
//! | `template.rs` | the headers of one backend, and how they get before a packet |
//! | `gre_rewrite.rs` | the same for plain GRE, as the fast path has it |
//! | `outer.rs`, `udp.rs` | the outer IP and UDP headers |
//! | the rest | one encapsulation each |

mod choice;
mod descriptor;
mod gre_rewrite;
mod outer;
mod parameters;
mod template;
#[cfg(test)]
mod tests;
mod udp;

pub use choice::{Choice, Constraints, Entropy, Unsendable};
pub use descriptor::Setting;
pub(super) use gre_rewrite::GreRewrite;
pub use parameters::{GreKey, INNER_DESTINATION_MAC, Parameters, UdpChecksum};
pub use template::{Template, Tunnel};

use descriptor::{Descriptor, Inner};

/// The enum of all encapsulations and what is the same for each, from a line for each.
macro_rules! encapsulations {
    ($($variant:ident = $module:ident, $summary:literal;)+) => {
        $(mod $module;)+

        /// The encapsulations there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Encapsulation {
            $(#[doc = $summary] $variant,)+
        }

        impl Encapsulation {
            /// Every one by its name in configurations and listings.
            pub const NAMES: &[(&str, Encapsulation)] =
                &[$(($module::DESCRIPTOR.name, Encapsulation::$variant)),+];

            const fn descriptor(self) -> &'static Descriptor {
                match self {
                    $(Encapsulation::$variant => const { &$module::DESCRIPTOR },)+
                }
            }

            /// Fixes the header of the encapsulation for one packet.
            #[inline]
            fn fix(self, header: &mut [u8], inner: &Inner) {
                match self {
                    $(Encapsulation::$variant => $module::fix(header, inner),)+
                }
            }
        }
    };
}

encapsulations! {
    Gre = gre, "RFC 2784, with the key of RFC 2890 if one is set.";
    Ipip = ipip, "IP in IP: RFC 2003, RFC 2473, RFC 4213.";
    Gue = gue, "Generic UDP encapsulation, variant 1.";
    Gue0 = gue0, "Generic UDP encapsulation, variant 0.";
    GreUdp = gre_udp, "GRE in UDP: RFC 8086.";
    Vxlan = vxlan, "RFC 7348.";
    MplsUdp = mpls_udp, "MPLS in UDP: RFC 7510.";
    MplsGre = mpls_gre, "MPLS in GRE: RFC 4023.";
    L2 = l2, "No encapsulation: another destination MAC.";
}

impl Encapsulation {
    /// What is used where the configuration says nothing.
    pub const DEFAULT: Encapsulation = Encapsulation::Gre;

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.descriptor().name
    }

    /// Whether it uses a key.
    pub fn uses(self, setting: Setting) -> bool {
        self.descriptor().keys.contains(&setting)
    }

    /// The keys that it cannot do without.
    pub const fn required(self) -> &'static [Setting] {
        self.descriptor().required
    }

    /// Whether packets travel in another, with a tunnel source.
    pub fn is_tunnel(self) -> bool {
        self.descriptor().carrier != descriptor::Carrier::Link
    }
}
