//! What is set on a device: link, addresses, virtual addresses. Devices are named by their index.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Error, Refused, Requests};

const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;
/// A lifetime without end, in seconds.
const FOREVER: u32 = u32::MAX;

/// A device, as the kernel sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Whether its administrator has set it up.
    pub is_up: bool,
    /// Packets that the kernel had for it and dropped, since it was made.
    pub send_drops: u64,
}

impl Requests {
    /// The device with this index, if there is one in the socket's network namespace.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses for another reason.
    pub fn device(&mut self, index: u32) -> Result<Option<Device>, Error> {
        match self.ask_all(vec![RouteNetlinkMessage::GetLink(link(index))])?.pop() {
            Some(Ok(RouteNetlinkMessage::NewLink(link))) => Ok(Some(device(link))),
            Some(Err(Refused { errno: ENODEV, .. })) => Ok(None),
            Some(Err(refused)) => Err(Error::Refused(refused)),
            _ => Err(Error::Silent),
        }
    }

    /// The index of the device of this name, if there is one.
    ///
    /// # Errors
    /// If the socket fails, or the kernel refuses for another reason.
    pub fn index(&mut self, name: &str) -> Result<Option<u32>, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask_all(vec![RouteNetlinkMessage::GetLink(message)])?.pop() {
            Some(Ok(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link.header.index)),
            Some(Err(Refused { errno: ENODEV, .. })) => Ok(None),
            Some(Err(refused)) => Err(Error::Refused(refused)),
            _ => Err(Error::Silent),
        }
    }

    /// Sets a device up or down, as its administrator.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails. So have all functions here.
    pub fn set_up(&mut self, index: u32, is_up: bool) -> Result<(), Error> {
        let mut message = link(index);
        message.header.flags = if is_up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Sets whether a device has carrier, if its driver can.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn set_carrier(&mut self, index: u32, has_carrier: bool) -> Result<(), Error> {
        self.set_link(index, LinkAttribute::Carrier(has_carrier.into()))
    }

    /// Sets a device's MTU.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        self.set_link(index, LinkAttribute::Mtu(mtu))
    }

    /// Sets a device's MAC address.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), Error> {
        self.set_link(index, LinkAttribute::Address(mac.to_vec()))
    }

    fn set_link(&mut self, index: u32, attribute: LinkAttribute) -> Result<(), Error> {
        let mut message = link(index);
        message.attributes.push(attribute);
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Puts an address with its prefix on a device, or keeps it there. The kernel looks for a duplicate of an IPv6
    /// address. Meanwhile the address is used, if the kernel's settings for the device allow that (RFC 4429).
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn add_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        let mut message = address_message(index, address);
        match address {
            IpNet::V4(v4) if v4.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
            }
            IpNet::V4(_) => (),
            IpNet::V6(_) => {
                message.attributes.push(AddressAttribute::Flags(AddressFlags::Optimistic));
            }
        }
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes an address from a device, if it is there.
    ///
    /// # Errors
    /// If the kernel refuses for another reason, or the socket fails.
    pub fn remove_address(&mut self, index: u32, address: IpNet) -> Result<(), Error> {
        let message = address_message(index, address);
        match self.change(RouteNetlinkMessage::DelAddress(message), 0) {
            Err(Error::Refused(Refused { errno: EADDRNOTAVAIL, .. })) => Ok(()),
            outcome => outcome,
        }
    }

    /// Puts a virtual address on a device, or keeps it there, so that the kernel replies to ARP or neighbour discovery
    /// for it. The address has full length, brings no route, and is not the source of what the node sends: IPv4 by
    /// its scope `host`, IPv6 because it is deprecated, as long as there is another address of the same scope.
    ///
    /// # Errors
    /// If the kernel refuses, or the socket fails.
    pub fn add_virtual_address(&mut self, index: u32, address: IpAddr) -> Result<(), Error> {
        let mut message = address_message(index, address.into());
        let mut flags = AddressFlags::Noprefixroute;
        match address {
            IpAddr::V4(_) => message.header.scope = AddressScope::Host,
            IpAddr::V6(_) => flags |= AddressFlags::Nodad,
        }
        let mut lifetime = CacheInfo::default();
        (lifetime.ifa_valid, lifetime.ifa_preferred) = (FOREVER, 0);
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }
}

/// The family of an address in headers.
pub fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn device(link: LinkMessage) -> Device {
    let mut device = Device {
        name: String::new(),
        is_up: link.header.flags.contains(LinkFlags::Up),
        send_drops: 0,
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name = name,
            LinkAttribute::Stats64(counted) => device.send_drops = counted.tx_dropped,
            _ => (),
        }
    }
    device
}

fn link(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family(address.addr()),
        prefix_len: address.prefix_len(),
        scope: AddressScope::Universe,
        index,
        ..AddressHeader::default()
    };
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message
}
