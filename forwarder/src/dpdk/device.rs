//! A device that this process has taken, from when it is found until it is closed.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use dpdk_sys as sys;
use parking_lot::{Mutex, MutexGuard};
use rustix::event::{EventfdFlags, eventfd};

use super::burst::{BURST, Burst};
use super::eal::Eal;
use super::error::{Errno, Error, Result, check};
use super::mempool::Mempool;

/// The most bursts taken from a queue before its device is stopped: as many as a ring device holds.
const LAST_BURSTS: usize = 64;
/// Attempts, a millisecond apart, to take back sent mbufs before no more are expected.
const REAPS: usize = 10;

/// The state of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// Megabits per second, if known.
    pub speed_mbps: Option<u32>,
    /// Both directions can send at once.
    pub full_duplex: bool,
}

/// A device's own counters, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames lost because a queue was full.
    pub rx_missed: u64,
    /// Frames received with an error.
    pub rx_errors: u64,
    /// How often the pool had no mbuf for a frame.
    pub rx_no_buffer: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
}

/// Owns a port of DPDK. Dropping it stops and closes the device.
#[derive(Debug)]
pub(super) struct Device {
    id: u16,
    name: String,
    /// Receive queues that run; 0 until the device is started.
    running: u16,
    /// Transmit queues that run; 0 until the device is started.
    sending: u16,
    /// Promiscuous mode was set here. It must be reset, or a kernel interface would keep it.
    promiscuous: bool,
    /// The device shares its mbufs with the kernel.
    pub(super) shares: bool,
    /// EAL's errors about the start and the close of the device are not logged.
    pub(super) hide_errors: bool,
    /// Readable when the device has interrupted because its link changed.
    link_changes: Option<OwnedFd>,
    /// The lock of [`Device::control`].
    control: Mutex<()>,
    /// The pool that fills the receive queues. It must outlive the device.
    pub(super) pool: Option<Mempool>,
    /// The RSS key, which DPDK points to.
    pub(super) rss_key: Option<Box<[u8]>>,
    eal: Eal,
}

impl Device {
    /// The port `id`, which the caller has claimed for itself.
    pub(super) fn new(eal: Eal, id: u16, name: String) -> Self {
        let control = Mutex::new(());
        Self {
            id,
            name,
            running: 0,
            sending: 0,
            promiscuous: false,
            shares: false,
            hide_errors: false,
            link_changes: None,
            control,
            pool: None,
            rss_key: None,
            eal,
        }
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The ports of DPDK that nobody has claimed, such as the members of a bond.
    pub(super) fn unclaimed(&self) -> Vec<u16> {
        self.eal.unclaimed()
    }

    /// Turns the result of a call about this device into one that names the device.
    pub(super) fn check(&self, action: impl Into<String>, result: i32) -> Result<u32> {
        check(result).map_err(|errno| Error::Device {
            device: self.name.clone(),
            action: action.into(),
            errno,
        })
    }

    /// Turns a call that the device lacks into a note for the operator. A call that fails is an
    /// error.
    pub(super) fn unless_lacking(
        &self,
        action: impl Into<String>,
        result: i32,
        instead: &str,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        match self.check(action, result) {
            Err(Error::Device { action, errno: Errno::ENOTSUP, .. }) => {
                notes.push(format!("the device cannot {action}: {instead}"));
                Ok(())
            }
            other => other.map(|_| ()),
        }
    }

    /// Sets promiscuous mode until the device is closed. Returns DPDK's result: 0, or a negative
    /// error number.
    pub(super) fn set_promiscuous(&mut self) -> i32 {
        // SAFETY: this value owns the port.
        let before = unsafe { sys::rte_eth_promiscuous_get(self.id) };
        // SAFETY: this value owns the port.
        let result = unsafe { sys::rte_eth_promiscuous_enable(self.id) };
        self.promiscuous = before == 0 && result == 0;
        result
    }

    /// Makes the device interrupt when its link changes. Returns whether it does. The device must
    /// then be configured for that. DPDK takes the link's state from the last interrupt, and does
    /// not ask the device any more.
    pub(super) fn watch_link(&mut self) -> bool {
        // SAFETY: this value owns the port.
        if unsafe { sys::guideway_link_interrupt(self.id) } == 0 {
            return false;
        }
        let Ok(event) = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK) else {
            return false;
        };
        // SAFETY: this value owns the port and the descriptor, which is closed after the callback
        // is unregistered.
        let result = unsafe { sys::guideway_link_watch(self.id, event.as_raw_fd(), 1) };
        if result == 0 {
            self.link_changes = Some(event);
        }
        result == 0
    }

    /// Readable when the device has interrupted because its link changed. `None` if it does not
    /// interrupt.
    pub(super) fn link_changes(&self) -> Option<BorrowedFd<'_>> {
        self.link_changes.as_ref().map(AsFd::as_fd)
    }

    /// Starts the device, which is configured with this many queues.
    pub(super) fn start(&mut self, rx_queues: u16, tx_queues: u16) -> Result<()> {
        // SAFETY: this value owns the port, which is configured.
        let result = unsafe { sys::guideway_start(self.id, self.hide_errors.into()) };
        self.check("start it", result)?;
        (self.running, self.sending) = (rx_queues, tx_queues);
        Ok(())
    }

    /// The lock to hold while asking DPDK about the port: DPDK allows one thread at a time.
    pub(super) fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock()
    }

    pub(super) fn link(&self) -> Link {
        let _one_at_a_time = self.control();
        let mut link = sys::guideway_link::default();
        // SAFETY: this value owns the port; the result pointer is valid.
        let result = unsafe { sys::guideway_link_get(self.id, &raw mut link) };
        if result != 0 {
            return Link::default();
        }
        // DPDK has 0 for no speed, and all ones for an unknown one.
        let known = link.speed_mbps != 0 && link.speed_mbps != sys::GUIDEWAY_SPEED_UNKNOWN;
        Link {
            up: link.up != 0,
            speed_mbps: known.then_some(link.speed_mbps),
            full_duplex: link.full_duplex != 0,
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let _one_at_a_time = self.control();
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: this value owns the port; the result pointer is valid.
        let result = unsafe { sys::rte_eth_stats_get(self.id, &raw mut stats) };
        if result != 0 {
            return Counters::default();
        }
        Counters {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_missed: stats.imissed,
            rx_errors: stats.ierrors,
            rx_no_buffer: stats.rx_nombuf,
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        }
    }

    /// Takes all packets that wait in the receive queues: a ring device would lose them when it is
    /// closed.
    fn drain(&self) {
        let mut burst = Burst::new();
        for queue in 0..self.running {
            for _ in 0..LAST_BURSTS {
                burst.clear();
                let poll = |slots, room| {
                    // SAFETY: the device is started with this queue, which nobody polls any more,
                    // because each queue's value holds the device. `room` slots are free.
                    unsafe { sys::guideway_rx_burst(self.id, queue, slots, room) }
                };
                // SAFETY: the caller owns the mbufs that a device delivers.
                let received = unsafe { burst.append_with(poll) };
                if received < BURST {
                    break;
                }
            }
        }
    }

    /// Makes the device return the mbufs that it has sent. Drivers free them at the next send. A
    /// driver that shares its mbufs with the kernel ([`super::port::Umem`]) does not free them at
    /// the close.
    fn reap(&self, pool: &Mempool) {
        let mut before = u32::MAX;
        // Repeat as long as any come back: the kernel sends, and reports what it sent, when it
        // likes.
        while pool.in_use() < before {
            before = pool.in_use();
            for _ in 0..REAPS {
                for queue in 0..self.sending {
                    // SAFETY: the device is started with this queue, by which nobody sends any
                    // more, because each queue's value holds the device. No mbuf is given, so no
                    // slot is read.
                    unsafe { sys::guideway_tx_burst(self.id, queue, std::ptr::null_mut(), 0) };
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.running > 0 {
            self.drain();
            if let Some(pool) = self.pool.as_ref().filter(|_| self.shares) {
                self.reap(pool);
            }
            // SAFETY: this value owns the port, of which no queue is left.
            let result = unsafe { sys::rte_eth_dev_stop(self.id) };
            if let Err(error) = self.check("stop it", result) {
                tracing::warn!("{error}");
            }
        }
        if self.promiscuous {
            // SAFETY: this value owns the port.
            let result = unsafe { sys::rte_eth_promiscuous_disable(self.id) };
            if let Err(error) = self.check("leave promiscuous mode", result) {
                tracing::warn!("{error}");
            }
        }
        if let Some(event) = &self.link_changes {
            // SAFETY: this value owns the port, and the callback is the one that was registered.
            while unsafe { sys::guideway_link_watch(self.id, event.as_raw_fd(), 0) }
                == -Errno::EAGAIN
            {
                // The callback runs at this moment.
                std::thread::yield_now();
            }
        }
        self.eal.release_port(self.id, || {
            // SAFETY: this value owns the port, which is stopped; nothing uses the port after this.
            let result = unsafe { sys::guideway_close(self.id, self.hide_errors.into()) };
            if let Err(error) = self.check("close it", result) {
                tracing::warn!("{error}");
            }
        });
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.up {
            return f.write_str("down");
        }
        match self.speed_mbps {
            Some(speed) => write!(f, "up, {speed} Mb/s")?,
            None => f.write_str("up, unknown speed")?,
        }
        f.write_str(if self.full_duplex { ", full duplex" } else { ", half duplex" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_shown_in_words() {
        let mut link = Link { up: true, speed_mbps: Some(10_000), full_duplex: true };
        assert_eq!(link.to_string(), "up, 10000 Mb/s, full duplex");
        link.full_duplex = false;
        link.speed_mbps = None;
        assert_eq!(link.to_string(), "up, unknown speed, half duplex");
        assert_eq!(Link::default().to_string(), "down");
    }
}
