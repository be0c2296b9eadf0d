//! Checks of backends: probes, and what their results say of the backends' states.
//!
//! | module | what |
//! |---|---|
//! | `probe` | one probe of one backend |
//! | `target.rs` | what is probed: one target for all pools that share its probes |

pub mod probe;
mod target;

pub use target::{Member, Path, Plan, PoolPlan, Target, TargetKey, To};
