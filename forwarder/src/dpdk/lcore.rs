//! Threads that DPDK knows: standard threads, pinned to a CPU and registered as lcores.
//!
//! A registered thread has a cache in each pool, which makes it cheap to take and return mbufs.
//! Other threads may do everything too, but use the pool's shared ring each time.

use std::panic;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::eal::Eal;
use super::error::{Error, Result};

/// Runs `f` on a new thread, as an lcore of DPDK, pinned to `cpu` if there is one.
///
/// The thread is an lcore from before this returns until `f` ends, even by a panic. The kernel
/// keeps the first 15 bytes of the name.
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
        // Pin first: DPDK copies the affinity when the thread is registered.
        let registration = pin(&thread_name, cpu).and_then(|()| {
            eal.register_thread().map_err(|errno| Error::Register { name: thread_name, errno })
        });
        // Sending can fail only if the parent is gone, and the parent waits.
        match registration {
            Ok(_registration) => {
                let _ = report.send(Ok(()));
                f()
            }
            Err(error) => {
                let _ = report.send(Err(error));
                // Ends a thread that has no `T` to return, without a message: the parent has the
                // error.
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
    use std::panic;

    use rustix::thread::sched_getcpu;

    use super::*;
    use crate::dpdk::testing::{eal, packets, pool};

    #[test]
    fn a_thread_has_its_name_and_stays_on_its_cpu() {
        let allowed = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).rfind(|&cpu| allowed.is_set(cpu)).unwrap();
        let spawned = spawn(eal(), "worker-7", Some(u16::try_from(cpu).unwrap()), move || {
            let mut only = CpuSet::new();
            only.set(cpu);
            assert_eq!(sched_getaffinity(None).unwrap(), only);
            (thread::current().name().map(str::to_owned), sched_getcpu())
        });
        assert_eq!(spawned.unwrap().join().unwrap(), (Some("worker-7".to_owned()), cpu));
    }

    #[test]
    fn a_missing_cpu_is_an_error_that_names_the_allowed_ones() {
        let allowed = ranges(&sched_getaffinity(None).unwrap());
        for cpu in [1000, u16::MAX] {
            let text = spawn(eal(), "lost", Some(cpu), || ()).unwrap_err().to_string();
            assert!(text.contains("thread lost: cannot run on CPU"), "{text}");
            assert!(text.contains(&format!("may use CPUs {allowed}")), "{text}");
        }
    }

    /// DPDK has 128 lcores: a thread that kept its lcore after its end would soon leave none.
    #[test]
    fn threads_give_their_lcore_back_even_when_they_panic() {
        let pool = pool(63);
        for _ in 0..150 {
            let pool = pool.clone();
            let thread = spawn(eal(), "short", None, move || {
                let _burst = packets(&pool, 3);
                panic::resume_unwind(Box::new("on purpose"));
            });
            let cause = thread.unwrap().join().map(|()| "no panic").unwrap_err();
            assert_eq!(cause.downcast_ref(), Some(&"on purpose"));
        }
        assert_eq!(pool.in_use(), 0);
    }

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
