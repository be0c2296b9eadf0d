//! Virtual addresses on a link: `service.answer_on_link`.
//!
//! Where a virtual address lies in a network of a port, hosts there ask for its MAC address. For such an address
//! the kernel replies to ARP and neighbour discovery, because Guideway puts it on the port's interface, or on a VLAN
//! device there, and announces it.
//!
//! A proxy entry in the kernel's neighbour tables would not do: Linux replies for one only if the interface forwards,
//! and for IPv4 only if the address is routed over another device. The address itself needs neither. It is entered
//! with full length and without a route, for IPv4 with scope `host` and for IPv6 as deprecated, so that the kernel
//! does not choose it as the source of the node's own packets. The packet path takes the address's packets before
//! any is punted, so the kernel gets none but ARP and neighbour discovery.
//!
//! | file | what |
//! |---|---|
//! | `steps.rs` | which addresses belong where, and what is to do for it; a pure part |
//! | `frame.rs` | the frames that announce an address |
//! | `thread.rs` | the thread that does it |

mod frame;
mod steps;
mod thread;

pub use thread::{Handle, Send, start};
