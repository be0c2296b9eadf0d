//! The health of the node: a thread looks at it, records what fails, and answers `/healthz` and `/readyz`.
//!
//! The thread looks [`PERIOD`] after [`PERIOD`]. It asks for what others have counted and no more, so that the packet
//! path has no part in it:
//! - **Heartbeats** (`heartbeat`): a worker counts its rounds. One whose count stands still for [`STALLED`] has stalled.
//! - **The configuration in force** (`force`): a worker notes the generation that it forwards by. Tables that some
//!   worker has not loaded within [`LATE`] are late.
//! - **Packet buffers** (`buffers`): a pool is low below 5 percent of free buffers, and until 10 percent are free again.
//! - **Floods** (`flood`): many packets a second meet a limit or a full queue.
//! - **Ports**: whether each is up.
//!
//! Each is a plain value that is told what the counters say and how much time has passed. `round` joins them.
//!
//! A process that was stopped, as by `SIGSTOP` or with its virtual machine, finds that much time has passed and that no
//! worker had a chance to work. So no round counts more than [`MOST`].

mod buffers;
mod flood;
mod force;
mod heartbeat;
mod page;
mod round;
#[cfg(test)]
mod tests;
mod thread;

use std::time::Duration;

pub use page::{Health, Stage};
pub use round::Findings;
pub use thread::{Handle, start};

/// From one look to the next.
pub const PERIOD: Duration = Duration::from_millis(100);
/// The most time that one look counts.
pub const MOST: Duration = Duration::from_millis(200);
/// A worker has stalled after this time without a round.
pub const STALLED: Duration = Duration::from_secs(1);
/// Tables are late after this time.
pub const LATE: Duration = Duration::from_secs(5);
/// From one look at ports, buffers and floods to the next.
const SECOND: Duration = Duration::from_secs(1);
