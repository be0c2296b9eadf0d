//! `[[service]]`: a virtual address, protocol and port.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use guideway_core::balancer::Protocol;
use guideway_core::balancer::services::ServiceAddress;

use super::names::{Names, REFERENCE};
use super::pool::{MAX_COUNT, PoolDraft, limited};
use crate::declare::section;
use crate::findings::{Checked, Place};
use crate::kind::{Boolean, Words, integer, seconds};
use crate::section::Section;
use crate::text::{NAME, ROUTABLE};
use guideway_core::balancer::fragment::Policy as FragmentPolicy;

/// Senders of UDP renew their flows for ever, so that a drain needs an end.
const UDP_DRAIN_TIMEOUT: Duration = Duration::from_secs(300);

/// What happens to flows of a backend that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDown {
    /// They move to other backends.
    Move,
    /// They stay.
    Keep,
}

impl OnDown {
    const NAMES: &[(&str, OnDown)] = &[("move", OnDown::Move), ("keep", OnDown::Keep)];
}

/// What happens to flows of a backend when its `drain_timeout` is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DrainThen {
    /// They move to other backends.
    Move,
    /// Their packets are answered by a RST or an ICMP error.
    Reset,
    /// They stay.
    Keep,
}

impl DrainThen {
    const NAMES: &[(&str, DrainThen)] =
        &[("move", DrainThen::Move), ("reset", DrainThen::Reset), ("keep", DrainThen::Keep)];
}

/// What a service says about the flows of backends that drain or are down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// How long a backend that is down keeps its flows; `None` without end.
    pub keep_down: Option<Duration>,
    /// How long a draining backend keeps its flows; `None` without end.
    pub drain: Option<Duration>,
    /// What happens to them then.
    pub drain_then: DrainThen,
}

section! {
    /// A virtual address, protocol and port.
    "[[service]]" 0..=MAX_COUNT => ServiceDraft {
        /// Its name, unique.
        name: String = NAME, required "\"web\"", reload;
        /// The virtual address. One of the node's own addresses is a warning.
        address: IpAddr = ROUTABLE, required "\"203.0.113.10\"", reload;
        /// The transport protocol.
        protocol: Protocol = Words(Protocol::NAMES), required "\"tcp\"", reload;
        /// The port. Address, protocol and port together are unique.
        port: u16 = integer(1..=65_535), required "80", reload;
        /// The name of a pool; several services may share one.
        pool: String = REFERENCE, required "\"web\"", reload;
        /// `"follow"`: fragments follow the first of their datagram. `"drop"`: first fragments are dropped
        /// as `fragment_refused`, and later ones with them.
        fragments: FragmentPolicy = Words(FragmentPolicy::NAMES), default "\"follow\"", reload;
        /// Whether echo requests (ping) to the address get a reply. Of several services with one address,
        /// one with `false` decides.
        echo: bool = Boolean, default "true", reload;
        /// Whether UDP to the address without a service gets "port unreachable", which ends a traceroute.
        /// Of several services with one address, one with `true` decides.
        ///
        /// Without it such packets are dropped as `no_service`, as TCP always is.
        unreachable: bool = Boolean, default "false", reload;
        /// Whether the kernel replies to ARP and neighbour discovery for the address, where it lies in a
        /// network of a port with an interface. See
        /// [Virtual addresses on a link](operations.md#virtual-addresses-on-a-link). Of several services
        /// with one address, one with `true` decides.
        answer_on_link: bool = Boolean, default "false", reload;
        /// What happens to the service's flows on a backend that is down. `"move"`: they go to other
        /// backends. `"keep"`: they stay, and go on when the backend is back.
        ///
        /// Flows that are kept get no answer while the backend is down. A TCP connection breaks when it
        /// moves, UDP often goes on: that is why the defaults differ. All services together can have at
        /// most 64 different combinations of `on_down`, `keep_for`, `drain_timeout` and `drain_then`.
        on_down: OnDown = Words(OnDown::NAMES),
            optional "\"keep\"" else "\"keep\" for TCP, \"move\" for UDP", reload;
        /// With `on_down` `"keep"`: how long flows stay at a backend that is down. Then they move.
        keep_for: Duration = seconds(1..=86_400), optional "300" else "no limit", reload,
            unit "seconds";
        /// How long flows stay at a backend that drains, from the beginning of the drain.
        ///
        /// Most TCP connections end by themselves. Senders of UDP can renew their flows for ever, so that
        /// a drain without a limit might never end.
        drain_timeout: Duration = seconds(1..=86_400),
            optional "300" else "no limit for TCP, 300 for UDP", reload, unit "seconds";
        /// What happens to flows that are left when `drain_timeout` is over. `"move"`: they go to other
        /// backends. `"reset"`: their packets are answered by a TCP RST, or "port unreachable" for UDP.
        /// `"keep"`: they stay, and there is only an event.
        ///
        /// [Refusals](operations.md#refusals) says which packets `"reset"` answers. The backend gets nothing.
        drain_then: DrainThen = Words(DrainThen::NAMES), optional "\"reset\"" else "\"move\"", reload;
        /// Further checks of every backend that the pool can choose, each once. Their probes go to this service.
        checks: String = REFERENCE, list "[\"web\"]", reload;
    }
}

/// A virtual address, protocol and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `service.name`
    pub name: String,
    /// `service.address`
    pub address: IpAddr,
    /// `service.protocol`
    pub protocol: Protocol,
    /// `service.port`
    pub port: u16,
    /// Index into [`Configuration::pools`](crate::Configuration::pools)
    pub pool: usize,
    /// `service.echo`: false on one service turns off echo replies from its address
    pub echo: bool,
    /// `service.unreachable`: true on one service makes its address reply to UDP packets that are for
    /// no service
    pub unreachable: bool,
    /// `service.answer_on_link`: true on one service has the kernel reply to ARP and neighbour discovery
    /// for its address
    pub answer_on_link: bool,
    /// `service.fragments`
    pub fragments: FragmentPolicy,
    /// `service.on_down`, `keep_for`, `drain_timeout` and `drain_then`
    pub policy: Policy,
    /// `service.checks`. Indices into [`Configuration::checks`](crate::Configuration::checks).
    pub checks: Vec<usize>,
}

impl Service {
    /// Which packets are for the service.
    pub fn service_address(&self) -> ServiceAddress {
        service_address(self.address, self.protocol, self.port)
    }
}

/// The service address that these three keys make.
fn service_address(address: IpAddr, protocol: Protocol, port: u16) -> ServiceAddress {
    ServiceAddress::new(address, protocol.number(), port)
}

/// A service, its pool looked up.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) keys: ServiceDraft,
    /// The index of the pool.
    pub(crate) pool: Checked<usize>,
    /// The indices of the checks.
    pub(crate) checks: Checked<Vec<usize>>,
}

impl ServiceEntry {
    pub(crate) fn finish(self) -> Checked<Service> {
        let policy = self.keys.policy()?;
        let keys = self.keys;
        Ok(Service {
            name: keys.name?,
            address: keys.address?,
            protocol: keys.protocol?,
            port: keys.port?,
            pool: self.pool?,
            echo: keys.echo?,
            unreachable: keys.unreachable?,
            answer_on_link: keys.answer_on_link?,
            fragments: keys.fragments?,
            policy,
            checks: self.checks?,
        })
    }
}

impl ServiceDraft {
    /// The policy, with the defaults of the protocol.
    pub(crate) fn policy(&self) -> Checked<Policy> {
        let keep_down = match self.on_down()? {
            OnDown::Move => Some(Duration::ZERO),
            OnDown::Keep => self.keep_for?,
        };
        let drain_then = self.drain_then?.unwrap_or(DrainThen::Move);
        Ok(Policy { keep_down, drain: self.drain()?, drain_then })
    }

    fn on_down(&self) -> Checked<OnDown> {
        Ok(match (self.on_down?, self.protocol?) {
            (Some(on_down), _) => on_down,
            (None, Protocol::Tcp) => OnDown::Keep,
            (None, _) => OnDown::Move,
        })
    }

    fn drain(&self) -> Checked<Option<Duration>> {
        Ok(match (self.drain_timeout?, self.protocol?) {
            (None, Protocol::Tcp) => None,
            (drain, _) => drain.or(Some(UDP_DRAIN_TIMEOUT)),
        })
    }

    /// Reports keys of the policy that others leave without effect.
    fn check_policy(&self, section: &Section<'_>) {
        if let (Ok(Some(_)), Ok(OnDown::Move)) = (self.keep_for, self.on_down()) {
            let why = match self.on_down {
                Ok(Some(_)) => "on_down is \"move\"",
                _ => "on_down is \"move\" by default for UDP",
            };
            let message = format!("has no effect: {why}; set \"keep\", or remove this key");
            section.mistake("keep_for", message);
        }
        if let (Ok(Some(_)), Ok(None)) = (self.drain_then, self.drain()) {
            let message = "has no effect: a drain has no end without drain_timeout, which TCP does \
                           not have by default; set it, or remove this key";
            section.mistake("drain_then", message);
        }
    }
}

pub(crate) fn read(
    root: &Section<'_>,
    pools: &Checked<Vec<PoolDraft>>,
    checks: &Names<'_>,
) -> Checked<Vec<ServiceEntry>> {
    let sections = limited(root, "service", "services")?;
    let pools = Names::new("pool", pools, |pool| &pool.name);
    let mut names = HashMap::new();
    let mut service_addresses = HashMap::new();
    let service = |section| service(&section, &pools, checks, &mut names, &mut service_addresses);
    Ok(sections.into_iter().map(service).collect())
}

fn service<'a>(
    section: &Section<'a>,
    pools: &Names<'_>,
    checks: &Names<'_>,
    names: &mut HashMap<String, Place<'a>>,
    service_addresses: &mut HashMap<ServiceAddress, Place<'a>>,
) -> ServiceEntry {
    let keys = ServiceDraft::read(section);
    section.unique("name", &keys.name, names);
    keys.check_policy(section);
    if let (Ok(address), Ok(protocol), Ok(port)) = (keys.address, keys.protocol, keys.port) {
        let taken = service_address(address, protocol, port);
        if let Some(first) = service_addresses.insert(taken, section.line("")) {
            let message = format!(
                "the service on line {first} has the same address, protocol and port; keep one, \
                 with one pool"
            );
            section.mistake("address", message);
        }
    }
    let pool = match &keys.pool {
        Ok(name) => pools.find(section, "pool", name),
        Err(reported) => Err(*reported),
    };
    section.distinct("checks", &keys.checks);
    let checks = checks.find_all(section, "checks", &keys.checks);
    ServiceEntry { keys, pool, checks }
}
