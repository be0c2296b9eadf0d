//! A receive queue for the network's own protocols, where the device can tell them from data (`rte_flow`).
//!
//! Under overload a device drops what its rings cannot hold, before anyone has looked at it. ARP, BGP and BFD then
//! suffer with the data, unless they have a ring of their own.

use dpdk_sys as sys;

use crate::dpdk::device::Device;

/// The rules, each with the words that the operator reads. Neighbour discovery has no rule: few devices match ICMPv6
/// types, and none of those that refuse the others.
const RULES: [(u32, &str); 9] = [
    (sys::GUIDEWAY_CONTROL_ARP, "ARP"),
    (sys::GUIDEWAY_CONTROL_BGP_TO_V4, "BGP/IPv4"),
    (sys::GUIDEWAY_CONTROL_BGP_FROM_V4, "BGP/IPv4 replies"),
    (sys::GUIDEWAY_CONTROL_BFD_V4, "BFD/IPv4"),
    (sys::GUIDEWAY_CONTROL_BFD_MULTIHOP_V4, "multihop BFD/IPv4"),
    (sys::GUIDEWAY_CONTROL_BGP_TO_V6, "BGP/IPv6"),
    (sys::GUIDEWAY_CONTROL_BGP_FROM_V6, "BGP/IPv6 replies"),
    (sys::GUIDEWAY_CONTROL_BFD_V6, "BFD/IPv6"),
    (sys::GUIDEWAY_CONTROL_BFD_MULTIHOP_V6, "multihop BFD/IPv6"),
];

/// Whether a configured device takes at least one rule that leads to `queue`.
pub(super) fn is_possible(device: &Device, queue: u16) -> bool {
    RULES.iter().any(|&(rule, _)| apply(device, queue, rule, false))
}

/// Makes a started device put the packets of all rules that it takes into `queue`. Returns a note about them.
pub(super) fn install(device: &Device, queue: u16) -> String {
    let taken = RULES.iter().filter(|&&(rule, _)| apply(device, queue, rule, true));
    let names: Vec<&str> = taken.map(|&(_, name)| name).collect();
    match names.is_empty() {
        true => format!("receive queue {queue} stays empty: the device took no rule for it"),
        false => format!("receive queue {queue} is for {} alone", names.join(", ")),
    }
}

fn apply(device: &Device, queue: u16, rule: u32, create: bool) -> bool {
    // SAFETY: `device` owns the port, which is configured with this queue. DPDK copies the rule, and drops it when
    // the port is closed.
    unsafe { sys::guideway_control_queue(device.id(), queue, rule, create.into()) == 0 }
}
