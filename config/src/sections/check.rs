//! `[[check]]`: how backends are checked.
//!
//! The keys of all kinds are in one section. [`KEYS_OF_KINDS`] says which kinds have a key that not all have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::check_kind::{CheckHttp, CheckKind, CheckTls, DrainSign, Exchange};
use super::check_text::{
    AUTHORITY, BYTES, HEADER, HOST_NAME, METHOD, SIGN, STATUS, URL_PATH, name_of,
};
use super::control::PATH;
use super::pool::{Backend, MAX_COUNT, limited};
use crate::declare::section;
use crate::findings::Checked;
use crate::kind::{Array, Boolean, Time, Words, integer, milliseconds};
use crate::section::Section;
use crate::text::{IDENTIFIER, ROUTABLE};
use guideway_core::balancer::Protocol;

/// What a probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Tls,
    Http,
    Https,
    Udp,
    Ping,
}

impl Kind {
    const NAMES: &[(&str, Kind)] = &[
        ("tcp", Kind::Tcp),
        ("tls", Kind::Tls),
        ("http", Kind::Http),
        ("https", Kind::Https),
        ("udp", Kind::Udp),
        ("ping", Kind::Ping),
    ];

    pub(crate) fn name(self) -> &'static str {
        Kind::NAMES[self as usize].0
    }

    /// The transport protocol; none for a ping.
    pub(crate) fn protocol(self) -> Option<Protocol> {
        match self {
            Kind::Tcp | Kind::Tls | Kind::Http | Kind::Https => Some(Protocol::Tcp),
            Kind::Udp => Some(Protocol::Udp),
            Kind::Ping => None,
        }
    }
}

const EXCHANGES: &[Kind] = &[Kind::Tcp, Kind::Udp];
const TLS: &[Kind] = &[Kind::Tls, Kind::Https];
const HTTP: &[Kind] = &[Kind::Http, Kind::Https];

/// The keys that not every kind has, and the kinds that have them.
const KEYS_OF_KINDS: &[(&str, &[Kind])] = &[
    ("port", &[Kind::Tcp, Kind::Tls, Kind::Http, Kind::Https, Kind::Udp]),
    ("size", &[Kind::Http, Kind::Https, Kind::Ping]),
    ("send", EXCHANGES),
    ("expect", &[Kind::Tcp, Kind::Udp, Kind::Http, Kind::Https]),
    ("sni", TLS),
    ("verify", TLS),
    ("ca_file", TLS),
    ("method", HTTP),
    ("path", HTTP),
    ("host", HTTP),
    ("headers", HTTP),
    ("statuses", HTTP),
    ("body_limit", HTTP),
    ("expect_drain", HTTP),
];

impl Via {
    const NAMES: &[(&str, Via)] = &[("tunnel", Via::Tunnel), ("direct", Via::Direct)];
}

impl InitialState {
    const NAMES: &[(&str, InitialState)] = &[
        ("unknown", InitialState::Unknown),
        ("up", InitialState::Up),
        ("down", InitialState::Down),
    ];
}

fn interval() -> Time {
    milliseconds(10..=3_600_000)
}

section! {
    /// How backends are checked. Pools and services name their checks in `checks`.
    ///
    /// guideway-controller sends the probes. [Checking](checking.md) has examples, and the rules of states.
    "[[check]]" 0..=MAX_COUNT => CheckDraft {
        /// Its name, unique.
        name: String = IDENTIFIER, required "\"web\"", reload;
        /// What a probe does. `"tcp"` opens a connection, `"tls"` a TLS session. `"http"` and `"https"` send a request.
        /// `"udp"` sends a datagram. `"ping"` sends an echo request.
        ///
        /// A `"udp"` check without `expect` fails only if the server says that the port is unreachable: silence is no
        /// failure then. A ping says that a host is there, and nothing of its services.
        kind: Kind = Words(Kind::NAMES), required "\"http\"", reload;
        /// The way of probes. `"tunnel"`: to the virtual address, through the backend's own encapsulation, as traffic
        /// goes. `"direct"`: to the backend's own address, by the kernel's routes.
        via: Via = Words(Via::NAMES), optional "\"tunnel\""
            else "\"tunnel\"; \"direct\" for backends whose encapsulation is only \"l2\"", reload;
        /// Where probes go instead of the virtual address, or of the backend's own address.
        address: IpAddr = ROUTABLE, optional "\"203.0.113.10\"" else "by `via`", reload;
        /// The port that probes go to. Not of `"ping"`.
        ///
        /// A service's own check goes to the service. A pool's check goes to the first service of the file that uses
        /// the pool, and of them to one of the check's protocol if there is one.
        port: u16 = integer(1..=65_535), optional "8080" else "the service's", reload;
        /// The length of a probe's longest IP packet before encapsulation, which a fabric with a smaller MTU loses. Of
        /// `"ping"`, `"http"` and `"https"`.
        ///
        /// Through a tunnel, the smallest MTU of a port less the largest overhead of an encapsulation is the most.
        size: u16 = integer(44..=9216), optional "1400" else "as short as it is", reload, unit "bytes";
        /// From the start of one probe to that of the next.
        interval: Duration = interval(), default "2000", reload, unit "milliseconds";
        /// The same while results contradict the state, so that it may soon change.
        fast_interval: Duration = interval(), optional "500" else "`interval`", reload, unit "milliseconds";
        /// The same while the backend is down.
        down_interval: Duration = interval(), optional "5000" else "`interval`", reload, unit "milliseconds";
        /// The time that a probe may take in all: less than the shortest interval.
        timeout: Duration = milliseconds(1..=3_600_000), default "1000", reload, unit "milliseconds";
        /// How many probes in a row must succeed until a backend that is down is up.
        rise: u32 = integer(1..=1000), default "2", reload;
        /// How many probes in a row must fail until a backend that is up is down.
        fall: u32 = integer(1..=1000), default "3", reload;
        /// By how much each interval is longer or shorter, at random, so that nodes do not probe together.
        jitter: u8 = integer(0..=50), default "10", reload, unit "percent";
        /// The time over which the first probes are spread.
        spread: Duration = milliseconds(0..=3_600_000), optional "10000" else "`interval`", reload, unit "milliseconds";
        /// The state of a backend of which no probe has ended. `"unknown"`: as the configuration has it, and the first
        /// result decides alone. `"up"` and `"down"`: until `fall` or `rise` probes.
        initial_state: InitialState = Words(InitialState::NAMES), default "\"unknown\"", reload;
        /// Whether each failed probe is an event. Changes of states always are.
        log_failures: bool = Boolean, default "false", reload;
        /// What is sent over the connection, or as datagram. Of `"tcp"` and `"udp"`.
        send: Vec<u8> = BYTES, optional "\"PING\\r\\n\"" else "nothing; an empty datagram", reload;
        /// What the answer has to contain: of `"tcp"`, `"udp"`, or in the body of `"http"` and `"https"`.
        expect: Vec<u8> = BYTES, optional "\"+PONG\"" else "anything", reload;
        /// The name that a TLS client asks for (SNI), and that `verify` compares: without any, the address. Of `"tls"`
        /// and `"https"`.
        sni: String = HOST_NAME, optional "\"www.example.com\"" else "the name in `host`", reload;
        /// Whether the certificate must be valid, for `sni`. Of `"tls"` and `"https"`.
        ///
        /// One date must not take every backend down: a metric has the time until a certificate ends, of checks that
        /// do not verify too.
        verify: bool = Boolean, default "false", reload;
        /// A PEM file of the authorities that may have signed the certificate. Of `"tls"` and `"https"`, with `verify`.
        ca_file: PathBuf = PATH, optional "\"/etc/guideway/ca.pem\"" else "the system's authorities", reload;
        /// The method of the request. This and the keys below are of `"http"` and `"https"`.
        method: String = METHOD, default "\"GET\"", reload;
        /// The path of the request, with a query if there is one.
        path: String = URL_PATH, default "\"/\"", reload;
        /// The header `Host`.
        host: String = AUTHORITY, optional "\"www.example.com\"" else "the address and the port", reload;
        /// Further headers.
        headers: (String, String) = HEADER, list "[\"X-Probe: guideway\"]", reload;
        /// The statuses of a success. A redirect is not followed.
        statuses: Vec<RangeInclusive<u16>> = Array(STATUS), default "[\"200-399\"]", reload;
        /// How much of a body is read: what `expect` looks for must come in these bytes.
        body_limit: usize = integer(0..=16_777_216), default "65536", reload, unit "bytes";
        /// By what a server asks to be drained: statuses, and headers of the response. A backend that is down can
        /// drain, too.
        ///
        /// The case of letters does not matter.
        drain_signs ("expect_drain"): DrainSign = SIGN, list "[\"404\", \"X-Drain: yes\"]", reload;
    }
}

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

impl Check {
    /// The way of its probes to a backend.
    pub fn via_to(&self, backend: &Backend) -> Via {
        let usual = match backend.encapsulations.iter().any(|e| e.is_tunnel()) {
            true => Via::Tunnel,
            false => Via::Direct,
        };
        self.via.unwrap_or(usual)
    }
}

impl CheckDraft {
    /// The shortest interval, with the key that has it.
    pub(crate) fn shortest_interval(&self) -> Checked<(&'static str, Duration)> {
        let others =
            [("fast_interval", self.fast_interval?), ("down_interval", self.down_interval?)];
        let others = others.into_iter().filter_map(|(key, time)| Some((key, time?)));
        let interval = ("interval", self.interval?);
        Ok(others.fold(interval, |least, other| if other.1 < least.1 { other } else { least }))
    }

    /// The name that a TLS client asks for: a server of several names goes by it, and by `host` later.
    fn server_name(&self) -> Checked<Option<String>> {
        let named = self.sni.clone()?;
        let of_host = match (self.kind?, &self.host) {
            (Kind::Https, Err(reported)) => return Err(*reported),
            (Kind::Https, Ok(Some(host))) => name_of(host).map(str::to_owned),
            _ => None,
        };
        Ok(named.or(of_host))
    }

    pub(crate) fn finish(self) -> Checked<Check> {
        let interval = self.interval?;
        let exchange = || -> Checked<_> {
            Ok(Exchange { send: self.send.clone()?, expect: self.expect.clone()? })
        };
        let tls = || -> Checked<_> {
            let (sni, ca_file) = (self.server_name()?, self.ca_file.clone()?);
            Ok(CheckTls { sni, verify: self.verify?, ca_file })
        };
        let http = |tls| -> Checked<_> {
            Ok(CheckKind::Http(CheckHttp {
                tls,
                method: self.method.clone()?,
                path: self.path.clone()?,
                host: self.host.clone()?,
                headers: self.headers.clone()?,
                statuses: self.statuses.clone()?,
                expect: self.expect.clone()?,
                body_limit: self.body_limit?,
                drain_signs: self.drain_signs.clone()?,
            }))
        };
        let kind = match self.kind? {
            Kind::Tcp => CheckKind::Tcp(exchange()?),
            Kind::Tls => CheckKind::Tls(tls()?),
            Kind::Http => http(None)?,
            Kind::Https => http(Some(tls()?))?,
            Kind::Udp => CheckKind::Udp(exchange()?),
            Kind::Ping => CheckKind::Ping,
        };
        Ok(Check {
            name: self.name?,
            kind,
            via: self.via?,
            address: self.address?,
            port: self.port?,
            size: self.size?,
            interval,
            fast_interval: self.fast_interval?.unwrap_or(interval),
            down_interval: self.down_interval?.unwrap_or(interval),
            timeout: self.timeout?,
            rise: self.rise?,
            fall: self.fall?,
            jitter: self.jitter?,
            spread: self.spread?.unwrap_or(interval),
            initial_state: self.initial_state?,
            log_failures: self.log_failures?,
        })
    }

    /// Reports keys of other kinds.
    fn check_kind(&self, section: &Section<'_>) {
        let Ok(kind) = self.kind else { return };
        for (key, kinds) in KEYS_OF_KINDS {
            if kinds.contains(&kind) || !section.has(key) {
                continue;
            }
            let names: Vec<String> =
                kinds.iter().map(|kind| format!("{:?}", kind.name())).collect();
            let message = format!(
                "is for {}, and this check is {:?}; remove it, or change the kind",
                names.join(", "),
                kind.name()
            );
            section.mistake(key, message);
        }
    }

    /// A probe ends before the next one begins.
    fn check_times(&self, section: &Section<'_>) {
        let (Ok((key, shortest)), Ok(timeout)) = (self.shortest_interval(), self.timeout) else {
            return;
        };
        if timeout >= shortest {
            let by_default = |key| if section.has(key) { "" } else { " by default" };
            let message = format!(
                "is {}{}, and {key} is {}{}: a probe must end before the next one begins; lower \
                 it, or raise {key}",
                timeout.as_millis(),
                by_default("timeout"),
                shortest.as_millis(),
                by_default(key),
            );
            let at = if section.has("timeout") { "timeout" } else { key };
            section.mistake_at(at, "timeout", message);
        }
    }

    /// Reports keys that contradict each other.
    fn check_together(&self, section: &Section<'_>) {
        let is_verified = matches!(self.verify, Ok(true));
        if section.has("ca_file") && matches!(self.verify, Ok(false)) {
            let message = "has no effect without verify; set it, or remove this key";
            section.mistake("ca_file", message);
        }
        if is_verified && matches!(self.server_name(), Ok(None)) {
            let message = "is true, and there is no sni: the certificate must be valid for the \
                           address that probes go to, and few are";
            section.warn("verify", message);
        }
        let Ok(Some(expected)) = &self.expect else { return };
        if matches!(self.kind, Ok(Kind::Http | Kind::Https)) {
            if self.method.as_ref().is_ok_and(|method| method == "HEAD") {
                section.mistake("expect", "cannot come: a response to HEAD has no body");
            } else if let Ok(limit) = self.body_limit
                && limit < expected.len()
            {
                let message = format!(
                    "has {} bytes, and body_limit is {limit}: so many cannot come",
                    expected.len()
                );
                section.mistake("expect", message);
            }
        }
    }
}

pub(crate) fn read(root: &Section<'_>) -> Checked<Vec<CheckDraft>> {
    let mut names = HashMap::new();
    let check = |section| {
        let draft = CheckDraft::read(&section);
        section.unique("name", &draft.name, &mut names);
        draft.check_kind(&section);
        draft.check_times(&section);
        draft.check_together(&section);
        draft
    };
    Ok(limited(root, "check", "checks")?.into_iter().map(check).collect())
}
