//! One probe of one backend.
//!
//! A probe speaks a protocol once, and says how that ended: in a code of HAProxy, in words, and after what time. It
//! never lasts longer than its check's timeout, whatever the peer does: silence, a byte a second, an endless body or
//! garbage. It resolves no name, follows no redirect and keeps no connection. Libraries speak the protocols: hyper
//! HTTP/1, rustls TLS.
//!
//! A probe that could not be sent for a reason of the node's own ends as `SOCKERR`, which says nothing about the
//! backend. An error that the kernel returns at once is the node's own, but for a refusal by a server on the node
//! itself; one that comes later was caused by the path or by the peer. So an `unreachable` route of the node is
//! `SOCKERR`, and a router that answers "unreachable" is `L4CON`.
//!
//! Connections end by a reset, unless bytes were exchanged with success on a connection from a port that the kernel
//! chose: a fixed port must not stay in TIME_WAIT, on either side, and many bare connections must not either. A server
//! may log such resets.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | a probe, and its deadline |
//! | `prepared.rs` | what all probes of a check share |
//! | `error.rs` | why a check cannot be made ready |
//! | `outcome.rs` | what a probe says |
//! | `trace.rs` | how far a probe has come |
//! | `socket.rs` | sockets, and whose fault their errors are |
//! | `exchange.rs` | something is sent and something expected, over TCP or UDP |
//! | `tls.rs` | sessions and certificates |
//! | `http.rs` | requests and responses |
//! | `stream.rs` | connections as hyper reads and writes them |
//! | `echo.rs` | echo requests |
//! | `search.rs` | finds bytes in what comes in pieces |

mod echo;
mod error;
mod exchange;
mod http;
mod outcome;
mod prepared;
mod run;
mod search;
mod socket;
mod stream;
mod tls;
mod trace;

pub use error::Error;
pub use outcome::{Outcome, Steps, Untold};
pub use prepared::Prepared;
pub use run::probe;
pub use socket::Way;
