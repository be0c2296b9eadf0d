//! Configurations and random numbers for tests.

use std::sync::atomic::{AtomicBool, Ordering};

use guideway_config::Configuration;

use crate::state::PortFacts;

/// A configuration with these backends, `(name, last byte of the address, more keys)`.
pub(crate) fn text(backends: &[(&str, u8, &str)]) -> String {
    let backends: Vec<String> = backends
        .iter()
        .map(|(name, n, more)| format!(r#"{{ name = "{name}", address = "192.0.2.{n}"{more} }}"#))
        .collect();
    let neighbors: String = (10..20)
        .map(|n| format!("[[neighbor]]\naddress = \"192.0.2.{n}\"\nmac = \"02:00:00:00:00:{n}\"\n"))
        .collect();
    format!(
        r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 1021
[dpdk]
workers = [0]
[flow]
entries = 64
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
{neighbors}
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
    )
}

/// Three backends.
pub(crate) const THREE: &[(&str, u8, &str)] = &[("a", 10, ""), ("b", 11, ""), ("c", 12, "")];

/// Two ports, three pools of both families with several encapsulations, a cluster and a tunnel's peer. No neighbour
/// is static but the IPv6 gateway.
pub(crate) const MIXED: &str = r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.64/28", "2001:db8::1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 601
[dpdk]
workers = [0]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
gateways = ["192.0.2.254"]
[[port]]
name = "edge1"
device = "net_null1"
addresses = ["198.51.100.1/24", "2001:db8::1/64"]
gateways = ["2001:db8::fe"]
mtu = 1400
mac = "02:00:00:00:00:07"
[[neighbor]]
address = "2001:db8::fe"
mac = "02:00:00:00:00:fe"
[[pool]]
name = "web"
mss_clamp = "auto"
backends = [
    { name = "a", address = "192.0.2.10" }, { name = "b", address = "192.0.2.11", weight = 3 },
    { name = "c", address = "10.0.0.1" }, { name = "d", address = "10.0.0.2" },
    { name = "e", address = "2001:db8::10" }, { name = "f", address = "2001:db8:1::1", enabled = false },
]
[[pool]]
name = "dns"
encapsulation = ["l2", "gue", "gre"]
backends = [
    { name = "a", address = "192.0.2.10" }, { name = "b", address = "198.51.100.10", weight = 0 },
    { name = "c", address = "10.0.0.3" },
]
[[pool]]
name = "spare"
encapsulation = "vxlan"
vni = 7
backends = [{ name = "a", address = "10.0.0.1" }]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
[[service]]
name = "web6"
address = "2001:db8:f::10"
protocol = "tcp"
port = 80
pool = "web"
echo = false
[[service]]
name = "dns"
address = "203.0.113.10"
protocol = "udp"
port = 53
pool = "dns"
unreachable = true
[cluster]
members = ["192.0.2.64", "192.0.2.2", "192.0.2.3"]
"#;

/// The ports of [`MIXED`].
pub(crate) fn ports() -> Vec<PortFacts> {
    let port = |n| PortFacts { device_mac: [2, 0, 0, 0, 0, n], filter: true };
    vec![port(1), port(2)]
}

/// Lets each pool of a configuration that was made by hand choose from its own backends alone.
pub(crate) fn choose_own(configuration: &mut Configuration) {
    for (index, pool) in configuration.pools.iter_mut().enumerate() {
        pool.levels = vec![index];
        pool.included.clear();
        pool.included = pool.choosable(index).collect();
    }
}

/// Numbers without a pattern, the same in each run: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ z >> 31) % end as u64).unwrap()
    }

    /// One of these.
    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Makes a worker stop taking new tables.
#[derive(Debug, Default)]
pub(crate) struct Brake {
    is_asked: AtomicBool,
    is_on: AtomicBool,
}

impl Brake {
    /// Stops the worker, and waits until it has stopped.
    pub(crate) fn pull(&self) {
        self.is_asked.store(true, Ordering::Release);
        while !self.is_on.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    /// Lets the worker go on.
    pub(crate) fn release(&self) {
        self.is_asked.store(false, Ordering::Release);
    }

    /// For the worker: whether it must not take new tables now.
    pub(crate) fn holds(&self) -> bool {
        let is_asked = self.is_asked.load(Ordering::Acquire);
        self.is_on.store(is_asked, Ordering::Release);
        is_asked
    }
}
