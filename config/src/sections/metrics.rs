//! `[metrics]`: where Prometheus and health checks find the daemon.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::control::socket;
use crate::declare::section;
use crate::kind::{Text, integer};
use crate::section::Section;
use crate::shape::Form;
use crate::text::within;

const MAX_LISTENERS: usize = 16;
const MAX_HOSTS: usize = 64;

/// Where the HTTP server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An address and a TCP port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        listen(text)
    }
}

const LISTEN: Text<Listen> = Text {
    form: &Form {
        noun: "listener",
        limits: "an address with a port, or an absolute path of 1 to 107 bytes",
        pattern: r"^(/.{1,106}|\d{1,3}(\.\d{1,3}){3}:\d{1,5}|\[[\da-fA-F:.]+\]:\d{1,5})$",
    },
    parse: listen,
};

const HOST_NAME: Text<String> = Text {
    form: &Form {
        noun: "name",
        limits: "1 to 253 letters, digits, `.`, `_`, `-`",
        pattern: "^[A-Za-z0-9._-]{1,253}$",
    },
    parse: host_name,
};

section! {
    /// The HTTP server for Prometheus and health checks.
    ///
    /// [Metrics and health](operations.md#metrics-and-health) has the pages.
    #[derive(Default)]
    "[metrics]" 0..=1 => Metrics, MetricsDraft {
        /// Where the server listens, at most 16 addresses and paths. Without any there is no server.
        ///
        /// Whoever can connect can read all metrics.
        listen: Listen = LISTEN, list "[\"127.0.0.1:9420\"]", restart;
        /// Names by which the server may be addressed, at most 64.
        ///
        /// Addresses, `localhost` and `node.name` always may. A request with another `Host` is refused, so that no page
        /// in a browser can read metrics by a name of its own.
        hosts: String = HOST_NAME, list "[\"lb1.example.net\"]", restart;
        /// The most series of one scrape. The scrape says what it left out: first those of backends, then those of
        /// services, then those of pools.
        max_series: u32 = integer(1_000..=10_000_000), default "500000", reload, unit "series";
    }
}

pub(crate) fn read(root: &Section<'_>) -> MetricsDraft {
    let section = root.table("metrics", false);
    let mut draft = MetricsDraft::read(&section);
    let most = |key: &str, count: usize, most: usize| {
        let message = format!("has {count} entries; there can be {most}");
        section.mistake_at(&format!("{key}[{most}]"), key, message)
    };
    if let Ok(listen) = &draft.listen
        && listen.len() > MAX_LISTENERS
    {
        draft.listen = Err(most("listen", listen.len(), MAX_LISTENERS));
    }
    if let Ok(hosts) = &draft.hosts
        && hosts.len() > MAX_HOSTS
    {
        draft.hosts = Err(most("hosts", hosts.len(), MAX_HOSTS));
    }
    section.distinct("listen", &draft.listen);
    section.distinct("hosts", &draft.hosts);
    draft
}

fn listen(text: &str) -> Result<Listen, String> {
    if text.starts_with('/') {
        return socket(text).map(Listen::Unix);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Listen::Tcp(address)),
        _ => Err("expected an address with a port, such as 127.0.0.1:9420 or [::1]:9420, or the \
                  absolute path of a unix socket"
            .to_owned()),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    within(text, 1..=253, allowed, "1 to 253 letters, digits, points, underscores and hyphens")
}
