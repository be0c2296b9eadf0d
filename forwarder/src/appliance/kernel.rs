//! The interfaces of the ports, and the thread that serves the kernel: makes them and connects them
//! with the workers.

use std::net::UdpSocket;
use std::sync::Arc;

use rustix::net::netdevice::index_to_name;
use tracing::warn;

use super::buffers::Pools;
use super::error::Error;
use super::mode::Run;
use super::ports::RunningPort;
use super::wiring::Connections;
use crate::dpdk::{Eal, TimestampField};
use crate::kernel::capture::Writer;
use crate::kernel::{
    Counters, Courier, Doorbell, Frames, Handle, Interface, Lane, ProbeDevices, Sink, Wanted, Way,
    double_receipt,
};
use guideway_config::Configuration;
use guideway_core::balancer::id::PortIndex;
use guideway_management::daemon::{Daemon, Probing};
use guideway_management::kernel::PortInterface;
use guideway_management::on_link;
use guideway_netlink::Requests;

use crate::probing::Keeper;

/// Makes the interface of each port, in a live run.
///
/// # Errors
/// What the operator has to change. What was made is removed again.
pub(super) fn interfaces(
    configuration: &Configuration,
    run: &Run,
    ports: &[RunningPort],
) -> Result<Vec<Option<Interface>>, Error> {
    let mut interfaces: Vec<Option<Interface>> = ports.iter().map(|_| None).collect();
    if !run.live || run.interfaces(configuration) == 0 {
        return Ok(interfaces);
    }
    let mut requests = Requests::open()?;
    for ((port, running), made) in configuration.ports.iter().zip(ports).zip(&mut interfaces) {
        let Some(name) = port.interface() else { continue };
        let addresses: &[_] = if port.manage_addresses { &port.addresses } else { &[] };
        let (mac, mtu) = (running.device.mac(), running.device.mtu());
        let is_asymmetric = !configuration.node.check_sources.is_empty();
        let wanted = Wanted { name, mac, mtu, addresses, is_asymmetric };
        let interface = Interface::make(&mut requests, &wanted);
        let at_port = |error| Error::Interface { port: port.name.clone(), error };
        *made = Some(interface.map_err(at_port)?);
        warn_of_double_receipt(&port.name, running);
    }
    Ok(interfaces)
}

/// Warns if the kernel takes the port's packets by the device behind it too.
fn warn_of_double_receipt(port: &str, running: &RunningPort) {
    let reads_packet_socket = ["net_af_packet", "net_pcap"].contains(&running.can.driver.as_str());
    let Some(index) = running.can.interface.filter(|_| reads_packet_socket) else { return };
    // Any socket will do.
    let name =
        UdpSocket::bind("127.0.0.1:0").ok().and_then(|socket| index_to_name(socket, index).ok());
    if let Some(warning) = name.and_then(|behind| double_receipt(port, &behind)) {
        warn!("{warning}");
    }
}

/// The ways to the thread that serves the kernel.
pub(super) struct Ways {
    /// For frames of the daemon.
    pub(super) frames: Frames,
    /// For the device of probes.
    pub(super) devices: ProbeDevices,
}

/// Connects the workers with the interfaces, or in a replay with captures, and returns what carries
/// frames between them, with the ways to it. `None` if there is neither interface nor capture.
///
/// # Errors
/// There is no memory for a ring, or a capture cannot be written.
pub(super) fn connect(
    run: &Run,
    interfaces: &[Option<Interface>],
    pools: &Pools,
    timestamps: Option<TimestampField>,
    probing: &Arc<Probing>,
    connections: &mut Connections<'_>,
) -> Result<Option<(Courier, Ways)>, Error> {
    let has_capture = run.punted.iter().any(Option::is_some);
    if !has_capture && interfaces.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut lanes = Vec::with_capacity(interfaces.len());
    for (index, interface) in interfaces.iter().enumerate() {
        let counters = interface
            .as_ref()
            .map_or_else(Arc::<Counters>::default, |interface| Arc::clone(&interface.counters));
        let mut lane = Lane { sink: Sink::Nothing, counters, way: None };
        if let Some(interface) = interface {
            let port = PortIndex(u16::try_from(index).unwrap_or(u16::MAX));
            let (worker, ring, doorbell) = connections.connect_interface(port, &lane.counters)?;
            lane.way = Some(Way { ring, pool: pools.of_worker(worker).clone(), doorbell });
            lane.sink = Sink::Interface(Arc::clone(&interface.device));
        } else if let Some(Some(path)) = run.punted.get(index) {
            lane.sink = Sink::Capture(Writer::create(path)?);
        }
        lanes.push(lane);
    }
    if run.live {
        let (worker, ring, doorbell) = connections.connect_probes(probing)?;
        let way = Some(Way { ring, pool: pools.of_worker(worker).clone(), doorbell });
        let sink = Sink::Probes(None, Arc::clone(probing));
        lanes.push(Lane { sink, counters: Arc::default(), way });
    }
    let doorbell = Arc::new(Doorbell::new()?);
    let counters: Vec<_> = lanes.iter().map(|lane| Arc::clone(&lane.counters)).collect();
    let punts = connections.connect_kernel(&doorbell, &counters)?;
    let (to_frames, frames) = Frames::new(&doorbell);
    let (to_devices, devices) = ProbeDevices::new(&doorbell);
    let courier = Courier { lanes, devices, punts, frames, doorbell, timestamps };
    Ok(Some((courier, Ways { frames: to_frames, devices: to_devices })))
}

/// Makes the interface of probes if the configuration has addresses of them, in a live run. Returns what keeps it.
///
/// # Errors
/// What the operator has to change.
pub(super) fn probes(
    configuration: &Configuration,
    run: &Run,
    devices: Option<ProbeDevices>,
) -> Result<Option<Keeper>, Error> {
    let Some(devices) = devices.filter(|_| run.live) else { return Ok(None) };
    let mut requests = Requests::open()?;
    Ok(Some(Keeper::open(&mut requests, configuration, devices)?))
}

/// Starts the thread, if there is anything to carry.
///
/// # Errors
/// DPDK or the operating system refuses it.
pub(super) fn start(eal: &Eal, courier: Option<Courier>) -> Result<Option<Handle>, Error> {
    Ok(courier.map(|courier| courier.start(eal)).transpose()?)
}

/// Has the daemon follow the kernel, and keep virtual addresses on the links of the interfaces. Without
/// that the appliance runs by its configuration alone.
pub(super) fn follow(
    daemon: &mut Daemon,
    ports: &[RunningPort],
    interfaces: &[Option<Interface>],
    frames: Frames,
) -> Option<on_link::Handle> {
    let made = interfaces.iter().enumerate();
    let made = made.filter_map(|(port, interface)| {
        Some(PortInterface { port, interface: interface.as_ref()?.name.clone() })
    });
    let made: Vec<_> = made.collect();
    if made.is_empty() {
        return None;
    }
    let macs = ports.iter().map(|port| port.can.mac).collect();
    daemon
        .follow_kernel(made)
        .and_then(|()| {
            let send = Box::new(move |port, frame| frames.send(port, frame));
            on_link::start(macs, daemon.published(), daemon.view(), send)
        })
        .inspect_err(|error| warn!("the kernel's routes and neighbours are not followed: {error}"))
        .ok()
}
