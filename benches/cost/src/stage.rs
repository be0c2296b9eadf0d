//! DPDK for benchmarks without I/O: no hugepages, no devices, no files; and a pool of mbufs.

use anyhow::{Context, Result};
use guideway::dpdk::{Eal, Mempool};
use rustix::thread::{CpuSet, sched_getaffinity};

/// Mbufs of the pool: enough for each worker, and for the rings between.
const PACKETS: u32 = 1023;
/// Mbufs that stay with a thread: as many as the appliance has.
const CACHE: u32 = 256;

/// The CPUs of this process, the last first, because the first CPU serves the most interrupts.
///
/// # Errors
/// The kernel's error.
pub fn cpus() -> Result<Vec<u16>> {
    let set = sched_getaffinity(None).context("the CPUs of this process")?;
    let cpus = (0..u16::try_from(CpuSet::MAX_CPU)?).rev();
    Ok(cpus.filter(|&cpu| set.is_set(cpu.into())).collect())
}

/// Starts DPDK on the last CPU.
///
/// # Errors
/// DPDK's error.
pub fn open(name: &str) -> Result<(Eal, Mempool)> {
    let cpu = *cpus()?.first().context("no CPU")?;
    let arguments: Vec<String> = [
        "--no-huge",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "-m",
        "64",
        "--log-level=error",
        &format!("--lcores=0@{cpu}"),
        &format!("--file-prefix=guideway-{name}-{}", std::process::id()),
    ]
    .map(str::to_owned)
    .to_vec();
    let eal = Eal::init(name, &arguments)?;
    let pool = Mempool::new(&eal, name, PACKETS, 2048, CACHE, None)?;
    Ok((eal, pool))
}
