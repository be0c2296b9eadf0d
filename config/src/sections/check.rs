//! `[[check]]`: how backends are checked.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How backends are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `check.name`
    pub name: String,
    /// `check.kind`, with the keys of that kind
    pub kind: CheckKind,
    /// `check.via`; none for what the pool's encapsulation suggests
    pub via: Option<Via>,
    /// `check.address`: where probes go instead of the virtual address or the backend's own
    pub address: Option<IpAddr>,
    /// `check.port`: where probes go instead of the service's port
    pub port: Option<u16>,
    /// `check.size`: the length of the longest IP packet of a probe, before encapsulation
    pub size: Option<u16>,
    /// `check.interval`: from one probe to the next
    pub interval: Duration,
    /// `check.fast_interval`: the same while the state may be about to change
    pub fast_interval: Duration,
    /// `check.down_interval`: the same while the backend is down
    pub down_interval: Duration,
    /// `check.timeout`: the time that a probe may take in all
    pub timeout: Duration,
    /// `check.rise`: probes in a row that must succeed until the backend is up again
    pub rise: u32,
    /// `check.fall`: probes in a row that must fail until the backend is down
    pub fall: u32,
    /// `check.jitter`: by how many percent an interval may be longer or shorter
    pub jitter: u8,
    /// `check.spread`: the time over which the first probes are spread
    pub spread: Duration,
    /// `check.initial_state`
    pub initial_state: InitialState,
    /// `check.log_failures`: whether each failure is an event
    pub log_failures: bool,
}

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
    /// `check.sni`: the name that the client asks for; none for the address
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

/// The way of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// To the virtual address, through the backend's own encapsulation, as traffic goes.
    Tunnel,
    /// To the backend's own address, by the kernel's routes.
    Direct,
}

/// The state of a backend of which no probe has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// As it was, until the first result, which decides alone.
    Unknown,
    /// Up, until `fall` probes in a row fail.
    Up,
    /// Down, until `rise` probes in a row succeed.
    Down,
}

/// `[probe]`: by what way probes leave the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `probe.interface`: the TUN device that the forwarder opens for probes through tunnels
    pub interface: String,
    /// `probe.table`: the kernel's table whose only route leads there
    pub table: u32,
    /// `probe.source_ports`: the ports that probes come from
    pub source_ports: RangeInclusive<u16>,
    /// `probe.ports_each`: how many of them the probes of one check of one backend use by turns, 2 to 4
    pub ports_each: u8,
}
