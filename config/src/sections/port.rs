//! `[[port]]`: a network port with its addresses and gateways.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::device::{self, DEVICE};
use crate::declare::section;
use crate::findings::{Checked, Place, excerpt};
use crate::kind::{Boolean, Integer, Text, Words, integer, power_of_two};
use crate::section::Section;
use crate::shape::Form;
use crate::text::{HOST, IDENTIFIER, MAC, Mac, PREFIX, is_link_local_v6, within};

/// `RTE_MAX_ETHPORTS` of a stock DPDK.
const MAX_PORTS: usize = 32;

/// RFC 791: what every host must accept; anything below breaks IPv4 in practice.
const MIN_MTU: i64 = 576;

/// RFC 8200, section 5.
pub(crate) const MIN_MTU_V6: u16 = 1280;

/// The usual jumbo frame.
const MAX_MTU: i64 = 9216;

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

const STEERING: Words<Steering> =
    Words(&[("auto", Steering::Auto), ("queues", Steering::Queues), ("ring", Steering::Ring)]);

const DESCRIPTION: Text<String> = Text {
    form: &Form { noun: "string", limits: "up to 255 bytes on one line", pattern: "^.{0,255}$" },
    parse: |text| {
        let expected = "up to 255 bytes without control characters";
        within(text, 0..=255, |c| !c.is_control(), expected)
    },
};

/// The value of `port.interface` for a port without interface.
const NO_INTERFACE: &str = "none";

const INTERFACE: Text<String> = Text {
    form: &Form {
        noun: "string",
        limits: "1 to 15 bytes without white space, `/`, `:` and `%`",
        pattern: r"^[^\s/:%]{1,15}$",
    },
    parse: interface_name,
};

/// The kernel's rule for names of devices. `%` begins a pattern for which the kernel would choose a
/// name, and the directories of sysctls have entries `all` and `default`.
fn interface_name(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "1 to 15 bytes without white space, `/`, `:` and `%`";
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"/:%".contains(c);
    let name = within(text, 1..=15, allowed, EXPECTED)?;
    if [".", "..", "all", "default"].contains(&name.as_str()) {
        return Err("expected another name: the kernel has no device of this one".to_owned());
    }
    Ok(name)
}

fn descriptors() -> Integer<u16> {
    power_of_two(64..=32_768)
}

section! {
    /// A network port of the appliance.
    ///
    /// Several NICs can be one port, see [Bonds](operations.md#bonds).
    "[[port]]" 1..=MAX_PORTS => Port, PortDraft {
        /// Its name in listings, unique.
        name: String = IDENTIFIER, required "\"edge0\"", restart;
        /// A PCI address (`0000:3b:00.0`, or `3b:00.0`) or a virtual device (`net_...`, up to 63
        /// characters), then optionally a comma and the driver's arguments. Unique without the arguments.
        device: String = DEVICE, required "\"0000:3b:00.0\"", restart;
        /// The name of its [interface](operations.md#the-ports-interface), the kernel's device by
        /// which the node itself uses the port. Unique, or `none` for a port without interface.
        interface: String = INTERFACE, optional "\"edge0\"" else "the port's name", restart;
        /// Whether Guideway puts `addresses` on the interface. Without it the operator's tools do, and
        /// `addresses` stays empty.
        manage_addresses: bool = Boolean, default "true", restart;
        /// The port's addresses with prefix length. Each address on one port only. Hosts in these
        /// networks are reached directly.
        addresses: IpNet = PREFIX, list "[\"192.0.2.1/24\"]", reload;
        /// Each in one of the port's networks, or link-local IPv6, and not the node's own. The first of
        /// each family is used; others are a warning.
        gateways: IpAddr = HOST, list "[\"192.0.2.254\"]", reload;
        /// At least 1280 on a port with an IPv6 address. Without the Ethernet header, with outer
        /// headers: see [The MTU](operations.md#the-mtu).
        mtu: u16 = integer(MIN_MTU..=MAX_MTU), default "1500", restart, unit "bytes";
        /// Its MAC address. Frames to another unicast address are dropped and counted.
        mac: Mac = MAC, optional "\"02:00:00:00:00:01\"" else "the device's", reload;
        /// What the port is for, in the operator's words: `guidewayctl port list -o json` shows it.
        description: String = DESCRIPTION, default "\"\"", reload;
        /// How packets reach the worker of their flow, see [Steering](operations.md#steering).
        steering: Steering = STEERING, default "\"auto\"", restart;
        /// Descriptors of each receive queue.
        rx_descriptors: u16 = descriptors(), default "1024", restart;
        /// Descriptors of each transmit queue.
        tx_descriptors: u16 = descriptors(), default "1024", restart;
    }
}

impl PortDraft {
    /// Whether the port has an interface. A name with a mistake counts as one.
    pub(crate) fn has_interface(&self) -> bool {
        self.interface.as_ref().map_or(true, |name| name.as_deref() != Some(NO_INTERFACE))
    }
}

impl Port {
    /// The name of the kernel's device of this port; `None` if it has none.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref().filter(|&name| name != NO_INTERFACE)
    }

    /// The PCI addresses of the members if the device is a bond; otherwise none.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        device::members(&self.device)
    }
}

/// What no two ports may share, with the line of its first use.
#[derive(Default)]
struct Seen<'a> {
    names: HashMap<String, Place<'a>>,
    interfaces: HashMap<String, Place<'a>>,
    devices: HashMap<String, Place<'a>>,
    addresses: HashMap<IpAddr, Place<'a>>,
    networks: HashMap<IpNet, Place<'a>>,
}

pub(crate) fn read(root: &Section<'_>) -> Checked<Vec<PortDraft>> {
    let sections = root.tables("port")?.unwrap_or_default();
    if sections.is_empty() {
        let message = "there is no port; write at least one section [[port]] with name and device";
        return Err(root.mistake("port", message));
    }
    if sections.len() > MAX_PORTS {
        let message = format!("there are {} ports; DPDK has {MAX_PORTS} at most", sections.len());
        return Err(root.mistake_at(&format!("port[{MAX_PORTS}]"), "port", message));
    }
    let mut seen = Seen::default();
    Ok(sections.iter().map(|section| port(section, &mut seen)).collect())
}

fn port<'a>(section: &Section<'a>, seen: &mut Seen<'a>) -> PortDraft {
    let mut draft = PortDraft::read(section);
    let is_repeated = draft.name.as_ref().is_ok_and(|name| seen.names.contains_key(name));
    section.unique("name", &draft.name, &mut seen.names);
    for name in draft.device.iter().flat_map(|device| device::names(device)) {
        section.unique("device", &Ok(name.to_owned()), &mut seen.devices);
    }
    interface(section, &mut draft, is_repeated, seen);
    if let Ok(list) = &draft.addresses {
        addresses(section, list, seen);
        let has_v6 = list.iter().any(|prefix| prefix.addr().is_ipv6());
        if let Ok(mtu) = draft.mtu
            && mtu < MIN_MTU_V6
            && has_v6
        {
            let message = format!("is {mtu}; a port with an IPv6 address needs {MIN_MTU_V6}");
            draft.mtu = Err(section.mistake("mtu", message));
        }
    }
    section.distinct("gateways", &draft.gateways);
    draft.gateways = draft.gateways.and_then(|list| gateways(section, list, &draft.addresses));
    draft
}

/// Completes the name of the interface, and judges it and who manages its addresses.
///
/// `is_repeated`: another port has the name too, so that an interface of this name is no news.
fn interface<'a>(
    section: &Section<'a>,
    draft: &mut PortDraft,
    is_repeated: bool,
    seen: &mut Seen<'a>,
) {
    const KEY: &str = "interface";
    let is_default = matches!(draft.interface, Ok(None));
    if let (true, Ok(name)) = (is_default, &draft.name) {
        let usable = interface_name(name).is_ok() && name != NO_INTERFACE;
        draft.interface = if usable {
            Ok(Some(name.clone()))
        } else {
            let message = format!(
                "is missing, and the port's name {} is no name for a device of the kernel; write \
                 for example {KEY} = \"edge0\" ({}), or \"{NO_INTERFACE}\"",
                excerpt(name),
                INTERFACE.form.limits
            );
            Err(section.mistake(KEY, message))
        };
    }
    let Ok(Some(name)) = &draft.interface else { return };
    let has_one = name != NO_INTERFACE;
    if has_one && !(is_default && is_repeated) {
        section.unique(KEY, &Ok(name.clone()), &mut seen.interfaces);
    }
    if !matches!(draft.manage_addresses, Ok(false)) {
        return;
    }
    if !has_one {
        section.warn("manage_addresses", "has no effect: the port has no interface");
    } else if matches!(&draft.addresses, Ok(list) if !list.is_empty()) {
        let message = "the interface's addresses are set by others, since manage_addresses is \
                       false; remove these and set them there, or remove manage_addresses";
        draft.addresses = Err(section.mistake("addresses", message));
    }
}

fn addresses<'a>(section: &Section<'a>, list: &[IpNet], seen: &mut Seen<'a>) {
    const KEY: &str = "addresses";
    for (index, &value) in list.iter().enumerate() {
        let path = format!("{KEY}[{index}]");
        let line = section.line(&path);
        if let Some(first) = seen.addresses.insert(value.addr(), line) {
            let message = format!(
                "{} is on line {first} already; an address belongs to one port",
                value.addr()
            );
            section.mistake(&path, message);
            continue;
        }
        let wide = value.max_prefix_len() - value.prefix_len() > 1;
        if wide && value.network() == value.addr() {
            let message = format!(
                "{} is the address of the network itself; write an address of this host in it",
                value.addr()
            );
            section.warn_at(&path, KEY, message);
        }
        // Several addresses of one port in a network are usual: one for each purpose.
        let is_own = list[..index].iter().any(|other| other.trunc() == value.trunc());
        let first = seen.networks.insert(value.trunc(), line);
        if let Some(first) = first.filter(|_| !is_own) {
            let message = format!(
                "line {first} has an address in the same network; packets to it leave by the first \
                 port"
            );
            section.warn_at(&path, KEY, message);
        }
    }
}

fn gateways(
    section: &Section<'_>,
    list: Vec<IpAddr>,
    addresses: &Checked<Vec<IpNet>>,
) -> Checked<Vec<IpAddr>> {
    const KEY: &str = "gateways";
    let mut result = Ok(());
    for (index, &value) in list.iter().enumerate() {
        let path = format!("{KEY}[{index}]");
        let same_family = |other: &&IpAddr| other.is_ipv4() == value.is_ipv4();
        if let Some(first) = list[..index].iter().find(same_family) {
            let message = format!("{value} is not used: the first of its family is, {first}");
            section.warn_at(&path, KEY, message);
        }
        // A link-local address is on the link of its port by definition (RFC 4291, section 2.5.6).
        let Ok(addresses) = addresses else { continue };
        let on_link = addresses.iter().any(|prefix| prefix.contains(&value));
        if !on_link && !is_link_local_v6(value) {
            let message = format!("{value} lies in none of this port's addresses' networks");
            result = Err(section.mistake(&path, message));
        }
    }
    result.map(|()| list)
}
