//! `[[port]]`: a network port with its addresses and gateways.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::device;
use super::findings::{Checked, Located};
use super::model::{Mac, Port, Steering};
use super::section::Section;
use super::value;

/// `RTE_MAX_ETHPORTS` of a stock DPDK.
const MAX_PORTS: usize = 32;

const DEFAULT_MTU: u16 = 1500;

/// RFC 791: what every host must accept; anything below breaks IPv4 in practice.
const MIN_MTU: i64 = 576;

/// RFC 8200, section 5.
pub(super) const MIN_MTU_V6: u16 = 1280;

/// The usual jumbo frame.
const MAX_MTU: i64 = 9216;

const DEFAULT_DESCRIPTORS: u16 = 1024;

#[derive(Debug)]
pub(super) struct PortDraft {
    name: Checked<Located<String>>,
    device: Checked<Located<String>>,
    pub(super) addresses: Checked<Vec<Located<IpNet>>>,
    pub(super) gateways: Checked<Vec<Located<IpAddr>>>,
    pub(super) mtu: Checked<Located<u16>>,
    pub(super) mac: Checked<Option<Located<Mac>>>,
    steering: Checked<Located<Steering>>,
    rx_descriptors: Checked<Located<u16>>,
    tx_descriptors: Checked<Located<u16>>,
}

impl PortDraft {
    pub(super) fn finish(self) -> Checked<Port> {
        Ok(Port {
            name: self.name?.value,
            device: self.device?.value,
            addresses: self.addresses?.into_iter().map(|prefix| prefix.value).collect(),
            gateways: self.gateways?.into_iter().map(|gateway| gateway.value).collect(),
            mtu: self.mtu?.value,
            mac: self.mac?.map(|mac| mac.value),
            steering: self.steering?.value,
            rx_descriptors: self.rx_descriptors?.value,
            tx_descriptors: self.tx_descriptors?.value,
        })
    }
}

/// What no two ports may share, with the position of its first use.
#[derive(Default)]
struct Seen {
    names: HashMap<String, usize>,
    devices: HashMap<String, usize>,
    addresses: HashMap<IpAddr, usize>,
    networks: HashMap<IpNet, usize>,
}

pub(super) fn read(root: &mut Section<'_>) -> Checked<Vec<PortDraft>> {
    let sections = root.tables("port")?;
    let (at, sections) = sections.map_or((0, Vec::new()), |found| (found.at, found.value));
    if sections.is_empty() {
        let message = "there is no port; write at least one section [[port]] with name and device";
        return Err(root.mistake(at, "port", message));
    }
    if let Some(beyond) = sections.get(MAX_PORTS) {
        let message = format!("there are {} ports; DPDK has {MAX_PORTS} at most", sections.len());
        return Err(root.mistake(beyond.at, "port", message));
    }
    let mut seen = Seen::default();
    let drafts: Vec<PortDraft> = sections.into_iter().map(|s| port(s, &mut seen)).collect();
    Ok(drafts)
}

fn port(mut section: Section<'_>, seen: &mut Seen) -> PortDraft {
    const STEERING: [(&str, Steering); 3] =
        [("auto", Steering::Auto), ("queues", Steering::Queues), ("ring", Steering::Ring)];
    let name = section.required("name", "\"edge0\"", value::text(value::identifier));
    let name = name.and_then(|name| {
        section.unique("name", &name, &mut seen.names)?;
        Ok(name)
    });
    let device = section.required("device", "\"0000:3b:00.0\"", value::text(device::read));
    let device = device.and_then(|device| {
        for name in device::names(&device.value) {
            let name = Located { value: name.to_owned(), at: device.at };
            section.unique("device", &name, &mut seen.devices)?;
        }
        Ok(device)
    });
    let addresses = section.list("addresses", "[\"192.0.2.1/24\"]", value::text(value::prefix));
    let addresses =
        addresses.and_then(|list| addresses_of(&section, list.unwrap_or_default(), seen));
    let gateways = section.list("gateways", "[\"192.0.2.254\"]", value::text(value::host));
    let gateways =
        gateways.and_then(|list| gateways_of(&section, list.unwrap_or_default(), &addresses));
    let mtu = section.or("mtu", DEFAULT_MTU, value::integer(MIN_MTU..=MAX_MTU));
    let mtu = mtu.and_then(|mtu| {
        let v6 =
            |list: &Vec<Located<IpNet>>| list.iter().any(|prefix| prefix.value.addr().is_ipv6());
        if mtu.value < MIN_MTU_V6 && addresses.as_ref().is_ok_and(v6) {
            let message =
                format!("is {}; a port with an IPv6 address needs {MIN_MTU_V6}", mtu.value);
            return Err(section.mistake(mtu.at, "mtu", message));
        }
        Ok(mtu)
    });
    let mac = section.optional("mac", value::text(value::mac));
    let steering = section.or("steering", Steering::default(), value::word(&STEERING));
    let mut descriptors =
        |key| section.or(key, DEFAULT_DESCRIPTORS, value::power_of_two::<u16>(64..=32_768));
    let rx_descriptors = descriptors("rx_descriptors");
    let tx_descriptors = descriptors("tx_descriptors");
    section.finish();
    PortDraft {
        name,
        device,
        addresses,
        gateways,
        mtu,
        mac,
        steering,
        rx_descriptors,
        tx_descriptors,
    }
}

fn addresses_of(
    section: &Section<'_>,
    list: Vec<Located<IpNet>>,
    seen: &mut Seen,
) -> Checked<Vec<Located<IpNet>>> {
    const KEY: &str = "addresses";
    let mut result = Ok(());
    for (index, &Located { value, at }) in list.iter().enumerate() {
        if let Some(first) = seen.addresses.insert(value.addr(), at) {
            let message = format!(
                "{} is on line {} already; an address belongs to one port",
                value.addr(),
                section.findings.line(first)
            );
            result = Err(section.mistake_in(KEY, index, at, message));
            continue;
        }
        let wide = value.max_prefix_len() - value.prefix_len() > 1;
        if wide && value.network() == value.addr() {
            let message = format!(
                "{} is the address of the network itself; write an address of this host in it",
                value.addr()
            );
            section.warn(at, KEY, message);
        }
        if let Some(first) = seen.networks.insert(value.trunc(), at) {
            let message = format!(
                "line {} has an address in the same network; packets to it leave by the first port",
                section.findings.line(first)
            );
            section.warn(at, KEY, message);
        }
    }
    result.map(|()| list)
}

fn gateways_of(
    section: &Section<'_>,
    list: Vec<Located<IpAddr>>,
    addresses: &Checked<Vec<Located<IpNet>>>,
) -> Checked<Vec<Located<IpAddr>>> {
    const KEY: &str = "gateways";
    let mut result = Ok(());
    for (index, &Located { value, at }) in list.iter().enumerate() {
        let same_family = |other: &&Located<IpAddr>| other.value.is_ipv4() == value.is_ipv4();
        if list[..index].iter().any(|other| other.value == value) {
            let message = format!("{value} is listed twice; keep one");
            result = Err(section.mistake_in(KEY, index, at, message));
        } else if let Some(first) = list[..index].iter().find(same_family) {
            let message =
                format!("{value} is not used: the first of its family is, {}", first.value);
            section.warn(at, KEY, message);
        }
        // A link-local address is on the link of its port by definition (RFC 4291, section 2.5.6).
        let Ok(addresses) = addresses else { continue };
        let on_link = addresses.iter().any(|prefix| prefix.value.contains(&value));
        if !on_link && !value::is_link_local_v6(value) {
            let message = format!("{value} lies in none of this port's addresses' networks");
            result = Err(section.mistake_in(KEY, index, at, message));
        }
    }
    result.map(|()| list)
}
