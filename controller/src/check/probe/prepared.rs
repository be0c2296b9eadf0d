//! What all probes of a check share: files are read once for each configuration.

use std::sync::Arc;

use guideway_config::{Check, CheckKind};

use super::error::Error;
use super::http::Asking;
use super::tls::Opening;

/// What lies between TCP and what is said.
pub(super) enum Session {
    Plain,
    Tls(Opening),
}

/// A check, ready to be probed by.
pub struct Prepared {
    check: Arc<Check>,
    session: Session,
    request: Option<Asking>,
}

impl Prepared {
    /// Reads the files that the check names. The error is a message for the operator.
    pub fn new(check: Arc<Check>) -> Result<Prepared, Error> {
        let (session, request) = match &check.kind {
            CheckKind::Tls(tls) => (Session::Tls(Opening::new(tls, None)?), None),
            CheckKind::Http(http) => {
                let session = match &http.tls {
                    Some(tls) => Session::Tls(Opening::new(tls, Some(b"http/1.1"))?),
                    None => Session::Plain,
                };
                (session, Some(Asking::new(http, check.size)?))
            }
            CheckKind::Tcp(_) | CheckKind::Udp(_) | CheckKind::Ping => (Session::Plain, None),
        };
        Ok(Prepared { check, session, request })
    }

    /// The check.
    pub fn check(&self) -> &Arc<Check> {
        &self.check
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn request(&self) -> Option<&Asking> {
        self.request.as_ref()
    }

    /// Whether a probe with success has exchanged bytes.
    pub(super) fn exchanges(&self) -> bool {
        match &self.check.kind {
            CheckKind::Tcp(what) => what.send.is_some() || what.expect.is_some(),
            _ => true,
        }
    }
}
