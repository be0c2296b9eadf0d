//! The control protocol: what crosses the unix socket between `guideway` and its clients.
//!
//! One JSON value a line, both ways. The daemon speaks first, with a [`Greeting`]; then each line of
//! the client is a [`Request`] of at most [`MAX_REQUEST`] bytes and each answer one [`Response`], in
//! order. This crate holds serde types only, so that a client never links the forwarder or DPDK.
//!
//! A request with a field that the daemon does not know is refused, because the client meant
//! something by it; an answer may carry fields that the client does not know. `tests/wire.rs` holds
//! every message as literal JSON: a change that breaks it is a change of [`PROTOCOL_VERSION`].
#![forbid(unsafe_code)]

mod listing;
mod request;
mod response;

use serde::{Deserialize, Serialize};

pub use listing::*;
pub use request::*;
pub use response::*;

/// Rises when a message changes its meaning; a client refuses a daemon that speaks another.
pub const PROTOCOL_VERSION: u32 = 1;

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/guideway/guideway.sock";

/// What [`Greeting::server`] says.
pub const SERVER: &str = "guideway";

/// Bytes of a configuration's text, in a file as in a request.
pub const MAX_CONFIGURATION: usize = 16 << 20;

/// Bytes of one request line, its newline included. Any configuration fits: JSON writes a byte of TOML
/// in at most two (`\n`, `\"`), because TOML forbids the control characters that take six, and the rest
/// of a request is short.
pub const MAX_REQUEST: usize = 2 * MAX_CONFIGURATION + (4 << 10);

/// Rows of one flow listing at the most, whatever the request asks.
pub const MAX_FLOWS: usize = 10_000;

/// Rows of one flow listing when the request does not say.
pub const DEFAULT_FLOWS: usize = 100;

/// The daemon's first line on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Always [`SERVER`].
    pub server: String,
    /// The daemon's release.
    pub version: String,
    /// The daemon's [`PROTOCOL_VERSION`].
    pub protocol: u32,
}
