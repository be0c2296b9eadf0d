//! The way of probes through tunnels: the interface by which the node's packets get to a worker.
//!
//! The interface is a TUN device, `gwcheck` by default. The controller routes what comes from an address of
//! `node.check_source` there, whatever its destination. The thread `kernel` reads it, and a worker encapsulates each packet for
//! the backend of its pin, as it does with traffic (`pinned.rs` of the core's balancer). The answer comes over a port and reaches the
//! node as any other packet does.
//!
//! The interface exists while `node.check_source` has an address. It has those of them that no port has: an address in the
//! network of a port must be the port's, for else nobody answers ARP for it. Packets on it are never longer than a worker can
//! send in the longest headers that the configuration asks for.
//!
//! | file | content |
//! |---|---|
//! | `plan` | what the interface has to be, by the configuration |
//! | `device` | makes the TUN device and changes it |
//! | `keeper` | keeps it as the configuration says, and mends what others did to it |
//!
//! The keeper belongs to the thread that watches the links. A replay has no interface.

mod device;
mod keeper;
mod plan;

pub use device::Error;
pub(crate) use keeper::Keeper;
