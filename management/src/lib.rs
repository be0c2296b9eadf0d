//! Guideway's management core: what is wanted and observed becomes tables in force, listings show it, and the
//! control socket asks for both. It knows no DPDK: workers and devices are reached by what their owner passes in.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod compile;
pub mod daemon;
pub mod ids;
pub mod progress;
pub mod publication;
mod publish;
pub mod routing;
#[cfg(test)]
mod sample;
pub mod server;
pub mod state;
mod sync;
