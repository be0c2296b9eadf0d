//! What the daemon may ask about a port. This does not keep the port open.

use std::sync::Arc;

use guideway_api::{PortCounters, Steering};

use super::link::Interface;
use super::ports::RunningPort;
use crate::dpdk::port::{Port, Started};
use crate::kernel;
use guideway_management::daemon;

/// What the daemon may ask about a port.
pub(super) fn of((port, interface): (&RunningPort, &Option<kernel::Interface>)) -> daemon::Port {
    let functions = port.device.functions();
    let (queues, crowded_queue) = (port.queues, port.crowded_queue.clone());
    let kernel = interface.as_ref().map(interface_of);
    let (probed, interface) = (Arc::downgrade(&port.device), port.interface.clone());
    let (linked, behind) = (probed.clone(), interface.clone());
    let counting = probed.clone();
    daemon::Port {
        driver: port.can.driver.clone(),
        device_mac: port.can.mac,
        rx_queues: queues.receive + u16::from(port.device.has_control_queue()),
        tx_queues: queues.transmit,
        steering: Box::new(move || Steering {
            crowded_queue: crowded_queue.get(),
            ..queues.steering
        }),
        probe: Box::new(move || match probed.upgrade() {
            Some(port) => state(&port, &interface),
            None => daemon::PortState::default(),
        }),
        is_up: Box::new(move || linked.upgrade().is_some_and(|port| behind.link(port.link()).up)),
        extended: Box::new(move || {
            counting.upgrade().map(|port| port.extended_counters()).unwrap_or_default()
        }),
        functions: [functions.rx, functions.tx],
        interface: kernel,
    }
}

fn interface_of(interface: &kernel::Interface) -> daemon::Interface {
    let counters = Arc::clone(&interface.counters);
    daemon::Interface {
        name: interface.name.clone(),
        index: interface.index,
        probe: Box::new(move || daemon::InterfaceState {
            is_removed: counters.is_removed(),
            counters: counters.read(),
        }),
    }
}

fn state(port: &Port<Started>, interface: &Interface) -> daemon::PortState {
    let c = port.counters();
    let counters = PortCounters {
        rx_packets: c.rx_packets,
        rx_bytes: c.rx_bytes,
        rx_missed: c.rx_missed,
        rx_errors: c.rx_errors,
        rx_no_buffer: c.rx_no_buffer,
        tx_packets: c.tx_packets,
        tx_bytes: c.tx_bytes,
        tx_errors: c.tx_errors,
    };
    let link = interface.link(port.link());
    daemon::PortState { link, link_seconds: interface.unchanged().as_secs(), counters }
}
