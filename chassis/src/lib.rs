//! What every daemon of Guideway stands on: the control socket, events, the log, the HTTP server, a directory for what
//! has to outlive a restart. It knows neither packets nor what a daemon does.
//!
//! | module | what |
//! |---|---|
//! | `server` | the control socket: one request a line, one thread a connection |
//! | `peer` | who sends requests |
//! | `event` | what happens: recorded, logged, followed by clients |
//! | `log` | text, JSON or journal entries, which never block a daemon |
//! | `http` | metrics and health for those who only read |
//! | `metrics` | what the metrics of every daemon have in common |
//! | `notify` | what the service manager is told |
//! | `store` | what has to outlive a restart, in a file that is replaced as a whole |
//! | `wall` | the time of the wall clock |
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

pub mod event;
pub mod http;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod peer;
pub mod server;
pub mod store;
pub mod wall;
