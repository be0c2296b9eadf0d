//! The manager: the one thread that decides which addresses are announced.
//!
//! Everything that may change a decision is an [`Event`] in one channel: what the forwarder says, what the kernel has,
//! what BIRD says, what operators order. The thread takes all events that wait, decides once, and tells the threads of
//! the routes and of BIRD what is wanted. Readers take a [`View`] and no lock.
//!
//! | file | what |
//! |---|---|
//! | `event.rs`, `order.rs` | what the manager is told |
//! | `state.rs` | what is known, and what each event changes of it |
//! | `settle.rs` | from what is known to what is wanted, and what has happened |
//! | `sessions.rs` | what has happened to BGP sessions |
//! | `view.rs` | what readers see |
//! | `thread.rs` | the thread |

mod event;
mod order;
mod sessions;
mod settle;
mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod thread;
mod view;

pub use event::{Event, Ordered, Settings};
pub use order::Order;
pub use thread::{Handle, start};
pub use view::View;
