//! What clients may use up.

use std::time::Duration;

/// Connections at once.
pub const CONNECTIONS: usize = 64;
/// Connections at once that hold a page of metrics.
pub const SCRAPES: usize = 12;
/// Bytes of a request's header.
pub const HEADER_BYTES: usize = 16 << 10;
/// Lines of a request's header.
pub const HEADERS: usize = 64;
/// From the first byte of a request, or from a new connection, to the end of the request's header.
pub const HEADER_TIME: Duration = Duration::from_secs(5);
/// From an answer to the next request.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// From a request to the end of its answer.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);
/// From one byte of an answer that the client takes to the next.
pub const PROGRESS_TIME: Duration = Duration::from_secs(10);
/// How long a client may take no byte of its answer before another connection may evict it.
pub const STALL_TIME: Duration = Duration::from_secs(1);
/// How long a page of metrics is held before another connection may evict it.
pub const SCRAPE_TIME: Duration = Duration::from_secs(5);

/// What clients may use up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) scrapes: usize,
    pub(super) header: Duration,
    pub(super) idle: Duration,
    pub(super) answer: Duration,
    pub(super) progress: Duration,
    pub(super) stall: Duration,
    pub(super) scrape: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: CONNECTIONS,
            scrapes: SCRAPES,
            header: HEADER_TIME,
            idle: IDLE_TIME,
            answer: ANSWER_TIME,
            progress: PROGRESS_TIME,
            stall: STALL_TIME,
            scrape: SCRAPE_TIME,
        }
    }
}
