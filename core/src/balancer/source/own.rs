//! The appliance's own addresses. A packet that arrives cannot come from one of them.

use std::net::IpAddr;

use ipnet::IpNet;

/// The appliance's own addresses, without the virtual ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnAddresses {
    /// MAC addresses that frames leave with.
    pub macs: Vec<[u8; 6]>,
    /// Addresses of ports and tunnels, and broadcast and network addresses of links.
    pub addresses: Vec<IpAddr>,
    /// Prefixes of tunnel sources.
    pub networks: Vec<IpNet>,
}
