//! Packets that need more than a look into the tables: fragments, ICMP, packets that do not fit, and packets
//! that arrive encapsulated.
//!
//! A packet's datagram or flow may belong to another worker, which the packet is then handed to, with a
//! [`Handoff`](super::handoff::Handoff). Where a device spreads flows over the queues, no worker knows which
//! sibling has a flow, and an [`OwnerQuery`](super::handoff::OwnerQuery) goes from worker to worker.

mod dispatch;
mod fragments;
mod icmp_error;
mod owner;
mod replies;
mod reply_limits;
mod state;

pub use state::Exceptions;
