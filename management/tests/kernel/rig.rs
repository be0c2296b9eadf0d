//! A manager that follows the kernel in a namespace of its own, with two ports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use guideway_chassis::event::Recorder;
use guideway_config::Configuration;
use guideway_management::kernel::{self, Options, PortInterface, View};
use guideway_management::manager::{self, Change, Limits, Manager};
use guideway_management::routing::{NextHop, Routing, Unreachable};
use guideway_management::state::PortFacts;

use crate::space::{Space, ip, until};

/// Two ports, `edge0` and `edge1`, each connected to a device of another namespace.
pub(crate) struct Rig {
    /// Before the manager, to which its thread sends changes.
    pub(crate) kernel: Option<kernel::Handle>,
    pub(crate) manager: manager::Handle,
    pub(crate) peer: Space,
    pub(crate) events: Recorder,
}

/// A configuration with these backends, without any static route.
pub(crate) fn configuration(backends: &[String]) -> (Configuration, String) {
    let table_size = match backends.len() {
        0..500 => 65_537,
        500..2000 => 200_003,
        _ => 2_000_003,
    };
    let backends: Vec<String> = backends
        .iter()
        .enumerate()
        .map(|(n, address)| format!(r#"{{ name = "b{n}", address = "{address}" }}"#))
        .collect();
    let text = format!(
        r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1", "2001:db8::1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = {table_size}
[dpdk]
workers = [0]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
gateways = ["192.0.2.254", "2001:db8::fe"]
[[port]]
name = "edge1"
device = "net_null1"
addresses = ["198.51.100.1/24"]
[[neighbor]]
address = "192.0.2.77"
mac = "02:00:00:00:00:77"
[[pool]]
name = "web"
backends = [ {} ]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
"#,
        backends.join(", ")
    );
    let mut configuration = guideway_config::parse(&text).unwrap().configuration;
    for port in &mut configuration.ports {
        port.addresses.clear();
        port.gateways.clear();
    }
    (configuration, text)
}

/// Starts a manager and the thread that follows the kernel, and waits until it has read everything.
fn follow(
    backends: &[String],
    options: Options,
    events: Recorder,
) -> (kernel::Handle, manager::Handle) {
    let (configuration, text) = configuration(backends);
    let facts = |n| PortFacts { device_mac: [2, 0, 0, 0, 0, n], filter: true };
    let manager = Manager::new(configuration, text, vec![facts(1), facts(2)]).unwrap();
    let manager = manager.start(Vec::new(), Limits::default());
    let port = |port| PortInterface { port, interface: format!("edge{port}") };
    let (changes, published) = (manager.changes().clone(), Arc::clone(manager.published()));
    let ports = vec![port(0), port(1)];
    let kernel = kernel::start(ports, changes, published, options, events).unwrap();
    until("all was read and published", || {
        let asked = manager.published().load().routing.routes().count();
        kernel.view().load().health.is_running && asked == backends.len()
    });
    (kernel, manager)
}

impl Rig {
    pub(crate) fn new(backends: &[&str]) -> Rig {
        Rig::with(
            &backends.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(),
            Options::default(),
        )
    }

    pub(crate) fn with(backends: &[String], options: Options) -> Rig {
        let peer = Space::new();
        for (n, network) in [(0, "192.0.2"), (1, "198.51.100")] {
            ip(&format!("link add edge{n} type veth peer name peer{n}"));
            ip(&format!("link set peer{n} netns {}", peer.id()));
            ip(&format!("address add {network}.1/24 dev edge{n}"));
            ip(&format!("link set edge{n} up"));
            peer.ip(&format!("address add {network}.9/24 dev peer{n}"));
            peer.ip(&format!("link set peer{n} up"));
        }
        ip("address add 2001:db8::1/64 dev edge0 nodad");
        peer.ip("address add 2001:db8::9/64 dev peer0 nodad");
        let events = Recorder::default();
        let (kernel, manager) = follow(backends, options, events.clone());
        Rig { kernel: Some(kernel), manager, peer, events }
    }

    /// What somebody makes of the kernel's tables who reads them now for the first time.
    pub(crate) fn read_anew(&self, backends: &[String]) -> Routing {
        let options = Options { probes: true, ..Options::default() };
        let (_kernel, manager) = follow(backends, options, Recorder::default());
        manager.published().load().routing.clone()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.kernel.as_ref().unwrap().view().load_full()
    }

    /// The next hop of a backend in the tables that are published.
    pub(crate) fn hop(&self, address: &str) -> Result<NextHop, Unreachable> {
        let address: IpAddr = address.parse().unwrap();
        let published = self.manager.published().load();
        let backends = published.configuration.pools[0].backends.iter();
        let index = backends.clone().position(|backend| backend.address == address).unwrap();
        let hop = published.pools[0].backends[index].next_hop.clone();
        assert_eq!(hop, published.routing.way(address), "{address}");
        hop
    }

    /// Waits until the next hop of a backend is this, on this port.
    pub(crate) fn until_hop(&self, address: &str, port: usize, hop: &str) -> Duration {
        let expected: IpAddr = hop.parse().unwrap();
        until(&format!("{address} by port {port} and {hop}"), || {
            let hop = self.hop(address);
            hop.is_ok_and(|hop| (hop.port, hop.address) == (port, expected))
        })
    }

    /// Waits until a backend is unreachable for this reason.
    pub(crate) fn until_not(&self, address: &str, why: &Unreachable) -> Duration {
        until(&format!("{address} is unreachable: {why}"), || {
            self.hop(address).as_ref() == Err(why)
        })
    }

    /// Waits until the next hop of a backend has a MAC address that fits.
    pub(crate) fn until_mac(
        &self,
        address: &str,
        fits: impl Fn(Option<[u8; 6]>) -> bool,
    ) -> Duration {
        until(&format!("the MAC address for {address}"), || {
            self.hop(address).is_ok_and(|hop| fits(hop.mac))
        })
    }

    pub(crate) fn configure(&self, backends: &[&str]) {
        let backends: Vec<String> = backends.iter().map(|text| (*text).to_owned()).collect();
        let (configuration, text) = configuration(&backends);
        let configuration = Box::new(configuration);
        self.manager.changes().send(Change::Configuration { configuration, text }).turn().wait();
    }
}
