//! Live run or replay.

use super::device::Device;

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
