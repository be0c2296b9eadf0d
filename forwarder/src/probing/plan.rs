//! What the interface of probes has to be, by the configuration.

use std::net::IpAddr;

use guideway_config::Configuration;

/// The least MTU of an interface with IPv6 (RFC 8200 section 5).
const LEAST_MTU: u16 = 1280;

/// What the interface has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its name.
    pub(super) name: String,
    /// The longest packet.
    pub(super) mtu: u16,
    /// Its addresses: those of `node.check_source` that no port has.
    pub(super) addresses: Vec<IpAddr>,
    /// The interfaces of the ports, by which answers come.
    pub(super) ports: Vec<String>,
}

impl Plan {
    /// What a configuration asks for; `None` for no interface.
    pub(super) fn of(configuration: &Configuration) -> Option<Plan> {
        let sources = &configuration.node.check_sources;
        let ports: Vec<_> =
            configuration.ports.iter().filter_map(|port| port.interface()).collect();
        if sources.is_empty() || ports.is_empty() {
            return None;
        }
        let is_of_port = |source: &IpAddr| {
            let addresses = configuration.ports.iter().flat_map(|port| &port.addresses);
            addresses.into_iter().any(|address| address.addr() == *source)
        };
        Some(Plan {
            name: configuration.probe.interface.clone(),
            mtu: mtu(configuration),
            addresses: sources.iter().copied().filter(|source| !is_of_port(source)).collect(),
            ports: ports.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The longest packet that leaves by every port in every encapsulation of every backend.
fn mtu(configuration: &Configuration) -> u16 {
    let ports = configuration.ports.iter().map(|port| port.mtu);
    let backends = configuration.pools.iter().flat_map(|pool| &pool.backends);
    let overheads = backends.flat_map(|backend| {
        let of = |encapsulation: &guideway_config::Encapsulation| {
            encapsulation.overhead(&backend.parameters, backend.address.is_ipv6())
        };
        backend.encapsulations.iter().map(of)
    });
    let overhead = u16::try_from(overheads.max().unwrap_or(0)).unwrap_or(u16::MAX);
    ports.min().unwrap_or(LEAST_MTU).saturating_sub(overhead).max(LEAST_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sources: &str, ports: &str, backends: &str) -> Option<Plan> {
        let text = format!(
            r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1", "2001:db8::1"]
check_source = [{sources}]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[dpdk]
workers = [0]
{ports}
[[pool]]
name = "web"
backends = [{backends}]
"#
        );
        Plan::of(&guideway_config::parse(&text).unwrap().configuration)
    }

    const EDGE: &str = "[[port]]\nname = 'edge0'\ndevice = 'net_null0'\n\
                        addresses = ['198.51.100.1/24', '198.51.100.9/24']\n";
    const SMALL: &str = "[[port]]\nname = 'edge1'\ndevice = 'net_null1'\nmtu = 1400\n";
    const GRE: &str = r#"{ name = "a", address = "10.0.0.1" }"#;

    #[test]
    fn there_is_an_interface_while_probes_have_an_address() {
        assert_eq!(plan("", EDGE, GRE), None);
        let whole = plan(r#""198.51.100.9", "10.255.0.9", "2001:db8:e::9""#, EDGE, GRE).unwrap();
        assert_eq!(whole.name, "gwcheck");
        let elsewhere: Vec<IpAddr> =
            ["10.255.0.9", "2001:db8:e::9"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(whole.addresses, elsewhere, "the port has the other one");
        assert_eq!(whole.ports, ["edge0"]);
        let none = EDGE.replace("name =", "interface = 'none'\nname =");
        let neighbor = "[[neighbor]]\naddress = '198.51.100.7'\nmac = '02:00:00:00:00:07'\n";
        let near = r#"{ name = "a", address = "198.51.100.7" }"#;
        let silent = plan(r#""10.255.0.9""#, &format!("{none}{neighbor}"), near);
        assert_eq!(silent, None, "no answer could come");
    }

    #[test]
    fn a_packet_fits_every_port_in_every_encapsulation() {
        let mtu =
            |ports: &str, backends: &str| plan(r#""10.255.0.9""#, ports, backends).unwrap().mtu;
        // 20 bytes of IPv4 and 4 of GRE; 40 of IPv6.
        assert_eq!(mtu(EDGE, GRE), 1476);
        assert_eq!(mtu(EDGE, &GRE.replace("10.0.0.1", "2001:db8:b::1")), 1456);
        assert_eq!(mtu(&format!("{EDGE}{SMALL}"), GRE), 1376);
        // 20 of IPv4, 8 of UDP, 8 of VXLAN, 14 of Ethernet.
        let vxlan = r#"{ name = "v", address = "10.0.0.2", encapsulation = "vxlan", vni = 7,
                        inner_destination_mac = "02:00:00:00:00:aa" }"#
            .replace('\n', " ");
        let both = format!("{GRE}, {vxlan}");
        assert_eq!(mtu(EDGE, &both), 1450);
        assert_eq!(mtu(&SMALL.replace("1400", "1290"), &both), 1280, "IPv6 needs as much");
    }
}
