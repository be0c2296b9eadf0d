//! Encapsulation: the headers that carry a packet to its backend.
//!
//! A [`Template`] has all headers of one backend, Ethernet included, as far as they are the same for every packet.
//! Applying it copies the headers before the packet and fixes what differs: lengths, checksums, traffic class, and the
//! fields that follow the flow.
//!
//! A new encapsulation is a file like `vxlan.rs`, with its `Descriptor` and its per-packet part, and a line in the
//! list below. Configuration, choice, listings and tests follow that list. A setting of its own goes into
//! `parameters.rs`, [`Setting`] and the configuration.
//!
//! | file | what |
//! |---|---|
//! | `descriptor.rs` | the facts about one encapsulation, as a table row |
//! | `parameters.rs` | the settings of the operator |
//! | `choice.rs` | which of several encapsulations a backend gets |
//! | `template.rs` | the headers of one backend, and how they are put before a packet |
//! | `rewrite.rs` | the same headers as data, for the fast path |
//! | `outer.rs`, `udp.rs` | the outer IP and UDP headers |
//! | the rest | one encapsulation each |

mod choice;
mod descriptor;
mod outer;
mod parameters;
mod rewrite;
mod template;
#[cfg(test)]
mod tests;
mod udp;

pub use choice::{Choice, Constraints, Entropy, Unsendable};
pub use descriptor::Setting;
pub use parameters::{GreKey, INNER_DESTINATION_MAC, Parameters, UdpChecksum};
pub(super) use rewrite::Class;
pub use rewrite::{Any, Apply, GreV4, InV4, Rewrite, TaggedGreV4};
pub use template::{Template, Tunnel};

use descriptor::{Descriptor, Inner};

/// Declares the modules and the enum of all encapsulations, and dispatches to them.
macro_rules! encapsulations {
    ($($variant:ident = $module:ident, $summary:literal;)+) => {
        $(mod $module;)+

        /// An encapsulation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Encapsulation {
            $(#[doc = $summary] $variant,)+
        }

        impl Encapsulation {
            /// Every encapsulation with its name in configurations and listings.
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
    Geneve = geneve, "RFC 8926.";
    MplsUdp = mpls_udp, "MPLS in UDP: RFC 7510.";
    MplsGre = mpls_gre, "MPLS in GRE: RFC 4023.";
    L2 = l2, "No encapsulation: another destination MAC.";
}

impl Encapsulation {
    /// The encapsulation of a configuration that sets none.
    pub const DEFAULT: Encapsulation = Encapsulation::Gre;

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.descriptor().name
    }

    /// Whether it uses a setting.
    pub fn uses(self, setting: Setting) -> bool {
        self.descriptor().keys.contains(&setting)
    }

    /// The settings that it requires.
    pub const fn required(self) -> &'static [Setting] {
        self.descriptor().required
    }

    /// Whether packets travel inside another packet, which needs a tunnel source.
    pub fn is_tunnel(self) -> bool {
        self.descriptor().carrier != descriptor::Carrier::Link
    }
}
