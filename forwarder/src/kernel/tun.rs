//! Asks the kernel for TAP and TUN devices.
//!
//! A TAP device carries Ethernet frames, a TUN device IP packets. Both are made without offloads, so that the kernel computes
//! checksums and divides segments for them, and do not block. None is persistent: each ends with the process, however that ends.

use std::io::{self, ErrorKind};
use std::path::Path;

use rustix::io::Errno;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Where the kernel gives out devices.
pub(crate) const TUN: &str = "/dev/net/tun";

/// Why there is no device.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A device of this name exists.
    Exists,
    /// The kernel has no such devices.
    NoTun,
    /// The process may not make devices.
    Forbidden(io::Error),
    /// The kernel makes none for another reason.
    Other(io::Error),
}

/// Whether the kernel has such devices. The library would make the node of a driver that is not there.
pub(crate) fn is_there() -> bool {
    Path::new(TUN).exists()
}

/// A new TAP device, not set up.
pub(super) fn tap(name: &str) -> Result<SyncDevice, Refusal> {
    make(DeviceBuilder::new().name(name).layer(Layer::L2))
}

/// A new TUN device, not set up. Nothing stands before its packets.
pub(crate) fn tun(name: &str) -> Result<SyncDevice, Refusal> {
    make(DeviceBuilder::new().name(name).layer(Layer::L3).packet_information(false))
}

fn make(builder: DeviceBuilder) -> Result<SyncDevice, Refusal> {
    if !is_there() {
        return Err(Refusal::NoTun);
    }
    let made = builder.inherit_enable_state().build_sync();
    let device = made.and_then(|device| device.set_nonblocking(true).map(|()| device));
    device.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Refusal::Forbidden(error),
        ErrorKind::ResourceBusy => Refusal::Exists,
        _ if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Refusal::NoTun,
        _ => Refusal::Other(error),
    })
}
