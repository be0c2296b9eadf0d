//! The classes of punted packets, in the order in which they are served.

use crate::named::named;
use crate::stats::Event;
use crate::stats::verdict::DropReason;

named! {
    /// What a punted packet is for. Whoever empties the queues to the kernel takes the classes in this order.
    pub enum Class {
        /// Sessions of routing protocols: BGP, BFD, OSPF, VRRP.
        Routing = "routing",
        /// ARP and neighbour discovery.
        Neighbor = "neighbor",
        /// Answers of servers to the node's probes through tunnels.
        Probe = "probe",
        /// Any other packet to an address of the node.
        Own = "own",
        /// Protocols between two ends of a link: LLDP, LACP, spanning tree.
        LinkLocal = "link_local",
        /// Any other frame to a group.
        Multicast = "multicast",
    }
}

impl Class {
    /// The reason to drop a packet beyond the limit of its class.
    pub const fn limited(self) -> DropReason {
        match self {
            Class::Routing => DropReason::PuntLimitedRouting,
            Class::Neighbor => DropReason::PuntLimitedNeighbor,
            Class::Probe => DropReason::PuntLimitedProbe,
            Class::Own => DropReason::PuntLimitedOwn,
            Class::LinkLocal => DropReason::PuntLimitedLinkLocal,
            Class::Multicast => DropReason::PuntLimitedMulticast,
        }
    }
}

impl From<Class> for Event {
    fn from(class: Class) -> Event {
        match class {
            Class::Routing => Event::PuntedRouting,
            Class::Neighbor => Event::PuntedNeighbor,
            Class::Probe => Event::PuntedProbe,
            Class::Own => Event::PuntedOwn,
            Class::LinkLocal => Event::PuntedLinkLocal,
            Class::Multicast => Event::PuntedMulticast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_and_drop_reason_have_the_name_of_the_class() {
        for &class in Class::ALL {
            assert_eq!(Event::from(class).name(), format!("punted_{}", class.name()));
            assert_eq!(class.limited().name(), format!("punt_limited_{}", class.name()));
        }
    }
}
