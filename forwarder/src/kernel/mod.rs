//! The kernel as a port's slow path: an interface for each port, and the thread that carries frames
//! between both.
//!
//! A port's *interface* is a TAP device with the port's MAC address and MTU. What the packet path
//! punts appears there, and what the kernel sends there leaves by the port. So the node answers ARP,
//! and `ip`, `ssh` and routing daemons work on it.
//!
//! ```text
//! worker ── a ring for each class ──▶ thread `kernel` ──▶ TAP     device
//! worker ◀── a ring for each port ─── thread `kernel` ◀── TAP
//! ```
//!
//! Workers do no system calls for this, but one: each side that may sleep has a [`Doorbell`], which the other
//! side rings only while it sleeps.
//!
//! | file | content |
//! |---|---|
//! | `tun` | asks the kernel for a TAP or TUN device |
//! | `device` | makes a TAP device and sets it up |
//! | `sysctl` | the kernel's settings of a device |
//! | `keeper` | keeps a device as the port is: carrier, addresses, MAC address |
//! | `doorbell` | wakes a thread that sleeps |
//! | `counters` | what passed |
//! | `capture` | a file in place of a device |
//! | `courier` | the thread |
//!
//! The device is not persistent: it ends with the process, however that ends. In a replay there is no
//! device; frames that are punted can be written to a capture instead.

pub mod capture;
mod counters;
mod courier;
mod device;
mod doorbell;
mod keeper;
mod sysctl;
pub(crate) mod tun;

pub use counters::Counters;
pub(crate) use courier::{Courier, Frames, Handle, Lane, ProbeDevices, Sink, Way, mark};
pub(crate) use device::Wanted;
pub use device::{Error, Interface};
pub use doorbell::Doorbell;
pub(crate) use keeper::Keeper;
pub(crate) use sysctl::{accept_asymmetric, double_receipt, write_settings};
