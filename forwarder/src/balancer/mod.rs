//! The balancing core: pure functions over bytes and tables, with time as an argument.
//!
//! It knows no DPDK, no clock and no I/O, so that it runs under property tests, fuzzers, callgrind
//! and Miri. A packet's walk: [`Balancer::classify`], [`Balancer::decide`], [`Balancer::encapsulate`];
//! what ends it is a [`Verdict`].
#![forbid(unsafe_code)]

pub mod answer;
pub mod cluster;
pub mod conntrack;
pub mod decapsulation;
mod decide;
pub mod encapsulation;
mod express;
pub mod flow;
pub mod fragment;
pub mod frame;
pub mod hash;
pub mod icmp;
pub mod maglev;
pub mod mtu;
pub mod origin;
#[cfg(test)]
mod sample;
pub mod scan;
pub mod services;
pub mod tables;
#[cfg(test)]
mod tests;
mod time;
pub mod verdict;

pub use decide::{Balancer, Classified, Decision, FlowEvent};
pub use express::{Stage, Staged};
pub use frame::Frame;
pub use tables::Tables;
pub use time::Time;
pub use verdict::{Answer, Drop, Verdict};
