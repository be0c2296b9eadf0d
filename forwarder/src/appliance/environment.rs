//! Starts DPDK's environment abstraction layer (EAL), and keeps the control plane off the workers'
//! CPUs.

use std::{fs, iter};

use rustix::io::Errno;
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use tracing::{info, warn};

use super::device::Device;
use super::mode::Run;
use crate::dpdk::{Eal, Result};
use guideway_config::Configuration;

/// The beginning of the names of DPDK's run-time directories. The process id follows.
const FILE_PREFIX: &str = "guideway-";

/// Starts EAL, which finds the devices of the run.
pub(super) fn start(configuration: &Configuration, run: &Run) -> Result<Eal> {
    if run.live {
        leave_to_workers(&configuration.dpdk.workers);
    }
    let eal = Eal::init("guideway", &arguments(configuration, &run.devices, run.live))?;
    eal.remove_stale_directories(FILE_PREFIX);
    let (version, workers) = (eal.dpdk_version(), run.workers);
    info!("{version}, workers: {workers}, built for {}", guideway_baseline::NEEDED_CPU);
    Ok(eal)
}

/// Arguments for an appliance of these devices.
///
/// Nothing is shared with another process, so that appliances do not disturb each other: the
/// run-time files carry the process id, and memory is private.
fn arguments(configuration: &Configuration, devices: &[Device], pin: bool) -> Vec<String> {
    let dpdk = &configuration.dpdk;
    let workers: &[u16] = if pin { &dpdk.workers } else { &[] };
    let main: Vec<String> = management_cpus(workers).iter().map(ToString::to_string).collect();
    let mut arguments = vec![
        format!("--lcores=0@({})", main.join(",")),
        format!("--file-prefix={FILE_PREFIX}{}", std::process::id()),
        "--no-telemetry".to_owned(),
        "--log-level=warning".to_owned(),
    ];
    if dpdk.hugepages {
        arguments.push("--in-memory".to_owned());
    } else {
        arguments.extend(["--no-huge", "--no-shconf", "-m"].map(str::to_owned));
        arguments.push(dpdk.memory_mib.to_string());
    }
    if !devices.iter().any(Device::needs_pci) {
        arguments.push("--no-pci".to_owned());
    }
    arguments.extend(devices.iter().flat_map(Device::arguments));
    arguments.extend(dpdk.eal_args.iter().cloned());
    arguments
}

/// Keeps all threads that run now, and those that they start, off the workers' CPUs, if other CPUs
/// are left.
fn leave_to_workers(workers: &[u16]) {
    let mut set = CpuSet::new();
    management_cpus(workers).into_iter().for_each(|cpu| set.set(cpu));
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let threads = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    // Include this thread where there is no /proc.
    for thread in iter::once(None).chain(threads.map(Pid::from_raw)) {
        match sched_setaffinity(thread, &set) {
            // The thread has ended meanwhile.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => warn!("the control plane may use the workers' CPUs: {error}"),
        }
    }
}

/// The CPUs for everything but the workers: those that are left, or all if none is left.
fn management_cpus(workers: &[u16]) -> Vec<usize> {
    let allowed: Vec<usize> = match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect(),
        Err(_) => vec![0],
    };
    let is_free = |cpu: &usize| workers.iter().all(|&worker| usize::from(worker) != *cpu);
    let free: Vec<usize> = allowed.iter().copied().filter(is_free).collect();
    if free.is_empty() { allowed } else { free }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dpdk::bond;
    use guideway_config as config;

    const MINIMAL: &str = include_str!("../../../examples/minimal.toml");

    fn of(device: &str) -> Vec<String> {
        let text = MINIMAL.replace("0000:3b:00.0", device);
        assert_ne!(text, MINIMAL);
        let configuration = config::parse(&text).unwrap().configuration;
        let devices: Vec<Device> = configuration.ports.iter().map(Device::of).collect();
        let arguments = arguments(&configuration, &devices, true);
        let of_devices = ["--vdev", "--allow", "--no-pci"];
        let option = |argument: &str| argument.split('=').next().unwrap().to_owned();
        arguments.into_iter().filter(|a| of_devices.contains(&option(a).as_str())).collect()
    }

    #[test]
    fn pci_devices_are_probed_only_if_a_port_needs_one() {
        assert_eq!(of("3b:00.1,x=1"), ["--allow=0000:3b:00.1,x=1"]);
        assert_eq!(of("net_null0,size=64"), ["--no-pci", "--vdev=net_null0,size=64"]);
        let capture = Device::capture(0, Some(Path::new("/a")), None);
        assert!(!capture.needs_pci());
        assert_eq!(capture.arguments().collect::<Vec<_>>(), ["--vdev=net_pcap0,rx_pcap=/a"]);
    }

    #[test]
    fn the_members_of_a_bond_are_allowed() {
        let arguments = of("net_bonding0,mode=1,member=3b:00.0,slave=3b:00.1");
        let bond = bond::spelled("net_bonding0,mode=1,member=0000:3b:00.0,member=0000:3b:00.1");
        assert_eq!(
            arguments,
            [&format!("--vdev={bond}"), "--allow=0000:3b:00.0", "--allow=0000:3b:00.1"]
        );
    }
}
