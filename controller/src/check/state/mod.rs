//! From the results of probes to the states of backends. Everything here is pure: results and time are arguments, and
//! what is wanted and what happened come out.
//!
//! - A backend is down if any of its targets says so: its pool's checks, and those of each service that can choose it.
//!   Otherwise it drains if any says so. Otherwise nothing is set, so that what the file and operators say holds.
//! - A pool that loses too many backends at once keeps them.
//! - While states are frozen, results are listed and nothing more.
//!
//! Nothing changes by time alone: a panic ends by results, and the window of its begin is looked at when a backend
//! fails. A result costs a search among the targets and, if it changes a state, the backends that share the target.
//!
//! | file | what |
//! |---|---|
//! | `change.rs` | what goes in and what comes out |
//! | `standing.rs` | what results make of one target |
//! | `panic.rs` | when a pool keeps its backends |
//! | `entries.rs` | targets, backends and pools of a configuration |
//! | `reload.rs` | what another configuration leaves of them |
//! | `states.rs` | all together |
//! | `rows.rs` | listings |

mod change;
mod entries;
mod panic;
mod reload;
mod rows;
mod standing;
mod states;
#[cfg(test)]
mod tests;

pub use change::{Change, FreezeCause, Pace, ProbeResult, Wanted};
pub use reload::Earlier;
pub use states::States;
