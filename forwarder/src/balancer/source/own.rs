//! The appliance's own addresses, which no packet that arrives can come from.

use std::net::IpAddr;

use ipnet::IpNet;

/// What is the appliance's own, besides the virtual addresses.
#[derive(Clone, Debug, Default)]
pub struct OwnAddresses {
    /// The MAC addresses that frames leave with.
    pub macs: Vec<[u8; 6]>,
    /// Addresses of ports and tunnels, and broadcast and network addresses of links.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of tunnel sources.
    pub networks: Vec<IpNet>,
}
