//! The safe layer over DPDK: all of Guideway's unsafe code, and no policy.
//!
//! The types rule out:
//! - a double free, a leak, or a packet used after its owner is gone: an mbuf exists only as a
//!   reference into a [`Burst`], which owns it and frees it in bulk when dropped, or into an
//!   [`OwnedMbuf`];
//! - two threads on one queue: queues and the ends of rings are `Send`, but neither `Sync` nor
//!   `Clone`;
//! - a queue of a port that is not started, or a port set up twice: see [`port::Port`];
//! - memory freed before its users are gone: whatever lives in DPDK's memory holds an [`Eal`]
//!   handle, a port holds the pool that it receives into, and a pool is kept while its mbufs are out.
//!
//! The cost on the packet path is two length checks where headers are put before a packet. Nothing
//! is allocated and nothing is shared. Calls into C are made once a burst; the work on one packet is
//! pointer arithmetic in `mbuf.rs`, the only file that knows where an mbuf keeps its fields.
//!
//! ```compile_fail,E0277
//! # use guideway::dpdk::queue::RxQueue;
//! fn shared<T: Sync>() {}
//! shared::<RxQueue>(); // two threads could poll it
//! ```
//! ```compile_fail,E0277
//! # use guideway::dpdk::queue::TxQueue;
//! fn shared<T: Sync>() {}
//! shared::<TxQueue>();
//! ```
//! ```compile_fail,E0277
//! # use guideway::dpdk::{queue::RxQueue, ring::Receiver, ring::Sender};
//! fn copied<T: Clone>() {}
//! copied::<RxQueue>();
//! ```
//! ```compile_fail,E0505
//! # use guideway::dpdk::Burst;
//! fn kept(mut burst: Burst) -> usize {
//!     let mbuf = burst.get_mut(0).unwrap();
//!     drop(burst); // frees the mbuf
//!     mbuf.bytes().len()
//! }
//! ```
//! ```compile_fail,E0499
//! # use guideway::dpdk::Burst;
//! fn twice(burst: &mut Burst) {
//!     let one = burst.get_mut(0).unwrap();
//!     let other = burst.get_mut(0).unwrap();
//!     one.truncate(other.bytes().len());
//! }
//! ```
//! These uses are sound, and compile:
//! ```
//! # use guideway::dpdk::{Burst, Eal, Mempool, port, queue, ring};
//! fn owned_elsewhere<T: Send>() {}
//! owned_elsewhere::<queue::RxQueue>();
//! owned_elsewhere::<queue::TxQueue>();
//! owned_elsewhere::<ring::Sender>();
//! owned_elsewhere::<ring::Receiver>();
//! owned_elsewhere::<Burst>();
//! fn shared<T: Send + Sync + Clone>() {}
//! shared::<Eal>();
//! shared::<Mempool>();
//! fn control<T: Send + Sync>() {}
//! control::<port::Port<port::Started>>();
//! ```

pub mod bond;
mod burst;
pub mod clock;
mod device;
mod eal;
mod error;
pub mod interrupt;
pub mod lcore;
mod mbuf;
pub mod memory;
mod mempool;
pub mod port;
mod prefetch;
pub mod queue;
pub mod ring;
#[cfg(test)]
pub(crate) mod testing;
mod timestamp;

pub use burst::{BURST, Burst, Drain, OwnedMbuf};
pub use eal::Eal;
pub use error::{Errno, Error, Result};
pub use mbuf::{Mbuf, Metadata};
pub use mempool::Mempool;
pub use prefetch::prefetch;
pub use timestamp::TimestampField;

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;
