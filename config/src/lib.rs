//! The configuration: TOML text in, a validated [`Configuration`] or every mistake out.
//!
//! The text becomes a tree with positions, each section reads its part of the tree into a draft, and
//! the checks compare the drafts. A mistake never ends the reading: each field is read on its own,
//! and a check is skipped only if a field that it needs is wrong. An operator therefore sees every
//! mistake in one run, and nothing that merely follows from another mistake. Serde stops at the
//! first error, so it is not used here.
//!
//! | file | what |
//! |---|---|
//! | `source.rs` | the file, read within bounds |
//! | `read.rs` | the order: TOML, sections, checks |
//! | `model.rs` | what the program sees |
//! | `findings.rs` | mistakes and warnings, and how they are collected |
//! | `section.rs` | tables, required and optional keys, unknown keys |
//! | `value.rs` | what a single value may be |
//! | `syntax.rs` | mistakes of TOML itself |
//! | `eal.rs` | what may be passed through to DPDK |
//! | `node.rs`, `hash.rs`, `dpdk.rs`, ... | one section each |
//! | `encapsulation.rs` | the settings of encapsulations of pools and backends |
//! | `check/` | mistakes and warnings that follow from several sections |
//! | `reload.rs` | what only a restart can change |

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod check;
mod cluster;
mod control;
mod device;
mod dpdk;
mod eal;
mod encapsulation;
mod findings;
mod flow;
mod fragments;
mod hash;
mod icmp;
mod model;
mod neighbor;
mod node;
mod pool;
mod port;
mod read;
mod reload;
pub mod routing;
mod section;
mod service;
mod source;
mod syntax;
#[cfg(test)]
mod tests;
mod tunnel;
mod value;

pub use findings::{MAX_LISTED, Mistake, Mistakes};
pub use model::*;
pub use read::{Parsed, parse};
pub use source::{ReadError, Source};
