//! Makes the TUN device, and takes what the node sends there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use guideway_netlink::{self as netlink, Device, Requests};
use thiserror::Error;
use tun_rs::SyncDevice;

use crate::kernel::tun::{Refusal, TUN, is_there, tun};
use crate::kernel::write_settings;

/// The addresses of the interface, so that routing daemons take it for one that serves: FRR removes routes on an interface
/// without any. Each node has the same, and no packet ever has them: the dummy address of RFC 7600, and a
/// link-local one.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 8)),
];

/// The kernel's settings of the interface, `@` in place of its name.
const SETTINGS: &[(&str, &str)] = &[
    // The routes of IPv6 addresses need IPv6 here, even if the host has it off for new interfaces.
    ("ipv6/conf/@/disable_ipv6", "0"),
    // Nothing answers there: no address is made up, and nobody is asked for routers.
    ("ipv6/conf/@/addr_gen_mode", "1"),
    ("ipv6/conf/@/accept_ra", "0"),
    ("ipv6/conf/@/autoconf", "0"),
    ("ipv6/conf/@/router_solicitations", "0"),
    ("ipv6/conf/@/accept_dad", "0"),
    // Nothing comes from there, and if it did, the node would not pass it on.
    ("ipv4/conf/@/forwarding", "0"),
    ("ipv6/conf/@/forwarding", "0"),
];

/// Packets that are read at once: those of a full queue. The kernel counts what the queue does not hold.
const AT_ONCE: usize = 512;
/// More than any packet that the device takes, by its MTU of 1500.
const PACKET: usize = 2048;

/// Why there is no interface of the virtual addresses.
#[derive(Debug, Error)]
pub enum Error {
    /// A device of this name exists.
    #[error(
        "there is a device {0} already; name another in announce.interface, or remove the device"
    )]
    Exists(String),
    /// The kernel has no TUN devices.
    #[error(
        "cannot make the interface {0}: there is no {TUN}; run `modprobe tun`, or remove [announce]"
    )]
    NoTun(String),
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
        what: &'static str,
        /// What the kernel said.
        error: netlink::Error,
    },
}

impl Error {
    fn of(refusal: Refusal, name: &str) -> Error {
        let name = name.to_owned();
        match refusal {
            Refusal::Exists => Error::Exists(name),
            Refusal::NoTun => Error::NoTun(name),
            Refusal::Forbidden(error) => Error::Forbidden { name, error },
            Refusal::Other(error) => Error::Make { name, error },
        }
    }
}

/// Finds out whether an interface of this name could be made now, so that a program that cannot make it does not
/// start.
///
/// # Errors
/// What the operator has to change.
pub fn check(name: &str) -> Result<(), Error> {
    let set = |what| move |error| Error::Set { name: name.to_owned(), what, error };
    let what = "look for a device of this name";
    let mut requests = Requests::open().map_err(set(what))?;
    // The kernel would give out a persistent TUN device of this name as if it were new.
    if requests.index(name).map_err(set(what))?.is_some() {
        return Err(Error::Exists(name.to_owned()));
    }
    if is_there() { Ok(()) } else { Err(Error::NoTun(name.to_owned())) }
}

/// The interface. The kernel removes it when this is dropped.
pub(super) struct Interface {
    name: String,
    index: u32,
    device: SyncDevice,
    /// Whether it has its IPv6 address, which the kernel removes whenever the interface is set down.
    has_v6: bool,
    /// Packets that were read.
    read: u64,
}

impl Interface {
    /// Makes the interface, which is down.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(super) fn make(requests: &mut Requests, name: &str) -> Result<Interface, Error> {
        check(name)?;
        let device = tun(name).map_err(|refusal| Error::of(refusal, name))?;
        let set = |what| move |error| Error::Set { name: name.to_owned(), what, error };
        let index = requests.index(name).map_err(set("find it"))?.unwrap_or(0);
        write_settings(name, SETTINGS);
        let has_v6 = Path::new("/proc/sys/net/ipv6/conf").join(name).exists();
        Ok(Interface { name: name.to_owned(), index, device, has_v6, read: 0 })
    }

    /// Gives the interface its addresses and sets it up.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn set_up(&mut self, requests: &mut Requests) -> Result<(), Error> {
        let set = |what| {
            let name = self.name.clone();
            move |error| Error::Set { name, what, error }
        };
        requests.set_up(self.index, true).map_err(set("set it up"))?;
        for address in ADDRESSES.into_iter().filter(|address| address.is_ipv4() || self.has_v6) {
            let added = requests.add_virtual_address(self.index, address);
            added.map_err(set("add its address"))?;
        }
        Ok(())
    }

    /// Sets the interface down, which removes all routes that lead there.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(super) fn set_down(&self, requests: &mut Requests) -> Result<(), netlink::Error> {
        requests.set_up(self.index, false)
    }

    /// The interface as the kernel sees it; none if it is gone.
    ///
    /// # Errors
    /// If the kernel does not say it.
    pub(super) fn seen(&self, requests: &mut Requests) -> Result<Option<Device>, netlink::Error> {
        requests.device(self.index)
    }

    /// Takes the packets that the node has sent there. Returns how many were dropped since the interface was made, with
    /// those that its queue did not hold.
    pub(super) fn drain(&mut self, queue_drops: u64) -> u64 {
        let mut packet = [0; PACKET];
        for _ in 0..AT_ONCE {
            match self.device.recv(&mut packet) {
                Ok(_) => self.read += 1,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                // There is no other packet, or no device any more.
                Err(_) => break,
            }
        }
        self.read + queue_drops
    }
}
