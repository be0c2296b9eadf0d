//! `[dpdk]`: how the process uses CPUs and memory.

use std::collections::HashSet;

use super::eal;
use crate::declare::section;
use crate::kind::{Boolean, Words, integer};
use crate::section::Section;

/// `RTE_MAX_LCORE` of a stock DPDK, less the main thread.
const MAX_WORKERS: usize = 127;

/// The largest CPU number in a CPU set of the kernel's usual size.
const MAX_CPU: i64 = 1023;

/// What a worker does while no packet comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It polls again at once, always.
    #[default]
    Poll,
    /// It sleeps for some microseconds at a time.
    Pause,
    /// It sleeps until the device interrupts.
    Interrupt,
}

const IDLE: Words<Idle> =
    Words(&[("poll", Idle::Poll), ("pause", Idle::Pause), ("interrupt", Idle::Interrupt)]);

// Below 64 MiB no pool of packets fits; above 1 TiB is a typing error, as are tens of GiB of buffers.
section! {
    /// How the process uses CPUs and memory.
    "[dpdk]" 1..=1 => Dpdk, DpdkDraft {
        /// The CPU of each worker, each once; 1 to 127 workers (DPDK's limit of 128 threads, less the
        /// main one).
        workers: u16 = integer(0..=MAX_CPU), required_list "[1, 2]", restart;
        /// `false` runs without hugepages, for trials and tests.
        hugepages: bool = Boolean, default "true", restart;
        /// All of DPDK's memory, most of it packets, where `hugepages` is `false`. With hugepages DPDK
        /// takes what it needs, and this key has no effect.
        ///
        /// The default fits a few ports of 1024 descriptors with MTU 1500 and several workers each.
        /// Frames of 9000 bytes need about four times as much for each packet.
        memory_mib ("memory"): u32 = integer(64..=1 << 20), default "512", restart, unit "MiB";
        /// The least number of packet buffers, in one pool for all ports.
        ///
        /// Guideway creates as many as its queues, rings, workers and fragments can hold. More are needed
        /// only where a driver keeps packets of its own, as `net_pcap` with `infinite_rx=1` keeps its
        /// whole capture.
        buffers: u32 = integer(0..=1 << 24), default "0", restart, unit "packets";
        /// What a worker does while no packet arrives, see [Idle workers](operations.md#idle-workers).
        idle: Idle = IDLE, default "\"poll\"", restart;
        /// More arguments of DPDK's environment layer, passed on one by one.
        ///
        /// What Guideway sets by itself (CPUs, memory, devices, file prefix ...) is refused. The message
        /// names the key that decides it.
        eal_args: String = eal::ARGUMENT, list "[\"--log-level=lib.eal:debug\"]", restart;
    }
}

pub(crate) fn read(root: &Section<'_>) -> DpdkDraft {
    const KEY: &str = "workers";
    let section = root.table("dpdk", true);
    let draft = DpdkDraft::read(&section);
    let Ok(list) = &draft.workers else { return draft };
    if list.is_empty() {
        let message = "is empty; name the CPU of at least one worker, for example [1]";
        section.mistake_at("", KEY, message);
    } else if list.len() > MAX_WORKERS {
        let message = format!("names {} CPUs; DPDK runs {MAX_WORKERS} workers at most", list.len());
        section.mistake_at("workers[0]", KEY, message);
    }
    let mut seen = HashSet::new();
    for (index, cpu) in list.iter().enumerate().filter(|(_, cpu)| !seen.insert(*cpu)) {
        let message = format!("is CPU {cpu} again; each worker needs its own");
        section.mistake(&format!("{KEY}[{index}]"), message);
    }
    draft
}
