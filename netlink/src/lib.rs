//! The kernel's tables by netlink (RFC 3549, `man 7 rtnetlink`).
//!
//! | file | what |
//! |---|---|
//! | `socket.rs` | a socket: datagrams, messages, errors |
//! | `requests.rs` | requests with answers, and whole tables |
//! | `watch.rs` | what the kernel tells unasked |
//! | `device.rs` | what is set on a device |
//!
//! A socket belongs to the network namespace of the thread that opened it.
#![forbid(unsafe_code)]

mod device;
mod requests;
mod socket;
mod watch;

use std::io;

use thiserror::Error;

pub use device::{Device, family};
pub use requests::Requests;
pub use socket::RouteTold;
pub use watch::{Told, Watch};

/// What went wrong.
#[derive(Debug, Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
    /// The kernel refused a request.
    #[error(transparent)]
    Refused(Refused),
    /// The kernel dropped messages, because they were not read soon enough.
    #[error("the kernel dropped messages, because the receive buffer was full")]
    Overrun,
    /// The kernel did not answer in time.
    #[error("the kernel does not answer")]
    Silent,
    /// A table changed during each of several readings.
    #[error("the table changes all the time")]
    Restless,
}

impl Error {
    fn on(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |error| Error::System { what, error }
    }
}

/// Why the kernel refused a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}", io::Error::from_raw_os_error(*errno), words.as_ref().map(|words| format!(": {words}")).unwrap_or_default())]
pub struct Refused {
    /// The error number.
    pub errno: i32,
    /// The kernel's own words.
    pub words: Option<String>,
}

impl Refused {
    /// The kernel answered something that is no answer.
    fn unintelligible() -> Refused {
        let errno = rustix::io::Errno::BADMSG.raw_os_error();
        Refused { errno, words: Some("the answer cannot be understood".to_owned()) }
    }
}
