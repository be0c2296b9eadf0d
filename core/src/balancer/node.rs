//! What concerns this forwarder besides its services: addresses, tunnels, cluster, replies, MTUs, punts.

use std::net::IpAddr;
use std::sync::Arc;

use super::backend::Route;
use super::cluster::Cluster;
use super::decapsulation;
use super::id::PortIndex;
use super::punt::Punts;
use super::source::OwnAddresses;

/// One forwarder among the others of its cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its own addresses, which no packet that arrives can come from.
    pub own: OwnAddresses,
    /// Its end of tunnels from peers.
    pub tunnel: decapsulation::Decapsulator,
    /// Which member owns which datagram's fragments.
    pub cluster: Cluster,
    /// The routes to the members of the cluster, in their order; `None` while a next hop is not known.
    pub members: Vec<Option<Route>>,
    /// Replies a second that one worker may send.
    pub reply_rate: u32,
    /// Replies that one worker may send at once after a rest.
    pub reply_burst: u32,
    /// The longest IP packet that each port can send, by [`PortIndex`].
    pub mtus: Vec<u16>,
    /// Addresses that mean several hosts on the ports' networks. Packets from them get no reply.
    pub shared: Vec<IpAddr>,
    /// What the kernel gets.
    pub punts: Arc<Punts>,
}

impl Node {
    /// The longest IP packet that a port can send.
    pub fn mtu(&self, port: PortIndex) -> u16 {
        self.mtus.get(usize::from(port.0)).copied().unwrap_or(u16::MAX)
    }
}
