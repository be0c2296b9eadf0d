//! The balancing core: pure functions over bytes and tables, with time as an argument.
//!
//! A packet passes [`Balancer::classify`], [`Balancer::decide`] and [`Balancer::encapsulate`] (`classify.rs`,
//! `full_path.rs`), or the three steps of `fast_path.rs` that do the same for nearly all packets. It ends in a
//! [`Verdict`].
//!
//! The core knows no DPDK, no clock and no I/O. So it runs under property tests, fuzzers, callgrind and Miri.
//! Its files use one another in one direction only: ids and records at the bottom, then the flow table and
//! [`Tables`], then the two paths.
#![forbid(unsafe_code)]

pub mod action;
mod address;
mod adjacency;
pub mod backend;
mod batch;
pub mod burst;
pub mod choice;
mod chooser;
pub mod classify;
pub mod cluster;
pub mod conntrack;
pub mod decapsulation;
pub mod encapsulation;
pub mod exception;
mod fast_path;
pub mod flow;
mod forward;
pub mod fragment;
pub mod frame;
mod full_path;
pub mod handoff;
pub mod hash;
pub mod icmp;
pub mod id;
mod index;
mod local;
pub mod maglev;
pub mod mtu;
pub mod node;
pub mod passed;
pub mod pin;
mod pinned;
pub mod pipeline;
pub mod port;
mod prefetch;
mod protocol;
pub mod punt;
pub mod reply;
#[cfg(test)]
mod sample;
pub mod scan;
pub mod services;
pub mod source;
pub mod tables;
#[cfg(test)]
mod tests;
mod time;
mod unsteady;
mod worker_state;

pub use classify::Classified;
pub use fast_path::{PacketMeta, PlainParse};
pub use frame::Frame;
pub use full_path::{Decision, FlowEvent};
pub use protocol::Protocol;
pub use tables::Tables;
pub use time::Time;
pub use worker_state::Balancer;

pub use crate::stats::verdict::{self, DropReason, Reply, Verdict};
