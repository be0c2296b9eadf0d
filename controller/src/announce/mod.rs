//! Which virtual addresses are announced, and how. Everything here is pure: time is an argument.
//!
//! | file | what |
//! |---|---|
//! | `order.rs` | what operators have ordered |
//! | `site.rs` | what the configuration says |
//! | `quorum.rs` | whether enough services of an address serve |
//! | `decide.rs` | the decision for each address |
//! | `stored.rs` | the file of the orders |
//! | `class.rs` | numbers for the ways in which peers learn of an address |

mod class;
mod decide;
mod order;
mod quorum;
mod site;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use guideway_api::{VipCause, VipState};

pub use class::Classes;
pub use decide::{Decisions, Memory, Now, View, decide};
pub use order::{Change, Mark, Marks, Orders, VipOrders};
pub use quorum::Quorum;
pub use site::{Site, VipSite};

/// What is to become of one virtual address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The address.
    pub address: IpAddr,
    /// How peers learn of it, but for those in `peers`. The greatest of all peers if those are all.
    pub state: VipState,
    /// Why.
    pub cause: VipCause,
    /// Why, in the words of who ordered it.
    pub reason: Option<String>,
    /// Peers for which it is another way, or that get a next hop of its own.
    pub peers: Handlings,
}

/// How peers, by name, learn of an address, if not as its state says.
pub type Handlings = BTreeMap<String, Handling>;

/// How one peer learns of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handling {
    /// How it learns of the address.
    pub state: VipState,
    /// The next hop that it is told; none for that of the session.
    pub next_hop: Option<IpAddr>,
}

/// Metric of the route of an address that is announced. The class is added.
pub const ANNOUNCED: u32 = 1000;

/// Metric of the route of an address that drains. The class is added.
pub const DRAINING: u32 = 2000;

/// Classes of addresses at the most, class 0 included.
pub const CLASSES: u16 = 1000;

/// A class: addresses that all peers learn of in the same way. Class 0 has no handlings. The metric of a route tells BIRD
/// its class, so that a new order for an address changes BIRD's configuration only if no address had such an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u16);

/// The metric of a route; none if the address is withdrawn from all peers.
pub fn metric(state: VipState, class: Class) -> Option<u32> {
    let base = match state {
        VipState::Withdrawn => return None,
        VipState::Draining => DRAINING,
        VipState::Announced => ANNOUNCED,
    };
    Some(base + u32::from(class.0))
}
