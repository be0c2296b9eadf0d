//! Punts: packets that the node gives to its kernel, because they are for the node itself or for a protocol of the
//! link.
//!
//! Only packets that no service and no tunnel takes are asked about, so the fast path pays nothing. A packet is of one
//! [`Class`], and each class has a limit of its own per worker: a flood of one class leaves the others alone.
//!
//! `exception/punt.rs` asks, and carries out the result.

mod class;
mod classify;
mod limits;
mod punts;

pub use class::Class;
pub(super) use classify::class_of_other;
pub(super) use limits::PuntLimits;
pub use punts::{Limit, Punts};
