//! Live run or replay, and what the choice means for devices, CPUs and clock.

use std::path::PathBuf;

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
        /// Where the frames of each port go that a live run would give to the kernel. `None` if they are
        /// only counted.
        punted: Vec<Option<PathBuf>>,
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
    /// For each port the capture of its punted frames, if any. Empty in a live run.
    pub(super) punted: Vec<Option<PathBuf>>,
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
                    punted: Vec::new(),
                }
            }
            Mode::Replay { workers, devices, capture_clock, punted } => Run {
                live: false,
                devices,
                workers,
                cpus: vec![None; usize::from(workers)],
                capture_clock,
                punted,
            },
        }
    }

    /// How many ports have an interface, or in a replay a capture in place of one.
    pub(super) fn interfaces(&self, configuration: &Configuration) -> usize {
        if self.live {
            configuration.ports.iter().filter(|port| port.interface().is_some()).count()
        } else {
            self.punted.iter().flatten().count()
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
