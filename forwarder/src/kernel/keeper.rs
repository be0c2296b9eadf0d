//! Keeps an interface as its port is: carrier, addresses, MAC address. It belongs to the thread that
//! watches the links, which hears of the kernel's devices too.

use ipnet::IpNet;
use tracing::warn;

use super::device::{Interface, warn_if_taken};
use guideway_api::Happening;
use guideway_chassis::event::Recorder;
use guideway_config as config;
use guideway_netlink::{Error, Requests};

/// Keeps one interface.
pub(crate) struct Keeper {
    /// The port's name.
    port: String,
    interface: Interface,
    /// Its name as the kernel last said.
    name: String,
    mac: [u8; 6],
    /// The device's own address: the interface's where none is configured.
    device_mac: [u8; 6],
    has_carrier: bool,
    /// The addresses that it was given.
    addresses: Vec<IpNet>,
    events: Recorder,
}

impl Keeper {
    /// A keeper of an interface that was just made for `port`.
    pub(crate) fn new(
        port: &config::Port,
        device_mac: [u8; 6],
        interface: Interface,
        events: Recorder,
    ) -> Keeper {
        Keeper {
            port: port.name.clone(),
            name: interface.name.clone(),
            mac: port.mac.unwrap_or(device_mac),
            device_mac,
            has_carrier: true,
            addresses: managed(port),
            interface,
            events,
        }
    }

    /// The kernel's index of the interface.
    pub(crate) fn index(&self) -> u32 {
        self.interface.index
    }

    /// Gives the interface the carrier of its port.
    pub(crate) fn set_carrier(&mut self, requests: &mut Requests, has_carrier: bool) {
        if has_carrier == self.has_carrier || self.interface.counters.is_removed() {
            return;
        }
        self.has_carrier = has_carrier;
        let result = requests.set_carrier(self.interface.index, has_carrier);
        self.report("set its carrier", result);
    }

    /// Brings the interface in line with a configuration that is in force from now on.
    pub(crate) fn configure(&mut self, requests: &mut Requests, port: &config::Port) {
        if self.interface.counters.is_removed() {
            return;
        }
        let index = self.interface.index;
        let mac = port.mac.unwrap_or(self.device_mac);
        if mac != self.mac {
            self.mac = mac;
            self.report("set its MAC address", requests.set_mac(index, mac));
        }
        let wanted = managed(port);
        for &address in self.addresses.iter().filter(|address| !wanted.contains(address)) {
            let result = requests.remove_address(index, address);
            self.report(&format!("remove the address {address}"), result);
        }
        for &address in wanted.iter().filter(|address| !self.addresses.contains(address)) {
            warn_if_taken(&self.name, address);
            let result = requests.add_address(index, address);
            self.report(&format!("add the address {address}"), result);
        }
        self.addresses = wanted;
    }

    /// Notes that the interface exists, by this name.
    pub(crate) fn found(&mut self, name: &str) {
        if name == self.name {
            return;
        }
        let (port, from, made) = (self.port.clone(), &self.name, &self.interface.name);
        let words = if name == made {
            format!("port \"{port}\": its interface is named {made} again")
        } else {
            format!(
                "port \"{port}\": its interface {from} was renamed to {name} and works on; what is configured \
                 for {made} does not apply to it: rename it back, or change port.interface and restart guideway"
            )
        };
        let (from, to) = (from.clone(), name.to_owned());
        self.events.explain(Happening::InterfaceRenamed { port, from, to }, &words);
        name.clone_into(&mut self.name);
    }

    /// Notes that the interface does not exist any more.
    pub(crate) fn removed(&mut self) {
        if self.interface.counters.is_removed() {
            return;
        }
        self.interface.counters.set_removed();
        let (port, interface) = (self.port.clone(), self.name.clone());
        let words = format!(
            "port \"{port}\": its interface {interface} was removed or moved to another network namespace; \
             forwarding goes on, but the kernel does not take part any more, in ARP for example: restart guideway"
        );
        self.events.explain(Happening::InterfaceRemoved { port, interface }, &words);
    }

    fn report(&self, what: &str, result: Result<(), Error>) {
        if let Err(error) = result {
            warn!("interface {}: cannot {what}: {error}", self.name);
        }
    }
}

/// The addresses that the interface of a port is given.
pub(super) fn managed(port: &config::Port) -> Vec<IpNet> {
    if port.manage_addresses { port.addresses.clone() } else { Vec::new() }
}
