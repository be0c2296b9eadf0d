//! Live run or replay, and what the choice means for devices, CPUs and clock.

use super::device::Device;
use super::error::Error;
use super::placement::Cpu;
use crate::dpdk::{Eal, TimestampField};
use guideway_config::Configuration;

/// What distinguishes a replay from a live run.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The configured devices and CPUs, and the CPU's clock. A full ring drops packets.
    Live,
    /// Captures, and threads that are not pinned. A full ring makes the source wait.
    Replay {
        /// The number of workers.
        workers: u16,
        /// The device of each port.
        devices: Vec<Device>,
        /// The capture's time stamps are the clock, rather than the CPU's counter.
        capture_clock: bool,
    },
}

/// A mode, applied to a configuration.
pub(super) struct Run {
    pub(super) live: bool,
    /// The device of each port.
    pub(super) devices: Vec<Device>,
    pub(super) workers: u16,
    /// The CPU of each worker. `None` in a replay.
    pub(super) cpus: Vec<Option<Cpu>>,
    capture_clock: bool,
}

impl Run {
    pub(super) fn of(mode: Mode, configuration: &Configuration) -> Run {
        match mode {
            Mode::Live => {
                let cpus = &configuration.dpdk.workers;
                #[expect(clippy::cast_possible_truncation, reason = "CPU numbers are 16 bits")]
                let workers = cpus.len() as u16;
                Run {
                    live: true,
                    devices: configuration.ports.iter().map(Device::of).collect(),
                    workers,
                    cpus: cpus.iter().map(|&number| Some(Cpu::of(number))).collect(),
                    capture_clock: false,
                }
            }
            Mode::Replay { workers, devices, capture_clock } => Run {
                live: false,
                devices,
                workers,
                cpus: vec![None; usize::from(workers)],
                capture_clock,
            },
        }
    }

    /// Where packets carry the time stamps that are the clock. `None` if the CPU's counter is.
    ///
    /// # Errors
    /// The devices that were probed give no time stamps.
    pub(super) fn timestamps(&self, eal: &Eal) -> Result<Option<TimestampField>, Error> {
        if !self.capture_clock {
            return Ok(None);
        }
        TimestampField::lookup(eal).map(Some).ok_or(Error::NoTimestamps)
    }
}
