//! What the kernel says about the process, by the names that Prometheus's client libraries have for it.
//!
//! The collector of the crate `prometheus` would bring a second version of `rustix`.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What is known of the process. What `/proc` does not say is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Processor time of all threads.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Memory mapped.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<usize>,
    /// The most file descriptors that the process may have.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, in seconds since 1970.
    pub start_time: Option<f64>,
}

impl Process {
    /// This process, now.
    pub fn read() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field, the name, is in parentheses and may hold anything. The third is the first after it.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let field = |number: usize| -> Option<u64> {
            fields.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
        };
        let ticks = clock_ticks_per_second() as f64;
        // Once, so that a step of the clock is no restart.
        static START_TIME: OnceLock<Option<f64>> = OnceLock::new();
        let start_time = *START_TIME.get_or_init(|| {
            field(22).map(|begun| now() - (seconds(ClockId::Boottime) - begun as f64 / ticks))
        });
        Process {
            cpu_seconds: seconds(ClockId::ProcessCPUTime),
            resident_bytes: field(24).map(|pages| pages * page_size() as u64),
            virtual_bytes: field(23),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|open| open.count().saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
            threads: field(20),
            start_time,
        }
    }
}

/// The time, in seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_is_asked() {
        let Process {
            cpu_seconds,
            resident_bytes,
            virtual_bytes,
            open_fds,
            max_fds,
            threads,
            start_time,
        } = Process::read();
        assert!(cpu_seconds > 0.0);
        assert!(resident_bytes.unwrap() > 1 << 20 && virtual_bytes > resident_bytes);
        assert!(open_fds.unwrap() >= 3 && max_fds.unwrap() > open_fds.unwrap() as u64);
        assert!(threads.unwrap() >= 1);
        let age = now() - start_time.unwrap();
        assert!((0.0..86_400.0).contains(&age), "{age}");
    }
}
