//! Why a check cannot be made ready, as the operator is told.

use std::path::PathBuf;

/// A check whose probes cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authorities' certificates cannot be read.
    #[error("no certificates from {}: {problem}", file.display())]
    Authorities {
        /// The value of `check.ca_file`.
        file: PathBuf,
        /// What is wrong, in words.
        problem: String,
    },
    /// The system has no authorities' certificates.
    #[error("no certificates of the system's authorities: {problem}; set ca_file")]
    SystemAuthorities {
        /// What is wrong, in words.
        problem: String,
    },
    /// The name cannot be that of a server.
    #[error("sni {sni:?} is neither a name nor an address")]
    Name {
        /// The value of `check.sni`.
        sni: String,
    },
    /// TLS cannot be spoken.
    #[error("no TLS: {problem}")]
    Tls {
        /// What is wrong, in words.
        problem: String,
    },
    /// The request is no HTTP.
    #[error("{key} {value:?} cannot be sent in an HTTP request")]
    Request {
        /// The key of `[[check]]`.
        key: &'static str,
        /// Its value, or a part of it.
        value: String,
    },
}
