//! What concerns this forwarder besides its services: its addresses, tunnels, cluster and replies.

use std::net::IpAddr;

use super::backend::Route;
use super::cluster::Cluster;
use super::decapsulation;
use super::id::PortIndex;
use super::source::OwnAddresses;

/// The fleet, as far as one forwarder has to do with the others, and what it answers.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// What no packet can come from.
    pub own: OwnAddresses,
    /// This node's end of tunnels.
    pub tunnel: decapsulation::Decapsulator,
    /// Who gathers which datagram's fragments.
    pub cluster: Cluster,
    /// The ways to the members of the cluster, in their order; none while a next hop is not known.
    pub members: Vec<Option<Route>>,
    /// Answers a second that a worker gives,
    pub reply_rate: u32,
    /// and at once after a rest.
    pub reply_burst: u32,
    /// The longest IP packet that leaves by a port, by [`PortIndex`].
    pub mtus: Vec<u16>,
    /// Addresses of several hosts on the ports' networks: never the source of what is answered.
    pub shared: Vec<IpAddr>,
}

impl Node {
    /// The longest IP packet that leaves by a port.
    pub fn mtu(&self, port: PortIndex) -> u16 {
        self.mtus.get(usize::from(port.0)).copied().unwrap_or(u16::MAX)
    }
}
