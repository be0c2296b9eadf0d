//! What follows from settings and time: the state of each backend and its share, and which pools stand in for others.
//!
//! [`Standing::settle`] is a pure function of the standing before, what is wanted, and the time. It also says when the
//! standing will be another one although nothing is set. It looks only at pools whose settings are others than before,
//! or whose time has come; all others are the same objects as before.
//!
//! | file | what |
//! |---|---|
//! | `settle.rs` | the standing of everything |
//! | `backend.rs` | a backend: since when its state is, its share, and the flows that leave it |
//! | `slow_start.rs` | the share of a backend that returns |
//! | `pool.rs` | the level of a pool that serves |
//! | `plan.rs` | what follows from the configuration alone |

mod backend;
mod plan;
mod pool;
mod settle;
mod slow_start;

pub use backend::BackendStanding;
pub use plan::Plan;
pub use pool::{PoolServing, PoolStanding};
pub use settle::Standing;
pub use slow_start::WHOLE;
