//! Checks of backends: their states and results, single probes, and the pins by which probes find
//! their backend.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a check makes of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// No probe has ended yet.
    Unknown,
    /// It works.
    Up,
    /// It works, and asks to be drained.
    Draining,
    /// It does not work.
    Down,
}

impl CheckState {
    /// Every state.
    pub const ALL: [CheckState; 4] =
        [CheckState::Unknown, CheckState::Up, CheckState::Draining, CheckState::Down];

    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            CheckState::Unknown => "unknown",
            CheckState::Up => "up",
            CheckState::Draining => "draining",
            CheckState::Down => "down",
        }
    }
}

/// How a probe ended, in the words of HAProxy: the layer, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckCode {
    /// The node could not send the probe. That says nothing about the backend.
    SockErr,
    /// The connection was opened, or the echo reply came; nothing more was asked for.
    L4Ok,
    /// No connection, or no answer of the host, in time.
    L4Tout,
    /// The connection was refused, or the host or its port is unreachable.
    L4Con,
    /// The TLS session was opened.
    L6Ok,
    /// No TLS session in time.
    L6Tout,
    /// No TLS session: the server's answer is no TLS, or its certificate is not accepted.
    L6Rsp,
    /// The answer is as expected.
    L7Ok,
    /// The answer is that of a server which works and asks to be drained.
    L7OkC,
    /// No whole answer in time.
    L7Tout,
    /// The answer is malformed, too long, or has not what is expected in it.
    L7Rsp,
    /// The HTTP status is another than those expected.
    L7Sts,
}

impl CheckCode {
    /// Every code.
    pub const ALL: [CheckCode; 12] = [
        CheckCode::SockErr,
        CheckCode::L4Ok,
        CheckCode::L4Tout,
        CheckCode::L4Con,
        CheckCode::L6Ok,
        CheckCode::L6Tout,
        CheckCode::L6Rsp,
        CheckCode::L7Ok,
        CheckCode::L7OkC,
        CheckCode::L7Tout,
        CheckCode::L7Rsp,
        CheckCode::L7Sts,
    ];

    /// The code's name in listings, events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            CheckCode::SockErr => "SOCKERR",
            CheckCode::L4Ok => "L4OK",
            CheckCode::L4Tout => "L4TOUT",
            CheckCode::L4Con => "L4CON",
            CheckCode::L6Ok => "L6OK",
            CheckCode::L6Tout => "L6TOUT",
            CheckCode::L6Rsp => "L6RSP",
            CheckCode::L7Ok => "L7OK",
            CheckCode::L7OkC => "L7OKC",
            CheckCode::L7Tout => "L7TOUT",
            CheckCode::L7Rsp => "L7RSP",
            CheckCode::L7Sts => "L7STS",
        }
    }

    /// Whether the backend works.
    pub fn is_success(self) -> bool {
        matches!(self, CheckCode::L4Ok | CheckCode::L6Ok | CheckCode::L7Ok | CheckCode::L7OkC)
    }
}

/// By what way probes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVia {
    /// To the virtual address, through the backend's own encapsulation, as traffic goes.
    Tunnel,
    /// To the backend's own address, by the kernel's routes.
    Direct,
}

impl CheckVia {
    /// The way's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            CheckVia::Tunnel => "tunnel",
            CheckVia::Direct => "direct",
        }
    }
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// In one word.
    pub code: CheckCode,
    /// The HTTP status, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The step that failed and why, in words; empty after a success.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Microseconds from the probe's begin to its end.
    pub latency_us: u64,
    /// When it ended: RFC 3339 in UTC, with milliseconds.
    pub time: String,
}

/// Backends with their checks, counted by state, as part of [`Node`](crate::Node).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTotals {
    /// Those of which no probe has ended yet.
    pub unknown: usize,
    /// Those that work.
    pub up: usize,
    /// Those that work and ask to be drained.
    pub draining: usize,
    /// Those that do not work.
    pub down: usize,
    /// Of those that are down, the ones that their pools keep.
    #[serde(default)]
    pub kept: usize,
    /// Why states are frozen; none if they follow the results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
}

/// A backend, and what one check makes of it. There is a row for each pool that has the backend,
/// even if all share their probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// The check.
    pub check: String,
    /// The backend's pool.
    pub pool: String,
    /// The backend's name.
    pub backend: String,
    /// The backend's address.
    pub address: IpAddr,
    /// The way of the probes.
    pub via: CheckVia,
    /// Where the probes go: an address and a port, or an address alone for a ping.
    pub target: String,
    /// What the check makes of the backend.
    pub state: CheckState,
    /// Since when: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// The last result; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CheckResult>,
    /// Results in a row that speak against the state.
    pub against: u32,
    /// Whether the pool keeps the backend although it is down, because too many failed at once.
    #[serde(default)]
    pub kept: bool,
    /// An ICMP error about packets to the backend, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<String>,
}

/// The response to [`Request::CheckList`](crate::Request::CheckList): all checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Why states are frozen; none if they follow the results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// What keeps probes or their answers from passing, in words that say what to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Each backend with each of its checks.
    pub rows: Vec<CheckRow>,
}

/// The response to [`Request::CheckShow`](crate::Request::CheckShow): one check of one backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDetails {
    /// The state.
    pub row: CheckRow,
    /// Where its probes come from, through a tunnel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SocketAddr>,
    /// The pools that share the probes.
    pub pools: Vec<String>,
    /// When the server's certificate ends: RFC 3339 in UTC. None without TLS, and before the first
    /// one is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<String>,
    /// Milliseconds until the next probe; none while one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// The last results, the newest first.
    pub results: Vec<CheckResult>,
}

/// A step of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStep {
    /// What was done, such as `connect`.
    pub step: String,
    /// Microseconds from the probe's begin to the end of this step.
    pub at_us: u64,
    /// What came of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The response to [`Request::CheckRun`](crate::Request::CheckRun): what a single probe found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRun {
    /// The check.
    pub check: String,
    /// The backend's pool.
    pub pool: String,
    /// The backend's name.
    pub backend: String,
    /// Where the probe went.
    pub target: String,
    /// The way of the probe.
    pub via: CheckVia,
    /// Each step.
    pub steps: Vec<CheckStep>,
    /// How it ended. It does not count for the state.
    pub result: CheckResult,
}

/// Packets that the node sends from this address and port go to this backend, whatever their
/// destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// An address of `node.check_source`, and the source port; of an echo request, its identifier.
    pub source: SocketAddr,
    /// The backend's pool.
    pub pool: String,
    /// The backend's name.
    pub backend: String,
}
