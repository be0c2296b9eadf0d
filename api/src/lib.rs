//! The control protocol between the daemons of Guideway and their clients, over unix sockets.
//!
//! Each line is one JSON value, both ways. The daemon sends a [`Greeting`] first. Then the client
//! sends [`Request`]s of at most [`MAX_REQUEST`] bytes, and the daemon sends one [`Response`] to
//! each, in order. Only [`Request::Monitor`] may have several. The crate has only serde types, so
//! that a client links neither the forwarder nor DPDK.
//!
//! The daemon refuses a request with an unknown field, because the client relies on that field. A
//! client skips unknown fields of a response. [`PROTOCOL_VERSION`] says which changes need another
//! version.
//! `tests/wire.rs` has every message as literal JSON, so that no change goes unnoticed.
#![forbid(unsafe_code)]

mod announce;
mod check;
mod event;
mod kernel;
mod listing;
mod request;
mod response;
mod words;

use serde::{Deserialize, Serialize};

pub use announce::*;
pub use check::*;
pub use event::*;
pub use kernel::*;
pub use listing::*;
pub use request::*;
pub use response::*;

/// The protocol's version. A client refuses a daemon with another version.
///
/// The version rises when a field, value or message is removed, renamed or given another meaning,
/// and when a field of a response gets a value that clients refuse, such as another variant of an
/// enum. It stays when a request, an optional field of a request, or a field of a response is
/// added: a daemon that does not know a request or its field refuses the request, and a client has
/// a default for a response's field that an earlier daemon of the same version does not send.
pub const PROTOCOL_VERSION: u32 = 7;

/// Bytes of a configuration's text at the most, in a file or a request.
pub const MAX_CONFIGURATION: usize = 16 << 20;

/// Bytes of a request's line at the most, with its newline. Any configuration fits: JSON escapes a
/// byte of TOML to at most two bytes (`\n`, `\"`), because TOML forbids the control characters that
/// need six. The rest of a request is short.
pub const MAX_REQUEST: usize = 2 * MAX_CONFIGURATION + (4 << 10);

/// Bytes of the reason of [`Request::BackendSet`] at the most.
pub const MAX_REASON: usize = 255;

/// Changes in one [`Request::BackendSet`] at the most.
pub const MAX_CHANGES: usize = 65_535;

/// Seconds after which a setting of a backend ends at the most: a year.
pub const MAX_FOR_SECONDS: u64 = 31_536_000;

/// The greatest weight of a backend.
pub const MAX_WEIGHT: u32 = 1_000_000;

/// Rows of a flow listing at the most, even if the request asks for more.
pub const MAX_FLOWS: usize = 10_000;

/// Rows of a flow listing at the most, if the request gives no limit.
pub const DEFAULT_FLOWS: usize = 100;

/// The daemon's first line on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`Daemon::name`] of the daemon.
    pub server: String,
    /// The daemon's release.
    pub version: String,
    /// The daemon's [`PROTOCOL_VERSION`].
    pub protocol: u32,
}
