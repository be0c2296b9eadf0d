//! Guideway: a layer-4 load balancer on DPDK. `docs/architecture.md` is the map.
//!
//! `wire` and `balancer` are pure: no DPDK, no clock, no I/O. `dpdk` is the only module with unsafe
//! code. `worker` connects `dpdk` with the balancer. `appliance` builds workers from a
//! configuration.
#![deny(unsafe_code)]
#![warn(clippy::print_stderr)]

#[cfg(feature = "dpdk")]
pub mod appliance;
pub mod balancer;
pub mod control;
#[cfg(feature = "dpdk")]
#[expect(unsafe_code, reason = "the one place where C is called")]
pub mod dpdk;
mod named;
pub mod stats;
pub mod wire;
#[cfg(feature = "dpdk")]
pub mod worker;
