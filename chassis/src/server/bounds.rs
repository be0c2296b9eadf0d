//! The bounds of a server: they limit the memory and the threads that clients can claim.

use std::time::Duration;

/// Connections at once.
pub const CONNECTIONS: usize = 64;

/// Connections that may follow the events at once.
pub const FOLLOWERS: usize = 32;

/// Bytes of a request line that any connection may hold.
pub const LONG_REQUEST_BYTES: usize = 1 << 20;

/// Connections that may hold a longer request line at once.
pub const MAX_LONG_REQUESTS: u32 = 2;

/// How long a client may take to send the rest of a line, and to take a reply.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The bounds of one server. Only tests use other values than the constants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) client_timeout: Duration,
    /// Bytes of a request line, its newline included.
    pub(super) request_bytes: usize,
    /// Bytes of a request line that needs no permit.
    pub(super) short_request_bytes: usize,
}
