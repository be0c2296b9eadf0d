//! Makes the TUN device of probes, and changes its MTU and its addresses.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use guideway_netlink::{self as netlink, Device, Requests};
use ipnet::IpNet;
use thiserror::Error;
use tracing::info;
use tun_rs::SyncDevice;

use super::plan::Plan;
use crate::kernel::tun::{Refusal, TUN, tun};
use crate::kernel::write_settings;

/// The kernel's settings of the interface, `@` in place of its name.
const SETTINGS: &[(&str, &str)] = &[
    // Probes of IPv6 need it here, even if the host has it off for new interfaces.
    ("ipv6/conf/@/disable_ipv6", "0"),
    // Nothing answers there: no address is made up, nobody is asked for routers, and no duplicate is looked for.
    ("ipv6/conf/@/addr_gen_mode", "1"),
    ("ipv6/conf/@/accept_ra", "0"),
    ("ipv6/conf/@/autoconf", "0"),
    ("ipv6/conf/@/router_solicitations", "0"),
    ("ipv6/conf/@/accept_dad", "0"),
    // Addresses stay while somebody sets the interface down and up, as those of IPv4 do.
    ("ipv6/conf/@/keep_addr_on_down", "1"),
    // Nothing comes from there, and if it did, the node would not pass it on.
    ("ipv4/conf/@/forwarding", "0"),
    ("ipv6/conf/@/forwarding", "0"),
];

/// Why there is no interface of probes, or why it is not as it should be.
#[derive(Debug, Error)]
pub enum Error {
    /// A device of this name exists.
    #[error("there is a device {0} already; name another in probe.interface, or remove the device")]
    Exists(String),
    /// The kernel has no TUN devices.
    #[error(
        "cannot make the interface {0}: there is no {TUN}; run `modprobe tun`, or remove node.check_source"
    )]
    NoTun(String),
    /// The process may not make devices, or the kernel makes none.
    #[error(
        "cannot make the interface {name}: {error}; this needs root or CAP_NET_ADMIN and access to {TUN}"
    )]
    Make {
        /// The name of the interface.
        name: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel refuses to set the device up as wanted.
    #[error("interface {name}: cannot {what}: {error}")]
    Set {
        /// The name of the interface.
        name: String,
        /// What was tried.
        what: String,
        /// What the kernel said.
        error: netlink::Error,
    },
}

/// The interface. The kernel removes it when the last clone of its device is dropped.
pub(super) struct Interface {
    name: String,
    index: u32,
    device: Arc<SyncDevice>,
    mtu: u16,
    addresses: Vec<IpAddr>,
}

impl Interface {
    /// Makes the interface and sets it up.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(super) fn make(requests: &mut Requests, plan: &Plan) -> Result<Interface, Error> {
        let name = plan.name.clone();
        // The kernel would give out a persistent TUN device of this name as if it were new.
        if requests.index(&name).map_err(set(&name, "look for a device of this name"))?.is_some() {
            return Err(Error::Exists(name));
        }
        let device = tun(&name).map_err(|refusal| match refusal {
            Refusal::Exists => Error::Exists(name.clone()),
            Refusal::NoTun => Error::NoTun(name.clone()),
            Refusal::Forbidden(error) | Refusal::Other(error) => {
                Error::Make { name: name.clone(), error }
            }
        })?;
        let index = requests.index(&name).map_err(set(&name, "find it"))?.unwrap_or(0);
        write_settings(&name, SETTINGS);
        let (mtu, addresses) = (0, Vec::new());
        let mut interface = Interface { name, index, device: Arc::new(device), mtu, addresses };
        interface.follow(requests, plan)?;
        interface.set_up(requests)?;
        info!("interface {}: up, MTU {}", interface.name, interface.mtu);
        Ok(interface)
    }

    /// The device that packets are read from.
    pub(super) fn device(&self) -> Arc<SyncDevice> {
        Arc::clone(&self.device)
    }

    /// Gives the interface another MTU and other addresses. What the kernel refuses is tried again with the next call.
    ///
    /// # Errors
    /// The first thing that the kernel refuses.
    pub(super) fn follow(&mut self, requests: &mut Requests, plan: &Plan) -> Result<(), Error> {
        let (name, index) = (&self.name, self.index);
        let mut first = Ok(());
        if plan.mtu != self.mtu {
            match requests.set_mtu(index, plan.mtu.into()) {
                Ok(()) => self.mtu = plan.mtu,
                Err(error) => {
                    first = Err(set(name, &format!("set its MTU to {}", plan.mtu))(error))
                }
            }
        }
        let is_wanted = |address: &IpAddr| plan.addresses.contains(address);
        for address in self.addresses.extract_if(.., |address| !is_wanted(address)) {
            // One that somebody has removed already is not there either.
            let _ = requests.remove_address(index, IpNet::from(address));
        }
        let has_v6 = Path::new("/proc/sys/net/ipv6/conf").join(name).exists();
        for &address in &plan.addresses {
            if self.addresses.contains(&address) || (address.is_ipv6() && !has_v6) {
                continue;
            }
            match requests.add_virtual_address(index, address) {
                Ok(()) => self.addresses.push(address),
                Err(error) => {
                    let error = set(name, &format!("add the address {address}"))(error);
                    first = first.and(Err(error));
                }
            }
        }
        first
    }

    /// Sets the interface up.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn set_up(&self, requests: &mut Requests) -> Result<(), Error> {
        requests.set_up(self.index, true).map_err(set(&self.name, "set it up"))
    }

    /// The interface as the kernel sees it; none if it is gone.
    ///
    /// # Errors
    /// If the kernel does not say it.
    pub(super) fn seen(&self, requests: &mut Requests) -> Result<Option<Device>, Error> {
        requests.device(self.index).map_err(set(&self.name, "ask for it"))
    }
}

/// An error about what was tried.
fn set(name: &str, what: &str) -> impl Fn(netlink::Error) -> Error {
    let (name, what) = (name.to_owned(), what.to_owned());
    move |error| Error::Set { name: name.clone(), what: what.clone(), error }
}
