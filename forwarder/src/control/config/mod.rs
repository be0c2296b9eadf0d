//! The configuration: TOML text in, a validated [`Configuration`] or every mistake out.

mod model;

pub use model::*;
