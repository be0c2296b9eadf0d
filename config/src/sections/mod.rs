//! One file for each section: what it declares, and the rules among its keys.

pub(crate) mod cluster;
pub(crate) mod control;
mod device;
pub(crate) mod dpdk;
mod eal;
pub(crate) mod encapsulation;
pub(crate) mod flow;
pub(crate) mod fragments;
pub(crate) mod hash;
pub(crate) mod icmp;
pub(crate) mod neighbor;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod port;
pub(crate) mod service;
pub(crate) mod tunnel;
