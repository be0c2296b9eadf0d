//! Bodies of responses: status, services, backends, workers, ports, statistics and flows.
//!
//! Counters start at 0 with the daemon and never fall. For adding a field see
//! [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::announce::Announcing;
#[cfg(doc)]
use crate::request::Request;
use crate::request::{FlowState, Protocol, SetState, Source};

/// The response to [`Request::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name, `node.name` in the configuration.
    pub node: String,
    /// The daemon's release.
    pub version: String,
    /// Seconds since the workers started.
    pub uptime_seconds: u64,
    /// Generation of the configuration last published.
    pub generation: u64,
    /// Oldest generation that a worker still uses; equal to `generation` when all workers agree.
    pub generation_in_force: u64,
    /// How often the manager, which changes what is in force, panicked and began again. Any number
    /// but 0 is a defect.
    #[serde(default)]
    pub manager_restarts: u64,
    /// The daemon's configuration file.
    pub config_path: String,
    /// Number of workers.
    pub workers: usize,
    /// Number of ports.
    pub ports: usize,
    /// Number of services.
    pub services: usize,
    /// Number of backends.
    pub backends: usize,
    /// Flow table entries in use, all workers.
    pub flows: u64,
    /// Flow table entries in total, all workers.
    pub flow_capacity: u64,
    /// Fragments that wait for their datagram's first fragment, all workers.
    pub fragments_waiting: u64,
    /// Packets received, all workers.
    pub received: u64,
    /// Packets transmitted, all workers.
    pub transmitted: u64,
    /// The interface of the virtual addresses; none if the configuration has no `[announce]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcing: Option<Announcing>,
}

/// One service in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The virtual address.
    pub address: IpAddr,
    /// The transport.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The pool that serves it.
    pub pool: String,
    /// Number of backends that accept new flows.
    pub backends: usize,
    /// Whether the service serves new flows: its pool has `pool.min_active` backends that accept new
    /// flows, or its backup does, or `pool.on_empty` has all backends serve.
    #[serde(default)]
    pub serves: bool,
    /// Traffic forwarded for it.
    pub traffic: Traffic,
}

/// One backend in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its weight.
    pub weight: u32,
    /// The part of its weight that counts during a slow start, 0 to 1; none otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<f64>,
    /// Which flows it accepts now.
    pub state: BackendState,
    /// When the state began that is set for it: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// Who set that state.
    pub source: Source,
    /// Why, in the words of who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is set for it at run time. A later setting outweighs an earlier one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<BackendSetting>,
    /// The encapsulation in use, for example `gre`; none without a next hop, or if none that is
    /// listed can be sent.
    pub encapsulation: Option<String>,
    /// Why that encapsulation is in use; none without it.
    pub encapsulation_choice: Option<EncapsulationChoice>,
    /// Its share of the Maglev table, 0 to 1.
    pub share: f64,
    /// Where its packets go next.
    pub next_hop: NextHop,
    /// Traffic forwarded to it.
    pub traffic: Traffic,
}

/// A state or a weight that is set for a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendSetting {
    /// Who set it.
    pub source: Source,
    /// The state, if this is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SetState>,
    /// The weight, if this is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was set: RFC 3339 in UTC, with milliseconds.
    pub since: String,
    /// When it ends; without it the setting stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Which flows a backend accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// The flows it has, and new ones by its weight.
    Active,
    /// Only the flows it has.
    Draining,
    /// No flows.
    Disabled,
    /// The flows that their services keep there.
    Down,
    /// No flows, because the MAC address of its next hop is unknown.
    Unresolved,
    /// No flows, because there is no usable route.
    Unreachable,
}

impl BackendState {
    /// The state's name in listings.
    pub fn name(self) -> &'static str {
        match self {
            BackendState::Active => "active",
            BackendState::Draining => "draining",
            BackendState::Disabled => "disabled",
            BackendState::Down => "down",
            BackendState::Unresolved => "unresolved",
            BackendState::Unreachable => "unreachable",
        }
    }
}

/// Why an encapsulation was chosen: of those that can be sent, flows differ in the best field. Of
/// several with that field, it has the smallest overhead, or else it is listed first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncapsulationChoice {
    /// The encapsulations that the configuration lists for the backend, in its order.
    pub listed: Vec<String>,
    /// The field in which the packets of two flows differ.
    pub flows_differ_in: FlowField,
    /// Those of `listed` that cannot be sent.
    pub left_out: Vec<LeftOut>,
}

/// A field by which routers and NICs can tell encapsulated flows apart, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowField {
    /// The source port of the outer UDP header.
    UdpSourcePort,
    /// The addresses and ports of the packet itself, which has no outer header.
    Own,
    /// The flow label of the outer IPv6 header.
    FlowLabel,
    /// The source address of the outer IPv4 header.
    SourceAddress,
    /// The GRE key.
    GreKey,
    /// No field.
    Nothing,
}

/// An encapsulation that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub encapsulation: String,
    /// Why it cannot be sent.
    pub reason: Unsendable,
}

/// Why an encapsulation cannot be sent to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsendable {
    /// It needs the backend on the link of a port, and a gateway is between.
    NotOnLink,
    /// It needs a tunnel source of the backend's family.
    NoSource,
}

/// Where packets to a backend go next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum NextHop {
    /// Packets can be sent.
    Resolved {
        /// The port that sends them.
        port: String,
        /// The VLAN of the next hop's device; none without a VLAN device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The backend, or a gateway.
        address: IpAddr,
        /// The MAC address of `address`.
        mac: String,
    },
    /// The MAC address is unknown.
    NoMac {
        /// The port that would send them.
        port: String,
        /// The VLAN of the next hop's device; none without a VLAN device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The backend, or a gateway.
        address: IpAddr,
    },
    /// There is no usable route.
    Unreachable(Unreachable),
}

impl NextHop {
    /// The port that sends the packets.
    pub fn port(&self) -> Option<&str> {
        match self {
            NextHop::Resolved { port, .. } | NextHop::NoMac { port, .. } => Some(port),
            NextHop::Unreachable(Unreachable::LinkDown { port }) => Some(port),
            NextHop::Unreachable(_) => None,
        }
    }

    /// The VLAN of the next hop's device.
    pub fn vlan(&self) -> Option<u16> {
        match self {
            NextHop::Resolved { vlan, .. } | NextHop::NoMac { vlan, .. } => *vlan,
            NextHop::Unreachable(_) => None,
        }
    }
}

/// Why there is no usable route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Unreachable {
    /// Neither the configuration nor the kernel has a route.
    NoRoute,
    /// The kernel's route leaves by a device that is no port's.
    NotAPort {
        /// The device's name.
        interface: String,
    },
    /// The route's port has no link.
    LinkDown {
        /// The port.
        port: String,
    },
    /// A route of the kernel forbids it.
    Refused {
        /// The kind of the route.
        kind: Refusal,
    },
    /// The address is one of the node's own.
    Own,
}

/// The kinds of routes by which the kernel refuses packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// `blackhole`: packets vanish.
    Blackhole,
    /// `unreachable`: the sender gets "host unreachable".
    Unreachable,
    /// `prohibit`: the sender gets "administratively prohibited".
    Prohibit,
}

/// Traffic of one service or backend since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of those packets as received, with the Ethernet header.
    pub bytes: u64,
    /// New flows: lookups in the Maglev table.
    pub flows: u64,
    /// Flow table entries now.
    #[serde(default)]
    pub live: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its index.
    pub worker: u16,
    /// The CPU that it is pinned to, if any.
    pub cpu: Option<u16>,
    /// The receive queues that it polls.
    pub queues: Vec<RxQueue>,
    /// Generation of the configuration that it uses.
    pub generation: u64,
    /// Packets received from its queues.
    pub received: u64,
    /// Packets transmitted to its queues.
    pub transmitted: u64,
    /// Packets dropped, for any reason.
    pub dropped: u64,
    /// Flow table entries in use.
    pub flows: u64,
    /// Flow table entries in total.
    pub flow_capacity: u64,
    /// Polls since the start.
    pub polls: u64,
    /// Polls that received at least one packet.
    pub busy_polls: u64,
}

/// A receive queue of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RxQueue {
    /// The port's name.
    pub port: String,
    /// The queue's index.
    pub queue: u16,
}

/// One port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's name, `port.name` in the configuration.
    pub name: String,
    /// What it is for, `port.description` in the configuration; left out if it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The port's device, `port.device` in the configuration.
    pub device: String,
    /// The DPDK driver.
    pub driver: String,
    /// The port's MAC address.
    pub mac: String,
    /// The MTU.
    pub mtu: u16,
    /// The link.
    pub link: Link,
    /// Seconds since the link changed, or since the port was started.
    pub link_seconds: u64,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// How packets reach the worker of their flow.
    pub steering: Steering,
    /// The device's own counters.
    pub counters: PortCounters,
    /// The driver's receive function in its words, for example `Vector AVX2`; none if the driver
    /// does not report it.
    pub rx_function: Option<String>,
    /// The driver's transmit function; none if the driver does not report it.
    pub tx_function: Option<String>,
}

/// How packets of a port reach the worker of their flow, and why in this way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// How, and why.
    #[serde(flatten)]
    pub method: SteeringMethod,
    /// The number of receive queues that the driver fills, if it is more than the method needs.
    pub filled_queues: Option<u16>,
    /// The queue that gets all flows, if the device was seen not to spread them.
    pub crowded_queue: Option<CrowdedQueue>,
}

/// A method of steering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum SteeringMethod {
    /// One worker gets all packets.
    #[default]
    OneWorker,
    /// The device spreads flows over a receive queue for each worker.
    Queues {
        /// The device does so by RSS over addresses and ports, rather than by a method of its own.
        rss: bool,
    },
    /// The workers that poll the port hand packets to the owners of their flows, by rings.
    Ring(RingReason),
}

/// Why packets are handed over by rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RingReason {
    /// The configuration says so.
    Configured,
    /// The device offers no RSS over addresses and ports.
    NoRss,
    /// The device has too few receive queues.
    FewQueues {
        /// The receive queues over which it can spread flows.
        queues: u16,
        /// The workers.
        workers: u16,
    },
}

/// A receive queue that gets all flows, although the device should spread them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrowdedQueue {
    /// The queue.
    pub queue: u16,
    /// The new flows that came to it while no packet came to another queue.
    pub flows: u64,
}

/// The link of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Frames can pass, as far as the driver and the kernel know.
    pub up: bool,
    /// Megabits per second; none if the link is down, or the driver does not know.
    pub speed_mbps: Option<u32>,
    /// Whether both directions can send at once; none if the link is down.
    pub duplex: Option<Duplex>,
    /// The kernel interface behind the port; none if there is none, or its state is not known yet.
    pub interface: Option<Interface>,
}

/// The directions of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplex {
    /// Both directions can send at once.
    Full,
    /// One direction at a time.
    Half,
}

/// The kernel interface behind a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name; none if it was removed before the name was known.
    pub name: Option<String>,
    /// Whether frames can pass.
    pub state: InterfaceState,
}

/// The state of a kernel interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterfaceState {
    /// Frames can pass.
    Up,
    /// It is set down.
    SetDown,
    /// There is no carrier.
    NoCarrier,
    /// There is a carrier, and the interface still waits, for example for 802.1X.
    NotOperational,
    /// It was removed. Another interface of its name does not replace it: only a restart helps.
    Removed,
}

/// Counters of one port's device, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// The port's name, `port.name` in the configuration.
    pub name: String,
    /// The fields of [`PortCounters`].
    pub counters: BTreeMap<String, u64>,
    /// All counters of the device, by its driver's names. Empty unless the request asks for them.
    pub extended: BTreeMap<String, u64>,
}

/// Counters that every device has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that the device dropped because no worker polled in time.
    pub rx_missed: u64,
    /// Erroneous packets.
    pub rx_errors: u64,
    /// Packets that the device dropped because it had no buffer.
    pub rx_no_buffer: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Packets that the device failed to send.
    pub tx_errors: u64,
}

impl PortCounters {
    /// The counters by the names of their fields.
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let PortCounters {
            rx_packets,
            rx_bytes,
            rx_missed,
            rx_errors,
            rx_no_buffer,
            tx_packets,
            tx_bytes,
            tx_errors,
        } = *self;
        [
            ("rx_packets", rx_packets),
            ("rx_bytes", rx_bytes),
            ("rx_missed", rx_missed),
            ("rx_errors", rx_errors),
            ("rx_no_buffer", rx_no_buffer),
            ("tx_packets", tx_packets),
            ("tx_bytes", tx_bytes),
            ("tx_errors", tx_errors),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }
}

/// The response to [`Request::Stats`]. Workers count while the daemon reads, so `received` may
/// differ from the sum of the verdicts by a few packets. Without traffic they are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Packets received.
    pub received: u64,
    /// Packets transmitted.
    pub transmitted: u64,
    /// Packets by verdict; every verdict is listed.
    pub verdicts: BTreeMap<String, u64>,
    /// Other events, for example `flow_table_full`.
    pub events: BTreeMap<String, u64>,
}

/// The response to [`Request::FlowList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// The flows found.
    pub flows: Vec<Flow>,
    /// More flows match than are listed.
    pub truncated: bool,
}

/// One flow table entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The worker that owns it.
    pub worker: u16,
    /// The flow's 64-bit tag in hexadecimal: the worker's keyed hash of the addresses and ports.
    pub tag: String,
    /// The pool of its backend.
    pub pool: String,
    /// Its backend.
    pub backend: String,
    /// Its state.
    pub state: FlowState,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
}
