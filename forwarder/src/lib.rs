//! Guideway: a layer-4 load balancer on DPDK. `docs/architecture.md` is the map.
//!
//! `dpdk` is the only module with unsafe code. `kernel` is the slow path. `announce` keeps the interface
//! of the virtual addresses, `probing` that of probes. `worker`
//! connects `dpdk` with the balancer of `guideway-core`. `appliance` builds workers from a configuration.
#![deny(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod announce;
pub mod appliance;
#[expect(unsafe_code, reason = "the one place where C is called")]
pub mod dpdk;
pub mod kernel;
pub mod probing;
pub mod worker;
