//! The devices of the ports, in the form of arguments for DPDK's EAL.

use std::iter;
use std::path::Path;

use crate::dpdk::bond;
use guideway_config as config;

/// A device of DPDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's name, and its driver's arguments.
    argument: String,
    /// PCI addresses of a bond's members.
    members: Vec<String>,
}

impl Device {
    /// The configured device of a port.
    pub(super) fn of(port: &config::Port) -> Device {
        let members = port.members().map(str::to_owned).collect();
        Device { argument: port.device.clone(), members }
    }

    /// A device of DPDK's pcap driver, the `index`-th.
    pub fn capture(index: usize, rx: Option<&Path>, tx: Option<&Path>) -> Device {
        let file = |key: &str, path: Option<&Path>| {
            path.map(|path| format!(",{key}={}", path.display())).unwrap_or_default()
        };
        let files = file("rx_pcap", rx) + &file("tx_pcap", tx);
        Device { argument: format!("net_pcap{index}{files}"), members: Vec::new() }
    }

    /// The name by which DPDK finds the device.
    pub(super) fn name(&self) -> &str {
        &self.argument
    }

    fn is_virtual(&self) -> bool {
        self.argument.starts_with("net_")
    }

    pub(super) fn needs_pci(&self) -> bool {
        !self.is_virtual() || !self.members.is_empty()
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        let option = if self.is_virtual() { "--vdev" } else { "--allow" };
        let own = format!("{option}={}", bond::spelled(&self.argument));
        let members = self.members.iter().map(|member| format!("--allow={member}"));
        iter::once(own).chain(members)
    }
}
