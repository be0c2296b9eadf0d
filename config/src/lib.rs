//! The configuration: TOML text in, a validated [`Configuration`] or every mistake out.
//!
//! Each section declares its keys once, by the macro of `declare.rs`. Reading, the differences that need
//! a restart, the reference, the JSON Schema and `explain` follow from the declarations.
//!
//! The text becomes a tree with positions, each section reads its part of the tree into a draft, and
//! the checks compare the drafts. A mistake never ends the reading: each field is read on its own,
//! and a check is skipped only if a field that it needs is wrong. An operator therefore sees every
//! mistake in one run, and nothing that merely follows from another mistake. Serde stops at the
//! first error, so it is not used here.
//!
//! | file | what |
//! |---|---|
//! | `declare.rs` | how a section and its keys are declared |
//! | `sections/` | one section each: its declaration, and the rules among its keys |
//! | `kind.rs`, `text.rs` | what a single value may be, and how it is read |
//! | `shape.rs` | what a single value may be, as data |
//! | `source.rs` | the file and those of `conf.d`, read within bounds |
//! | `files.rs` | several files as one text and one tree |
//! | `tree.rs` | the tree: values with their positions |
//! | `plain.rs` | a fast reader of most texts |
//! | `read.rs` | the order: TOML, sections, checks |
//! | `model.rs` | what the program sees |
//! | `probing.rs` | where probes of checks go, and how long they may be |
//! | `findings.rs` | mistakes and warnings, and how they are collected |
//! | `drawing.rs` | a mistake as a terminal shows it |
//! | `section.rs` | tables, required and optional keys, unknown keys |
//! | `syntax.rs` | all other texts, and mistakes of TOML itself |
//! | `check/` | mistakes and warnings that follow from several sections |
//! | `reload.rs` | what only a restart can change |
//! | `reference.rs`, `schema.rs`, `explain.rs` | what the declarations say, for people and editors |

#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod check;
mod declare;
mod drawing;
mod explain;
mod files;
mod findings;
mod kind;
mod model;
mod plain;
mod probing;
mod read;
mod reference;
mod reload;
mod schema;
mod section;
mod sections;
mod shape;
mod source;
pub mod static_routes;
mod syntax;
#[cfg(test)]
mod tests;
mod text;
mod tree;

pub use declare::{Declaration, Key, Presence};
pub use drawing::draw;
pub use explain::{Found, find, paths, plain};
pub use findings::{MAX_LISTED, Mistake, Mistakes};
pub use model::*;
pub use probing::FirstServices;
pub use read::{Parsed, declarations, parse};
pub use reference::{dictionary, reference};
pub use schema::schema;
pub use sections::*;
pub use shape::{Form, Shape};
pub use source::{MAX_CONFIGURATION, ReadError, Source, Stamp};
pub use text::Mac;

pub use guideway_core::balancer::Protocol;
pub use guideway_core::balancer::choice::Choice;
pub use guideway_core::balancer::encapsulation::{Encapsulation, GreKey, Parameters, UdpChecksum};
pub use guideway_core::balancer::fragment::Policy as FragmentPolicy;
