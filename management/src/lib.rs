//! Guideway's management core: what is wanted and observed becomes tables in force, listings show it, and the
//! control socket asks for both. It knows no DPDK: workers and devices are reached by what their owner passes in.
//!
//! Everything that changes tables goes one way: a change to the `manager`, which changes its `state`, has it
//! compiled (`compile`) with next hops (`routing`) and ids (`ids`), and publishes the result (`publish`). Readers
//! take what was published and no lock.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod compile;
pub mod daemon;
pub mod health;
pub mod ids;
pub mod kernel;
pub mod manager;
pub mod metrics;
pub mod on_link;
pub mod progress;
mod publish;
pub mod routing;
#[cfg(test)]
mod sample;
pub mod state;
pub mod store;
mod sync;
