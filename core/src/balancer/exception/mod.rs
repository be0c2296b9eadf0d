//! Exceptions: packets without a service, fragments, ICMP, packets that exceed the MTU, packets
//! that arrive encapsulated, and packets for the kernel. Packets of a service pass here only if they
//! exceed the MTU or their hop limit.
//!
//! A handler takes a packet, and its frame with it. By [`Actions`](super::action::Actions) it sends the frame, or a
//! reply in its place, or hands it to another worker; it puts the frame into the fragment table; or it drops it.
//! Each of these counts the packet's verdict, or says who does.
//!
//! A packet's datagram or flow may belong to another worker. Then the packet goes to that worker
//! with a [`Handoff`](super::handoff::Handoff). Where a device spreads flows over its queues, no
//! worker knows which sibling has a flow, and the packet carries an
//! [`OwnerQuery`](super::handoff::OwnerQuery) from worker to worker.

mod dispatch;
mod fragments;
mod icmp_error;
mod owner;
mod punt;
mod replies;
mod reply_limits;
mod state;
#[cfg(test)]
pub(super) mod tests;

pub use state::Exceptions;
