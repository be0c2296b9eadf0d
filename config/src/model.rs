//! A validated configuration: what the rest of the program sees of the TOML file.
//!
//! Nothing here can be wrong by itself: names are unique and resolved, families fit, sizes are legal.
//! Only [`super::parse`] makes one.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::device;
use crate::routing::Routes;
use guideway_core::balancer::services::ServiceAddress;

pub use guideway_core::balancer::Protocol;
pub use guideway_core::balancer::encapsulation::{Encapsulation, GreKey, Parameters, UdpChecksum};
pub use guideway_core::balancer::fragment::Policy as FragmentPolicy;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `[node]`
    pub node: Node,
    /// `[hash]`
    pub hash: Hash,
    /// `[dpdk]`
    pub dpdk: Dpdk,
    /// `[flow]`
    pub flow: Flow,
    /// `[icmp]`
    pub icmp: Icmp,
    /// `[control]`
    pub control: Control,
    /// `[[port]]`, at least one
    pub ports: Vec<Port>,
    /// `[[neighbor]]`
    pub neighbors: Vec<Neighbor>,
    /// `[[pool]]`
    pub pools: Vec<Pool>,
    /// `[[service]]`
    pub services: Vec<Service>,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[tunnel]`
    pub tunnel: Tunnel,
    /// `[fragments]`
    pub fragments: Fragments,
}

impl Configuration {
    /// The routes that ports and neighbours make.
    pub fn routes(&self) -> Routes {
        let networks = self
            .ports
            .iter()
            .map(|port| (port.addresses.iter().copied(), port.gateways.iter().copied()));
        Routes::new(
            networks,
            self.neighbors.iter().map(|neighbor| (neighbor.address, neighbor.mac)),
        )
    }
}

/// Who this forwarder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `node.name`
    pub name: String,
    /// `node.tunnel_source`, the IPv4 prefix; of length 32 if it is one address
    pub tunnel_source_v4: Option<Ipv4Net>,
    /// `node.tunnel_source`, the IPv6 address
    pub tunnel_source_v6: Option<Ipv6Addr>,
}

/// What must be equal on every node of the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// `hash.key`
    pub key: [u8; 16],
    /// `hash.table_size`, a prime
    pub table_size: u32,
}

/// How the process uses CPUs and memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpdk {
    /// `dpdk.workers`: one worker for each CPU named
    pub workers: Vec<u16>,
    /// `dpdk.hugepages`
    pub hugepages: bool,
    /// `dpdk.memory`, MiB of packet memory
    pub memory_mib: u32,
    /// `dpdk.buffers`: the least number of packet buffers; never fewer than the queues can hold
    pub buffers: u32,
    /// `dpdk.idle`
    pub idle: Idle,
    /// `dpdk.eal_args`
    pub eal_args: Vec<String>,
}

/// What a worker does while no packet comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It polls again at once, always.
    #[default]
    Poll,
    /// It sleeps for some microseconds at a time.
    Pause,
    /// It sleeps until the device interrupts.
    Interrupt,
}

/// The flow tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// `flow.entries` of each worker, a power of two
    pub entries: usize,
    /// `flow.timeout`
    pub timeouts: Timeouts,
}

/// Idle times after which a flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `flow.timeout.syn`: after a SYN, with no packet since
    pub syn: Duration,
    /// `flow.timeout.established`
    pub established: Duration,
    /// `flow.timeout.half_closed`: after a FIN, with later packets
    pub half_closed: Duration,
    /// `flow.timeout.closing`: after a FIN or RST
    pub closing: Duration,
    /// `flow.timeout.unconfirmed`: without a SYN, and without a later second packet
    pub unconfirmed: Duration,
    /// `flow.timeout.udp`
    pub udp: Duration,
    /// `flow.timeout.reuse`: a SYN after this time may leave a draining backend
    pub reuse: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            syn: Duration::from_secs(60),
            established: Duration::from_secs(15 * 60),
            half_closed: Duration::from_secs(15 * 60),
            closing: Duration::from_secs(4 * 60),
            unconfirmed: Duration::from_secs(60),
            udp: Duration::from_secs(60),
            reuse: Duration::from_secs(4 * 60),
        }
    }
}

/// How many ICMP replies each worker sends. Echo replies and errors have a limit each, so that pings
/// do not displace reports of path MTUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// `icmp.rate`: replies of a kind per second; 0 for none
    pub rate: u32,
    /// `icmp.burst`: how many replies of a kind may be sent at once
    pub burst: u32,
}

impl Default for Icmp {
    fn default() -> Self {
        Icmp { rate: 1000, burst: 100 }
    }
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// `control.socket`
    pub socket: PathBuf,
    /// `control.group`: its members may use the socket; `None` is the group of the process
    pub group: Option<String>,
}

/// A MAC address.
pub type Mac = [u8; 6];

/// The addresses of an IPv4 network that no host has: the network's own, and its broadcast. A network
/// of 31 bits has neither (RFC 3021).
pub fn network_and_broadcast(prefix: IpNet) -> impl Iterator<Item = IpAddr> + use<> {
    let addresses = match prefix {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => {
            Some([v4.network().into(), v4.broadcast().into()])
        }
        _ => None,
    };
    addresses.into_iter().flatten()
}

/// A network port of the appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `port.name`
    pub name: String,
    /// `port.device`: a PCI address or a vdev with its arguments
    pub device: String,
    /// `port.addresses`
    pub addresses: Vec<IpNet>,
    /// `port.gateways`
    pub gateways: Vec<IpAddr>,
    /// `port.mtu`
    pub mtu: u16,
    /// `port.mac`
    pub mac: Option<Mac>,
    /// `port.steering`
    pub steering: Steering,
    /// `port.rx_descriptors`
    pub rx_descriptors: u16,
    /// `port.tx_descriptors`
    pub tx_descriptors: u16,
}

impl Port {
    /// The PCI addresses of the members if the device is a bond; otherwise none.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        device::members(&self.device)
    }
}

/// How packets of a port reach the worker that owns their flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steering {
    /// Queues where the device offers RSS, a ring otherwise.
    #[default]
    Auto,
    /// A queue for each worker: the device distributes flows.
    Queues,
    /// The workers that poll the port hash and hand over packets: one worker where the device allows.
    Ring,
}

/// A static neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// `neighbor.address`
    pub address: IpAddr,
    /// `neighbor.mac`
    pub mac: Mac,
}

/// Backends that are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `pool.name`
    pub name: String,
    /// `pool.mss_clamp`
    pub mss_clamp: Option<MssClamp>,
    /// `pool.backends`, in the file's order
    pub backends: Vec<Backend>,
}

/// The limit to which larger maximum segment sizes of clients are lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MssClamp {
    /// The largest that fits the port's MTU with the backend's encapsulation.
    Auto,
    /// This many bytes.
    To(u16),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// `backend.name`
    pub name: String,
    /// `backend.address`, the outer destination; unique in its pool
    pub address: IpAddr,
    /// `backend.weight`; 0 takes no new flows
    pub weight: u32,
    /// `backend.enabled`; false takes nothing
    pub enabled: bool,
    /// `backend.encapsulation`, or else the pool's: what the backend accepts, at least one
    pub encapsulations: Vec<Encapsulation>,
    /// The settings of the encapsulations: the backend's, or else the pool's
    pub parameters: Parameters,
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
    /// Index into [`Configuration::pools`]
    pub pool: usize,
    /// `service.echo`: false on one service turns off echo replies from its address
    pub echo: bool,
    /// `service.unreachable`: true on one service makes its address reply to UDP packets that are for
    /// no service
    pub unreachable: bool,
    /// `service.fragments`
    pub fragments: FragmentPolicy,
}

impl Service {
    /// Which packets are for the service.
    pub fn service_address(&self) -> ServiceAddress {
        service_address(self.address, self.protocol, self.port)
    }
}

/// The service address that these three keys make.
pub(super) fn service_address(address: IpAddr, protocol: Protocol, port: u16) -> ServiceAddress {
    ServiceAddress::new(address, protocol.number(), port)
}

/// The forwarders that share the virtual addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `cluster.members`; empty without a cluster
    pub members: Vec<Member>,
}

/// A forwarder of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its tunnel source
    pub address: IpAddr,
    /// Whether it is this node
    pub is_own: bool,
    /// Whether `cluster.down` lists it
    pub is_down: bool,
}

/// Who may tunnel packets to this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// `tunnel.peers`, networks; the members of the cluster are peers too
    pub peers: Vec<IpNet>,
}

/// The fragment table of each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// `fragments.contexts`: datagrams at a time
    pub contexts: usize,
    /// `fragments.packets`: packets that wait for their first fragment
    pub packets: usize,
    /// `fragments.bytes`: bytes of the packets that wait
    pub bytes: usize,
    /// `fragments.timeout`
    pub timeout: Duration,
}

/// Room for fragments that arrive out of order, which takes milliseconds: 2 MiB is 16 ms of 1 Gbit/s.
/// After two seconds a sender that needs a reply has sent its datagram again.
impl Default for Fragments {
    fn default() -> Self {
        Fragments { contexts: 4096, packets: 1024, bytes: 2 << 20, timeout: Duration::from_secs(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_two_bits_and_more_have_addresses_without_a_host() {
        let addresses = |text: &str| {
            network_and_broadcast(text.parse().unwrap())
                .map(|ip| ip.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(addresses("192.0.2.129/25"), ["192.0.2.128", "192.0.2.255"]);
        assert_eq!(addresses("192.0.2.1/30"), ["192.0.2.0", "192.0.2.3"]);
        assert_eq!(addresses("192.0.2.1/1"), ["128.0.0.0", "255.255.255.255"]);
        assert_eq!(addresses("192.0.2.1/31"), [""; 0]);
        assert_eq!(addresses("2001:db8::1/64"), [""; 0]);
    }
}
