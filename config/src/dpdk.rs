//! `[dpdk]`: how the process uses CPUs and memory.

use std::collections::HashMap;

use super::eal;
use super::findings::Checked;
use super::model::{Dpdk, Idle};
use super::section::Section;
use super::value;

const DEFAULT_MEMORY_MIB: u32 = 512;

/// Tens of GiB of packets: more is a typing error.
const MAX_BUFFERS: i64 = 1 << 24;

/// `RTE_MAX_LCORE` of a stock DPDK, less the main thread.
const MAX_WORKERS: usize = 127;

/// The largest CPU number in a CPU set of the kernel's usual size.
const MAX_CPU: i64 = 1023;

pub(super) fn read(mut section: Section<'_>) -> Checked<Dpdk> {
    let workers = workers(&mut section);
    let hugepages = section.or("hugepages", true, value::boolean);
    // Below 64 MiB no pool of packets fits; above 1 TiB is a typing error.
    let memory = section.or("memory", DEFAULT_MEMORY_MIB, value::integer(64..=1 << 20));
    let buffers = section.or("buffers", 0, value::integer(0..=MAX_BUFFERS));
    const IDLE: [(&str, Idle); 3] =
        [("poll", Idle::Poll), ("pause", Idle::Pause), ("interrupt", Idle::Interrupt)];
    let idle = section.or("idle", Idle::default(), value::word(&IDLE));
    let arguments =
        section.list("eal_args", "[\"--log-level=lib.eal:debug\"]", value::text(eal::argument));
    section.finish();
    Ok(Dpdk {
        workers: workers?,
        hugepages: hugepages?.value,
        memory_mib: memory?.value,
        buffers: buffers?.value,
        idle: idle?.value,
        eal_args: arguments?.into_iter().flatten().map(|argument| argument.value).collect(),
    })
}

fn workers(section: &mut Section<'_>) -> Checked<Vec<u16>> {
    const KEY: &str = "workers";
    const EXAMPLE: &str = "[1, 2]";
    let Some(list) = section.list(KEY, EXAMPLE, value::integer::<u16>(0..=MAX_CPU))? else {
        return Err(section.missing(KEY, EXAMPLE));
    };
    let Some(first) = list.first() else {
        let message = "is empty; name the CPU of at least one worker, for example [1]";
        return Err(section.mistake(section.at, KEY, message));
    };
    let mut result = Ok(());
    if list.len() > MAX_WORKERS {
        let message = format!("names {} CPUs; DPDK runs {MAX_WORKERS} workers at most", list.len());
        result = Err(section.mistake(first.at, KEY, message));
    }
    let mut seen = HashMap::new();
    for (index, cpu) in list.iter().enumerate() {
        if seen.insert(cpu.value, index).is_some() {
            let message = format!("is CPU {} again; each worker needs its own", cpu.value);
            result = Err(section.mistake_in(KEY, index, cpu.at, message));
        }
    }
    result.map(|()| list.iter().map(|cpu| cpu.value).collect())
}
