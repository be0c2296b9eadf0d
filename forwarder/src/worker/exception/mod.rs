//! Exceptions: packets without a service, fragments, ICMP, packets that exceed the MTU, and packets
//! that arrive encapsulated. Packets of a service pass here only if they exceed the MTU or their
//! hop limit.
//!
//! A packet's datagram or flow may belong to another worker. Then the packet goes to that worker
//! with a [`Handoff`](super::handoff::Handoff). Where a device spreads flows over its queues, no
//! worker knows which sibling has a flow, and the packet carries an
//! [`OwnerQuery`](super::handoff::OwnerQuery) from worker to worker.

mod dispatch;
mod fragments;
mod icmp_error;
mod owner;
mod replies;
mod reply_limits;
mod state;

pub use state::Exceptions;
