//! The errors of a command, and the exit code of each.

use std::io;
use std::path::PathBuf;

use guideway_api::{ErrorKind, MAX_CONFIGURATION, MAX_REQUEST, PROTOCOL_VERSION};
use guideway_output::report;

use crate::terminal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request did not reach the daemon, so it was not carried out.
    #[error("cannot reach the daemon at {socket}: {reason}")]
    Unreachable { socket: PathBuf, reason: String },
    /// The server at the socket is not guideway.
    #[error("the server at {socket} is not a guideway daemon; is --socket right?")]
    NotGuideway { socket: PathBuf },
    /// The daemon has another protocol version.
    #[error(
        "the daemon (release {release}) speaks protocol {protocol}, this guidewayctl (release {}) \
         {PROTOCOL_VERSION}; use the guidewayctl of the daemon's release, or restart the daemon if it \
         has been upgraded since its start",
        env!("CARGO_PKG_VERSION")
    )]
    Protocol { release: String, protocol: u32 },
    /// The request was sent, and no response came.
    #[error("no response from the daemon: {reason}; the request may have been carried out")]
    NoResponse { reason: String },
    /// The connection ended on which events came.
    #[error("the daemon at {socket} has gone, and no more events come: {reason}")]
    Gone { socket: PathBuf, reason: String },
    /// A shortened name fits several commands.
    #[error("{typed} is short for several commands: {}", .candidates.join(", "))]
    Ambiguous { typed: String, candidates: Vec<String> },
    /// A command that changes something has a shortened name.
    #[error("this changes something, so write it out: guidewayctl {command}")]
    Shortened { command: String },
    /// The words of the command line do not fit together.
    #[error("{message}; see --help")]
    Usage { message: String },
    /// The response is not of this protocol, or not to this request.
    #[error("the daemon's response is invalid: {reason}")]
    Response { reason: String },
    /// The daemon refused the request.
    #[error("{}", .0.message)]
    Refused(guideway_api::Error),
    /// No backend is in the pool of the command line.
    #[error("no backend is in a pool named {pool}")]
    NoPool { pool: String },
    /// No backend is what the command line names.
    #[error("no backend {what}")]
    NoBackend { what: String },
    /// No port has the name of the command line.
    #[error("no port is named {port}")]
    NoPort { port: String },
    /// No key of the configuration has the name of the command line.
    #[error("no key is named {key}; the nearest is {nearest}")]
    NoKey { key: String, nearest: String },
    /// The daemon would refuse so long a configuration.
    #[error("{path} is too long: a configuration has at most {MAX_CONFIGURATION} bytes")]
    TooLong { path: PathBuf },
    /// The request is too long. Only control characters, each six bytes in JSON, can cause this.
    #[error(
        "the request has more than {MAX_REQUEST} bytes; are there control characters in the file? \
         TOML forbids them"
    )]
    RequestTooLong,
    /// A file of the command line cannot be read.
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// A file of the command line is not UTF-8.
    #[error("{path}: line {line} is not UTF-8")]
    NotText { path: PathBuf, line: usize },
    /// The result cannot be written to stdout.
    #[error("cannot write the result: {0}")]
    Output(io::Error),
}

impl Error {
    /// The exit code: 1 failed, 2 usage, 3 unreachable, 4 not found, 5 rejected or forbidden. Clap itself exits
    /// with 2, too.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Ambiguous { .. } | Error::Shortened { .. } | Error::Usage { .. } => 2,
            Error::Unreachable { .. } | Error::Gone { .. } => 3,
            Error::NoPool { .. }
            | Error::NoBackend { .. }
            | Error::NoPort { .. }
            | Error::NoKey { .. } => 4,
            Error::Refused(error) => match error.kind {
                ErrorKind::NotFound => 4,
                ErrorKind::Rejected | ErrorKind::Forbidden => 5,
                ErrorKind::BadRequest | ErrorKind::Failed => 1,
            },
            Error::NotGuideway { .. }
            | Error::Protocol { .. }
            | Error::NoResponse { .. }
            | Error::Response { .. }
            | Error::TooLong { .. }
            | Error::RequestTooLong
            | Error::File { .. }
            | Error::NotText { .. }
            | Error::Output(_) => 1,
        }
    }

    /// Whether another connection may do better.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::NoResponse { .. })
    }

    /// Whether the same request may be answered later.
    pub(crate) fn may_pass(&self) -> bool {
        let is_absent =
            matches!(self, Error::NoPool { .. } | Error::NoBackend { .. } | Error::NoPort { .. });
        self.is_lost() || is_absent || matches!(self, Error::Refused(_))
    }

    /// Says on stderr what failed.
    pub(crate) fn report(&self) {
        let mut text = format!("error: {}\n", terminal::line(&self.to_string()));
        for detail in self.details() {
            text += &format!("  {}\n", terminal::line(detail));
        }
        report(text);
    }

    /// Each mistake that the daemon found in a configuration.
    fn details(&self) -> &[String] {
        match self {
            Error::Refused(error) => &error.details,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_exit_code() {
        for (kind, code) in [
            (ErrorKind::BadRequest, 1),
            (ErrorKind::Failed, 1),
            (ErrorKind::NotFound, 4),
            (ErrorKind::Rejected, 5),
            (ErrorKind::Forbidden, 5),
        ] {
            let error = Error::Refused(guideway_api::Error::new(kind, "no"));
            assert_eq!(error.exit_code(), code, "{kind:?}");
        }
        let unreachable = Error::Unreachable { socket: "/s".into(), reason: "gone".into() };
        assert_eq!(unreachable.exit_code(), 3);
        let gone = Error::Gone { socket: "/s".into(), reason: "gone".into() };
        assert_eq!(gone.exit_code(), 3);
        let ambiguous = Error::Ambiguous { typed: "st".into(), candidates: vec![] };
        assert_eq!(ambiguous.exit_code(), 2);
        assert_eq!(Error::Shortened { command: "config apply".into() }.exit_code(), 2);
        assert_eq!(Error::NoPool { pool: "web".into() }.exit_code(), 4);
        assert_eq!(Error::NoBackend { what: "is named web/b1".into() }.exit_code(), 4);
        assert_eq!(Error::Usage { message: "what?".into() }.exit_code(), 2);
        assert_eq!(Error::NoPort { port: "edge0".into() }.exit_code(), 4);
        assert_eq!(Error::TooLong { path: "/f".into() }.exit_code(), 1);
    }
}
