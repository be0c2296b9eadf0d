//! Threads that DPDK knows: standard threads, pinned to a CPU and registered as lcores.
//!
//! A registered thread has a cache in each pool, which makes taking and returning mbufs cheap. Other
//! threads may do everything too, at the price of the pool's shared ring.

use std::panic;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::eal::Eal;
use super::error::{Error, Result};

/// Runs `f` on a new thread, on `cpu` alone if one is given, as an lcore of DPDK.
///
/// The thread is an lcore before this returns and until `f` ends, by a panic too. The kernel keeps
/// the first 15 bytes of the name.
pub fn spawn<T: Send + 'static>(
    eal: &Eal,
    name: &str,
    cpu: Option<u16>,
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let (report, outcome) = mpsc::sync_channel(1);
    let eal = eal.clone();
    let thread_name = name.to_owned();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The affinity first: DPDK takes it over when the thread is registered.
        let registration = pin(&thread_name, cpu).and_then(|()| {
            eal.register_thread().map_err(|errno| Error::Register { name: thread_name, errno })
        });
        // A send can fail only if the parent is gone, and it waits.
        match registration {
            Ok(_registration) => {
                let _ = report.send(Ok(()));
                f()
            }
            Err(error) => {
                let _ = report.send(Err(error));
                // Ends a thread that has no `T` to return, without a message: the parent has it.
                panic::resume_unwind(Box::new(()))
            }
        }
    });
    let handle = spawned.map_err(|source| Error::Thread { name: name.to_owned(), source })?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(handle),
        Ok(Err(error)) => {
            let _ = handle.join();
            Err(error)
        }
        Err(mpsc::RecvError) => match handle.join() {
            Err(cause) => panic::resume_unwind(cause),
            Ok(_) => unreachable!("the thread reports before it ends"),
        },
    }
}

fn pin(name: &str, cpu: Option<u16>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut only = CpuSet::new();
    if usize::from(cpu) < CpuSet::MAX_CPU {
        only.set(cpu.into());
    }
    sched_setaffinity(None, &only).map_err(|_| Error::Cpu {
        name: name.to_owned(),
        cpu,
        allowed: sched_getaffinity(None).map_or_else(|_| "unknown".to_owned(), |set| ranges(&set)),
    })
}

/// A set of CPUs as the kernel writes it: `0-3,8`.
fn ranges(set: &CpuSet) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)) {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let text = |&(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_cpus_is_written_as_ranges() {
        let mut set = CpuSet::new();
        assert_eq!(ranges(&set), "");
        for cpu in [0, 1, 2, 8, 10, 11] {
            set.set(cpu);
        }
        assert_eq!(ranges(&set), "0-2,8,10-11");
    }
}
