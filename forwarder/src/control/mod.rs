//! The control plane.
#![forbid(unsafe_code)]

pub mod config;
pub mod server;
