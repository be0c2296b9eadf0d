//! Tables of the kernel's side: interfaces, neighbours, routes and punts.

use guideway_api::{Neighbor, PortInterface, Punt, Route};

use super::{sentence, tint};
use crate::table::{Table, counter, key, left, right};

/// A row for each port, and one for each VLAN device below its port's.
pub(super) fn interface_table(interfaces: &[PortInterface]) -> Table<15> {
    let mut table = Table::new([
        key("PORT"),
        key("INTERFACE"),
        key("VLAN").to_right(),
        left("STATE"),
        left("MAC"),
        right("MTU"),
        counter("TO_KERNEL"),
        counter("TO_KERNEL_BYTES"),
        counter("REFUSED"),
        counter("QUEUE_FULL"),
        counter("FROM_KERNEL"),
        counter("FROM_KERNEL_BYTES"),
        counter("DROPPED"),
        left("ADDRESSES"),
        left("NOTE"),
    ]);
    for interface in interfaces {
        let note = interface.renamed_from.as_ref().map(|name| format!("renamed from {name}"));
        table.row([
            &interface.port,
            &interface.interface.as_deref().unwrap_or("none"),
            &"",
            &interface.state.name(),
            &interface.mac.as_deref().unwrap_or_default(),
            &optional(interface.mtu),
            &interface.to_kernel.packets,
            &interface.to_kernel.bytes,
            &interface.to_kernel.refused,
            &interface.to_kernel.queue_full,
            &interface.from_kernel.packets,
            &interface.from_kernel.bytes,
            &interface.from_kernel.dropped,
            &interface.addresses.join(","),
            &note.unwrap_or_default(),
        ]);
        table.tint("STATE", tint::interface(interface.state));
        for device in &interface.vlans {
            table.row([
                &interface.port,
                &device.interface,
                &device.vlan,
                &if device.up { "up" } else { "down" },
                &"",
                &"",
                &"",
                &"",
                &"",
                &"",
                &"",
                &"",
                &"",
                &device.addresses.join(","),
                &"",
            ]);
            table.tint("STATE", tint::device(device.up));
        }
    }
    table
}

pub(super) fn neighbor_table(neighbors: &[Neighbor]) -> Table<10> {
    let mut table = Table::new([
        key("PORT"),
        key("INTERFACE"),
        key("VLAN").to_right(),
        key("ADDRESS"),
        left("MAC"),
        left("STATE"),
        left("MANAGED"),
        right("BACKENDS"),
        right("MEMBERS"),
        right("SECONDS"),
    ]);
    for neighbor in neighbors {
        table.row([
            &neighbor.port,
            &neighbor.interface.as_deref().unwrap_or_default(),
            &optional(neighbor.vlan),
            &neighbor.address,
            &neighbor.mac.as_deref().unwrap_or_default(),
            &neighbor.state.name(),
            &if neighbor.managed { "yes" } else { "no" },
            &neighbor.backends,
            &neighbor.members,
            &optional(neighbor.seconds),
        ]);
        table.tint("STATE", tint::neighbor(neighbor.state));
    }
    table
}

pub(super) fn route_table(route: &Route) -> Table<2> {
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    let name = match (&route.pool, &route.backend) {
        (Some(pool), Some(backend)) => format!("{pool}/{backend}"),
        _ => String::new(),
    };
    table.row([&"backend", &name]);
    table.row([&"destination", &route.destination]);
    table.row([&"learnt", &route.learnt.as_ref().map(sentence::learnt).unwrap_or_default()]);
    table.row([&"gateway", &optional(route.gateway)]);
    table.row([&"port", &route.next_hop.port().unwrap_or_default()]);
    table.row([&"interface", &route.interface.as_deref().unwrap_or_default()]);
    table.row([&"vlan", &optional(route.next_hop.vlan())]);
    table.row([&"next_hop", &sentence::next_hop(&route.next_hop)]);
    table.row([&"neighbor", &route.neighbor.map(|state| state.name()).unwrap_or_default()]);
    table.tint("VALUE", route.neighbor.map(tint::neighbor).unwrap_or_default());
    table.row([&"seconds", &optional(route.seconds)]);
    table
}

pub(super) fn punt_table(punts: &[Punt]) -> Table<5> {
    let mut table = Table::new([
        key("CLASS"),
        right("RATE"),
        right("BURST"),
        counter("PUNTED"),
        counter("LIMITED"),
    ]);
    for punt in punts {
        table.row([&punt.class, &punt.rate, &punt.burst, &punt.punted, &punt.limited]);
    }
    table
}

/// A value as a cell, which is empty without the value.
fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
