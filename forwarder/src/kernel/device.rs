//! Makes the interface of a port: a TAP device, set up before the kernel uses it.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;
use tracing::{info, warn};
use tun_rs::SyncDevice;

use super::counters::Counters;
use super::sysctl;
use super::tun::{self, Refusal, TUN};
use guideway_netlink::{self as netlink, Requests};

/// Why there is no interface.
#[derive(Debug, Error)]
pub enum Error {
    /// A device of this name exists.
    #[error(
        "there is a device {name} already; name another in port.interface, or \"none\", or remove the device"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// The kernel has no TAP devices.
    #[error(
        "cannot make the interface {name}: there is no {TUN}; run `modprobe tun`, or write interface = \"none\""
    )]
    NoTun {
        /// The name of the interface.
        name: String,
    },
    /// The process may not make devices.
    #[error(
        "cannot make the interface {name}: {error}; this needs root or CAP_NET_ADMIN and access to {TUN}"
    )]
    Forbidden {
        /// The name of the interface.
        name: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel makes no such device.
    #[error("cannot make the interface {name}: {error}")]
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

impl Error {
    fn of(refusal: Refusal, name: &str) -> Error {
        let name = name.to_owned();
        match refusal {
            Refusal::Exists => Error::Exists { name },
            Refusal::NoTun => Error::NoTun { name },
            Refusal::Forbidden(error) => Error::Forbidden { name, error },
            Refusal::Other(error) => Error::Make { name, error },
        }
    }
}

/// What an interface is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u16,
    /// The addresses to put on it.
    pub(crate) addresses: &'a [IpNet],
    /// Whether packets may come from it whose answer would leave by another interface.
    pub(crate) is_asymmetric: bool,
}

/// The interface of a port. It is removed when the last clone of `device` is dropped.
#[derive(Clone)]
pub struct Interface {
    /// The name that it was made with.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// The device.
    pub(crate) device: Arc<SyncDevice>,
    /// What passes.
    pub counters: Arc<Counters>,
}

impl Interface {
    /// Makes an interface and sets it up.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(crate) fn make(requests: &mut Requests, wanted: &Wanted<'_>) -> Result<Interface, Error> {
        let name = wanted.name.to_owned();
        let set = |what: &str| {
            let (name, what) = (name.clone(), what.to_owned());
            move |error| Error::Set { name, what, error }
        };
        // The kernel would give out a persistent TAP device of this name as if it were new.
        if requests.index(&name).map_err(set("look for a device of this name"))?.is_some() {
            return Err(Error::Exists { name });
        }
        let device = tun::tap(&name).map_err(|refusal| Error::of(refusal, &name))?;
        let index = requests.index(&name).map_err(set("find it"))?.unwrap_or(0);

        let has_v6 = wanted.addresses.iter().any(|address| address.addr().is_ipv6());
        requests.set_mac(index, wanted.mac).map_err(set("set its MAC address"))?;
        requests.set_mtu(index, wanted.mtu.into()).map_err(set("set its MTU"))?;
        if wanted.is_asymmetric {
            sysctl::accept_asymmetric(&name);
        }
        sysctl::write_all(&name, has_v6);
        for &address in wanted.addresses {
            warn_if_taken(&name, address);
            let what = format!("add the address {address}");
            requests.add_address(index, address).map_err(set(&what))?;
        }
        requests.set_up(index, true).map_err(set("set it up"))?;
        info!("interface {name}: up, MTU {}", wanted.mtu);
        Ok(Interface { name, index, device: Arc::new(device), counters: Arc::default() })
    }
}

/// Warns about an address that the host has before the interface gets it.
pub(super) fn warn_if_taken(name: &str, address: IpNet) {
    // A socket can have an address only if a device has it.
    if UdpSocket::bind((address.addr(), 0)).is_ok() {
        warn!(
            "interface {name}: another device of this host has the address {} too: remove it there, or \
             packets to it may get no answer",
            address.addr()
        );
    }
}
