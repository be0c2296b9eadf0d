//! The errors of a command, and the exit code of each.

use std::io;
use std::path::PathBuf;

use guideway_api::{ErrorKind, MAX_CONFIGURATION};
use guideway_client::Error as Unanswered;
use guideway_output::report;

use crate::terminal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request has no response, or a refusal.
    #[error(transparent)]
    Client(#[from] guideway_client::Error),
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
    /// No backend is in the pool of the command line.
    #[error("no backend is in a pool named {pool}")]
    NoPool { pool: String },
    /// No check has a backend in the pool of the command line.
    #[error("no check has a backend in a pool named {pool}")]
    NoCheckedPool { pool: String },
    /// A probe that the command line asks for has failed.
    #[error("the probe failed: {result}")]
    ProbeFailed { result: String },
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
            Error::Client(Unanswered::Unreachable { .. }) | Error::Gone { .. } => 3,
            Error::NoPool { .. }
            | Error::NoCheckedPool { .. }
            | Error::NoBackend { .. }
            | Error::NoPort { .. }
            | Error::NoKey { .. } => 4,
            Error::Client(Unanswered::Refused(error)) => match error.kind {
                ErrorKind::NotFound => 4,
                ErrorKind::Rejected | ErrorKind::Forbidden => 5,
                ErrorKind::BadRequest | ErrorKind::Failed => 1,
            },
            Error::Client(_)
            | Error::TooLong { .. }
            | Error::File { .. }
            | Error::NotText { .. }
            | Error::ProbeFailed { .. }
            | Error::Output(_) => 1,
        }
    }

    /// Whether another connection may do better.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(
            self,
            Error::Client(Unanswered::Unreachable { .. } | Unanswered::NoResponse { .. })
        )
    }

    /// Whether the same request may be answered later.
    pub(crate) fn may_pass(&self) -> bool {
        let is_absent = matches!(
            self,
            Error::NoPool { .. }
                | Error::NoCheckedPool { .. }
                | Error::NoBackend { .. }
                | Error::NoPort { .. }
        );
        self.is_lost() || is_absent || matches!(self, Error::Client(Unanswered::Refused(_)))
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
            Error::Client(Unanswered::Refused(error)) => &error.details,
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
            let error = Error::Client(Unanswered::Refused(guideway_api::Error::new(kind, "no")));
            assert_eq!(error.exit_code(), code, "{kind:?}");
        }
        let reason = "gone".into();
        let (wanted, socket) = (guideway_api::Daemon::Forwarder, "/s".into());
        let unreachable = Error::Client(Unanswered::Unreachable { wanted, socket, reason });
        assert_eq!(unreachable.exit_code(), 3);
        let gone = Error::Gone { socket: "/s".into(), reason: "gone".into() };
        assert_eq!(gone.exit_code(), 3);
        let ambiguous = Error::Ambiguous { typed: "st".into(), candidates: vec![] };
        assert_eq!(ambiguous.exit_code(), 2);
        assert_eq!(Error::Shortened { command: "config apply".into() }.exit_code(), 2);
        assert_eq!(Error::NoPool { pool: "web".into() }.exit_code(), 4);
        assert_eq!(Error::NoCheckedPool { pool: "web".into() }.exit_code(), 4);
        assert_eq!(Error::ProbeFailed { result: "L4CON".into() }.exit_code(), 1);
        assert_eq!(Error::NoBackend { what: "is named web/b1".into() }.exit_code(), 4);
        assert_eq!(Error::Usage { message: "what?".into() }.exit_code(), 2);
        assert_eq!(Error::NoPort { port: "edge0".into() }.exit_code(), 4);
        assert_eq!(Error::TooLong { path: "/f".into() }.exit_code(), 1);
    }
}
