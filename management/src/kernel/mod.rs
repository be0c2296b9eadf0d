//! The kernel's links, addresses, routes and neighbours, as inputs of the state.
//!
//! | file | what |
//! |---|---|
//! | `message.rs` | from messages to own types |
//! | `mirror.rs` | links, addresses and neighbours, kept up to date |
//! | `destinations.rs` | about whom the kernel is asked, and when again |
//! | `resolver.rs` | the questions: which way a destination has |
//! | `managed.rs` | neighbours that the kernel keeps resolved |
//! | `limit.rs` | how many events of neighbours are recorded |
//! | `thread.rs` | the thread `routes`, which does all of it |
//! | `view.rs` | what listings show |

mod destinations;
mod limit;
mod managed;
mod message;
mod mirror;
mod resolver;
mod thread;
mod view;

pub use mirror::PortInterface;
pub use thread::{Handle, Options, start};
pub(crate) use view::format_mac;
pub use view::{Health, Interface, Neighbor, NeighborState, RouteView, View};
