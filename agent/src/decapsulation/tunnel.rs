//! What each encapsulation says of itself: its names, and the tunnels by which its packets arrive.

use std::fmt;

use super::inner::{Error, Inner};

/// The port that IANA assigned to GUE.
pub(super) const GUE_PORT: u16 = 6080;

/// One encapsulation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encapsulation {
    /// Its names in the forwarder's configuration. Several if the forwarder has several
    /// encapsulations that arrive at the same place and look alike here.
    pub(super) names: &'static [&'static str],
    /// Its tunnels.
    pub(super) tunnels: fn(&Settings) -> Vec<Tunnel>,
}

/// The packets of one encapsulation and one carrier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tunnel {
    /// Where the packets arrive.
    pub(crate) carrier: Carrier,
    /// Finds the inner packet in the bytes after the carrier's header.
    pub(crate) decapsulate: fn(&[u8], &Settings) -> Result<Inner, Error>,
}

/// The header before the tunnel header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// An IP header with this protocol number.
    Ip(u8),
    /// A UDP header with this destination port.
    Udp(u16),
}

/// Options of encapsulations.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// UDP port of GUE
    #[arg(long, value_name = "PORT", default_value_t = GUE_PORT,
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) gue_port: u16,
    /// Accept VXLAN and Geneve only with this network identifier [default: any]
    #[arg(long, value_name = "VNI", value_parser = clap::value_parser!(u32).range(..1 << 24))]
    pub(crate) vni: Option<u32>,
}

impl Encapsulation {
    /// Its name in output: the first of its names.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Its tunnels, with these settings.
    pub(crate) fn tunnels(&self, settings: &Settings) -> Vec<Tunnel> {
        (self.tunnels)(settings)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carrier::Ip(protocol) => write!(f, "IP protocol {protocol}"),
            Carrier::Udp(port) => write!(f, "UDP port {port}"),
        }
    }
}
