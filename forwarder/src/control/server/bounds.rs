//! The bounds of a server, which keep what clients can claim small.

use std::time::Duration;

/// Connections at once.
pub const CONNECTIONS: usize = 64;

/// Bytes of a request line that any connection may hold.
pub const LONG_REQUEST_BYTES: usize = 1 << 20;

/// Connections that may hold a longer one at once.
pub const MAX_LONG_REQUESTS: u32 = 2;

/// How long a client may take for the rest of a line that it began, and to take an answer.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The bounds of one server; they vary in tests alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) client_timeout: Duration,
    /// Bytes of a request line, its newline included.
    pub(super) request_bytes: usize,
    /// Bytes of a request line that needs no permit.
    pub(super) short_request_bytes: usize,
}
