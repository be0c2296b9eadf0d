//! The arguments that DPDK's environment abstraction layer is started with.

use rustix::thread::{CpuSet, sched_getaffinity};

use super::Device;
use crate::control::config::Configuration;

/// Arguments for an appliance of these devices.
///
/// Everything that two processes could share is kept apart or switched off: the run-time files carry
/// the process id, and memory is private. So appliances do not disturb each other.
pub(super) fn arguments(
    configuration: &Configuration,
    devices: &[Device],
    pin: bool,
) -> Vec<String> {
    let dpdk = &configuration.dpdk;
    let workers: &[u16] = if pin { &dpdk.workers } else { &[] };
    let mut arguments = vec![
        format!("--lcores=0@({})", management_cpus(workers)),
        format!("--file-prefix=guideway-{}", std::process::id()),
        "--no-telemetry".to_owned(),
        "--log-level=warning".to_owned(),
    ];
    if dpdk.hugepages {
        arguments.push("--in-memory".to_owned());
    } else {
        arguments.extend(["--no-huge", "--no-shconf", "-m"].map(str::to_owned));
        arguments.push(dpdk.memory_mib.to_string());
    }
    if devices.iter().all(Device::is_virtual) {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(devices.iter().map(Device::argument));
    arguments.extend(dpdk.eal_args.iter().cloned());
    arguments
}

/// The CPUs for everything but the workers: those that are left, or all if none is.
fn management_cpus(workers: &[u16]) -> String {
    let allowed: Vec<usize> = match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => vec![0],
    };
    let free = allowed.iter().filter(|&&cpu| !workers.iter().any(|&w| usize::from(w) == cpu));
    let free: Vec<String> = free.map(ToString::to_string).collect();
    if free.is_empty() {
        allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    } else {
        free.join(",")
    }
}
