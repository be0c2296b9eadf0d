//! Guideway's management core: the publication of a configuration to the workers, listings, and the control
//! socket. It knows no DPDK: workers and devices are reached by what their owner passes in.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod daemon;
mod id_allocator;
pub mod publication;
pub mod server;
