//! What an operator orders.

use std::net::IpAddr;

use guideway_api::{NodeOrder, VipOrder};

/// What an operator orders.
#[derive(Clone, Debug)]
pub enum Order {
    /// For addresses.
    Vips {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// What to do with them.
        order: VipOrder,
        /// The peers that it is for; all of them without any.
        peers: Vec<String>,
        /// The next hops that those are told.
        next_hops: Vec<IpAddr>,
        /// Why.
        reason: Option<String>,
    },
    /// For all addresses of the node.
    Node {
        /// What to do.
        order: NodeOrder,
        /// The peers that it is for; all of them without any.
        peers: Vec<String>,
        /// Why.
        reason: Option<String>,
    },
}
