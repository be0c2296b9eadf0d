//! Checks of backends: probes, and what their results say of the backends' states.
//!
//! ```text
//! configuration ─► plan ─► schedule ─► probe ─► state ─► settings ─► forwarder
//! ```
//!
//! | module | what |
//! |---|---|
//! | `target.rs` | what is probed: one target for all pools that share its probes |
//! | `plan.rs` | pure: from a configuration to its targets |
//! | `schedule.rs` | pure: when which target is due |
//! | `ports.rs` | pure: from which source ports, and the pins that follow |
//! | `probe/` | one probe |
//! | `state/` | pure: from results to states |
//! | `held.rs` | pure: failures that may be the forwarder's, and wait |
//! | `settings.rs` | the thread that sets states and pins in the forwarder |
//! | `checker.rs` | the thread that has all of this done |
//! | `icmp/` | what routers say of packets through tunnels |
//! | `path.rs` | what on the node keeps answers from probes |
//! | `command.rs`, `handle.rs` | what others tell and ask that thread |
//! | `happened.rs`, `snapshot.rs` | what it tells others |

mod checker;
mod command;
mod handle;
mod happened;
mod held;
pub mod icmp;
mod path;
mod plan;
mod ports;
pub mod probe;
mod schedule;
mod settings;
mod snapshot;
mod state;
mod target;
#[cfg(test)]
mod testing;

pub use command::{Report, Which};
pub use handle::{Asker, Handle, start};
pub use path::strict_filters;
pub use snapshot::{BUCKETS, Histogram, Snapshot};
pub use state::{Change, Earlier, FreezeCause, Pace, ProbeResult, States, Wanted};
pub use target::{Member, Path, Plan, PoolPlan, Target, TargetKey, To};
