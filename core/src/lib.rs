//! Guideway's core: wire formats, the balancer and statistics.
//!
//! The core is pure: no DPDK, no clock, no I/O, no threads; time is an argument. So it builds and runs on
//! a machine without libdpdk, under property tests, fuzzers, callgrind and Miri.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

// Tests that the fuzz targets share name the crate as others do.
#[cfg(test)]
extern crate self as guideway_core;

pub mod balancer;
mod named;
pub mod stats;
pub mod wire;
