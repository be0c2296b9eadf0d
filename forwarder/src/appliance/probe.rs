//! Finds the device of each port, and chooses the port's queues by what the device offers.

use tracing::info;

use super::error::Error;
use super::mode::Run;
use super::wiring::Queues;
use crate::dpdk::Eal;
use crate::dpdk::port::{Capabilities, Port, Probed};
use guideway_config::Configuration;

/// A port whose device is found, but not set up.
pub(super) struct ProbedPort {
    pub(super) device: Port<Probed>,
    pub(super) can: Capabilities,
    pub(super) queues: Queues,
}

/// Probes the device of each port, in the order of the configuration.
pub(super) fn probe(
    eal: &Eal,
    configuration: &Configuration,
    run: &Run,
) -> Result<Vec<ProbedPort>, Error> {
    let mut probed = Vec::with_capacity(run.devices.len());
    for (port, device) in configuration.ports.iter().zip(&run.devices) {
        let device = eal.port_by_name(device.name()).map_err(Error::at(&port.name))?;
        let can = device.capabilities().map_err(Error::at(&port.name))?;
        let mut queues = Queues::of(port.steering, &can, run.workers);
        if run.live && port.interface().is_some() {
            queues = queues.with_control(&can);
        }
        info!("port \"{}\": driver {}, {}", port.name, can.driver, queues.words());
        probed.push(ProbedPort { device, can, queues });
    }
    Ok(probed)
}
