//! The configuration: TOML text in, a validated [`Configuration`] or every mistake out.
//!
//! The text becomes a tree that knows its lines, sections read that tree into drafts, and
//! cross-checks look at the drafts together. A mistake never ends the reading: each field is read
//! on its own, and a check is left out only where a field that it needs is wrong itself, so that an
//! operator sees in one run all there is to mend and nothing that merely follows from it.
//! Serde is not used here because it stops at the first error.
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
//! | `encapsulation.rs` | the settings of encapsulations, which pools and backends have |
//! | `check/` | what no section can see by itself |
//! | `reload.rs` | what only a restart can change |

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
