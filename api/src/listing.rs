//! What the listings hold: status, services, backends, workers, ports, statistics and flows.
//!
//! Counters run from the daemon's start and never fall. The daemon may add a field without raising
//! the protocol's version, so a client skips those that it does not know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::request::Request;
use crate::request::{FlowState, Protocol};

/// To [`Request::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `node.name`.
    pub node: String,
    /// The daemon's release.
    pub version: String,
    /// Seconds since the workers started.
    pub uptime_seconds: u64,
    /// The generation of the configuration last published.
    pub generation: u64,
    /// The oldest generation that a worker still runs; equal to `generation` when all agree.
    pub generation_in_force: u64,
    /// The daemon's configuration file.
    pub config_path: String,
    /// Workers.
    pub workers: usize,
    /// Ports.
    pub ports: usize,
    /// Services.
    pub services: usize,
    /// Backends.
    pub backends: usize,
    /// Flow table entries in use, all workers.
    pub flows: u64,
    /// Flow table entries there are, all workers.
    pub flow_capacity: u64,
    /// Fragments that wait for the first of their datagram, all workers.
    #[serde(default)]
    pub fragments_waiting: u64,
    /// Packets received, all workers.
    pub received: u64,
    /// Packets transmitted, all workers.
    pub transmitted: u64,
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
    /// Backends that take new flows.
    pub backends: usize,
    /// What was forwarded for it.
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
    /// What it takes now.
    pub state: BackendState,
    /// The encapsulation in use, for example `gre`.
    pub encapsulation: String,
    /// Why it is that one, in words.
    #[serde(default)]
    pub why: String,
    /// The share of the Maglev table, 0 to 1.
    pub share: f64,
    /// The port that its packets leave by; none while it has no next hop.
    pub port: Option<String>,
    /// The next hop's address and whether its MAC is known, in words.
    pub next_hop: String,
    /// What was forwarded to it.
    pub traffic: Traffic,
}

/// What a backend takes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// New flows and those it has.
    Active,
    /// Only the flows that it has (weight 0).
    Draining,
    /// Nothing.
    Disabled,
    /// It would take flows, but its next hop is not known.
    Unresolved,
}

impl BackendState {
    /// The name, as listings write it.
    pub fn name(self) -> &'static str {
        match self {
            BackendState::Active => "active",
            BackendState::Draining => "draining",
            BackendState::Disabled => "disabled",
            BackendState::Unresolved => "unresolved",
        }
    }
}

/// What went to one service or backend since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Their bytes as received, Ethernet header included.
    pub bytes: u64,
    /// Flows begun: choices made by the Maglev table.
    pub flows: u64,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its index.
    pub worker: u16,
    /// The CPU that it is pinned to, if it is.
    pub cpu: Option<u16>,
    /// The receive queues that it polls, `port:queue`.
    pub queues: Vec<String>,
    /// The generation of the configuration that it runs.
    pub generation: u64,
    /// Packets received from its queues.
    pub received: u64,
    /// Packets transmitted on its queues.
    pub transmitted: u64,
    /// Packets dropped, for any reason.
    pub dropped: u64,
    /// Flow table entries in use.
    pub flows: u64,
    /// Flow table entries there are.
    pub flow_capacity: u64,
    /// Polls since the start.
    pub polls: u64,
    /// Polls that found at least one packet.
    pub busy_polls: u64,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `port.name`.
    pub name: String,
    /// `port.device`.
    pub device: String,
    /// The DPDK driver.
    pub driver: String,
    /// The MAC address that it answers to.
    pub mac: String,
    /// The MTU.
    pub mtu: u16,
    /// The link, for example `up, 10000 Mb/s, full duplex`.
    pub link: String,
    /// Seconds since the link changed, or since the port was started.
    pub link_seconds: u64,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// How packets reach their worker, and why so.
    pub steering: String,
    /// The device's own counters.
    pub counters: PortCounters,
    /// The function that the driver chose for receiving, for example `Vector AVX2`; empty if it does not say.
    #[serde(default)]
    pub rx_function: String,
    /// The same for sending.
    #[serde(default)]
    pub tx_function: String,
}

/// What one port's device counted, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStats {
    /// `port.name`.
    pub name: String,
    /// The fields of [`PortCounters`].
    pub counters: BTreeMap<String, u64>,
    /// All that the device counts, by its driver's names. Empty unless it was asked for.
    pub extended: BTreeMap<String, u64>,
}

/// What the device itself counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets the device dropped because no one polled in time.
    pub rx_missed: u64,
    /// Erroneous packets.
    pub rx_errors: u64,
    /// Receptions that found no buffer.
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

/// To [`Request::Stats`]. Workers count while this is read, so that `received` may be a few packets
/// ahead of the sum of the verdicts on a busy appliance; at rest they are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Packets received.
    pub received: u64,
    /// Packets transmitted.
    pub transmitted: u64,
    /// Packets by verdict, every verdict there is.
    pub verdicts: BTreeMap<String, u64>,
    /// Occurrences that are no verdict, for example `flow_table_full`.
    pub events: BTreeMap<String, u64>,
}

/// To [`Request::FlowList`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// The flows found.
    pub flows: Vec<Flow>,
    /// There are more than were listed.
    pub truncated: bool,
}

/// One flow table entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The worker that owns it.
    pub worker: u16,
    /// The flow's 64-bit tag, hexadecimal: the worker's keyed hash of the addresses.
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
