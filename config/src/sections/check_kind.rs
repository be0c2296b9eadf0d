//! What the probe of each kind of `[[check]]` does.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use guideway_core::balancer::Protocol;

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Opens a TCP connection, and may send and expect something.
    Tcp(Exchange),
    /// Opens a TLS session.
    Tls(CheckTls),
    /// Sends an HTTP request, over TLS for `https`.
    Http(CheckHttp),
    /// Sends a datagram, and may expect something. "Unreachable" fails.
    Udp(Exchange),
    /// Sends an echo request.
    Ping,
}

impl CheckKind {
    /// The transport protocol; none for a ping.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            CheckKind::Tcp(_) | CheckKind::Tls(_) | CheckKind::Http(_) => Some(Protocol::Tcp),
            CheckKind::Udp(_) => Some(Protocol::Udp),
            CheckKind::Ping => None,
        }
    }
}

/// What is sent, and what has to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// `check.send`
    pub send: Option<Vec<u8>>,
    /// `check.expect`: what the answer has to contain
    pub expect: Option<Vec<u8>>,
}

/// How TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckTls {
    /// `check.sni`, or the name in `check.host`: what the client asks for; none for the address
    pub sni: Option<String>,
    /// `check.verify`: whether the certificate must be valid for that name
    pub verify: bool,
    /// `check.ca_file`: the authorities that may have signed it; none for the system's
    pub ca_file: Option<PathBuf>,
}

/// What HTTP request is sent, and what response has to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckHttp {
    /// For `https`
    pub tls: Option<CheckTls>,
    /// `check.method`
    pub method: String,
    /// `check.path`
    pub path: String,
    /// `check.host`: none for the address and port that the probe goes to
    pub host: Option<String>,
    /// `check.headers`: names and values
    pub headers: Vec<(String, String)>,
    /// `check.statuses`
    pub statuses: Vec<RangeInclusive<u16>>,
    /// `check.expect`: what the body has to contain
    pub expect: Option<Vec<u8>>,
    /// `check.body_limit`: bytes of the body that are read at the most
    pub body_limit: usize,
    /// `check.expect_drain`: the signs by which a server asks to be drained
    pub drain_signs: Vec<DrainSign>,
}

/// By what a server asks to be drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainSign {
    /// One of these statuses.
    Status(RangeInclusive<u16>),
    /// This header, with this value if there is one. The case of letters does not matter.
    Header(String, Option<String>),
}
