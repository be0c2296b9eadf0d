//! Sleeping until a packet comes: the receive interrupts of queues.
//!
//! A few drivers have receive interrupts: those of most NICs bound to vfio-pci, virtio, and net_tap
//! among the virtual ones. An [`RxInterrupts`] waits for several queues. It belongs to the thread
//! that polls them, because DPDK keeps the list of interrupts to wait for with the thread.
//!
//! A packet that came before [`RxInterrupts::arm`] raises no interrupt. So a thread arms, polls
//! once more, and sleeps if that poll found nothing.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use dpdk_sys as sys;

use super::device::Device;
use super::error::{Errno, Error, Result};
use super::queue::RxQueue;

/// The receive interrupts of a thread's queues.
#[derive(Debug)]
pub struct RxInterrupts {
    /// The queues, each with its device, which runs for as long as it is held.
    queues: Vec<(Arc<Device>, u16)>,
    /// A descriptor that ends a wait, and DPDK's note about it.
    wake: Option<(OwnedFd, NonNull<sys::rte_epoll_event>)>,
    /// Not `Send`: DPDK knows the interrupts by this thread.
    _of_thread: PhantomData<*const ()>,
}

impl RxInterrupts {
    /// The receive interrupts of these queues, for the calling thread.
    ///
    /// # Errors
    /// A device has none, or was not configured with [`super::port::Settings::interrupts`].
    pub fn new<'a>(queues: impl IntoIterator<Item = &'a RxQueue>) -> Result<RxInterrupts> {
        let mut interrupts =
            RxInterrupts { queues: Vec::new(), wake: None, _of_thread: PhantomData };
        for queue in queues {
            let (device, index) = (queue.device(), queue.index());
            // SAFETY: the device is started with this queue.
            let result = unsafe { sys::guideway_rx_interrupt(device.id(), index, 1) };
            device.check(format!("wait for interrupts of receive queue {index}"), result)?;
            interrupts.queues.push((Arc::clone(device), index));
        }
        // Some drivers find out only at this call that they have no interrupts.
        interrupts.arm()?;
        interrupts.disarm();
        Ok(interrupts)
    }

    /// Makes a write to an eventfd end a wait, too: each write ends one wait, whether the descriptor is read or
    /// not.
    ///
    /// # Errors
    /// DPDK refuses it.
    pub fn wake_by(&mut self, event: OwnedFd) -> Result<()> {
        // SAFETY: an open descriptor, which stays open until `drop` has removed it.
        let note = unsafe { sys::guideway_wake_add(event.as_raw_fd()) };
        let note = NonNull::new(note).ok_or(Error::Wake { errno: Errno::last() })?;
        self.wake = Some((event, note));
        Ok(())
    }

    /// Makes each queue raise an interrupt for the next packet.
    ///
    /// # Errors
    /// A device has none.
    pub fn arm(&self) -> Result<()> {
        for (device, queue) in &self.queues {
            // SAFETY: the device is started with this queue, which is this thread's.
            let result = unsafe { sys::rte_eth_dev_rx_intr_enable(device.id(), *queue) };
            // A queue whose interrupt cannot be switched has it always armed.
            if result != -Errno::ENOTSUP.0 {
                device.check(format!("arm the interrupt of receive queue {queue}"), result)?;
            }
        }
        Ok(())
    }

    /// Makes no queue raise an interrupt any more.
    pub fn disarm(&self) {
        for (device, queue) in &self.queues {
            // SAFETY: the device is started with this queue, which is this thread's.
            let _ = unsafe { sys::rte_eth_dev_rx_intr_disable(device.id(), *queue) };
        }
    }

    /// Sleeps until an interrupt, or for `at_most`, in whole milliseconds and at least one. Returns
    /// whether there was an interrupt. The queue that raised it must be armed again.
    pub fn wait(&self, at_most: Duration) -> bool {
        let milliseconds = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX).max(1);
        // SAFETY: waits for interrupts that this thread has added, or for the time alone.
        let interrupts = unsafe { sys::guideway_wait(milliseconds) };
        if interrupts < 0 {
            // This is not expected. The caller must not loop without sleeping.
            std::thread::sleep(Duration::from_millis(1));
        }
        interrupts > 0
    }
}

impl Drop for RxInterrupts {
    fn drop(&mut self) {
        if let Some((event, note)) = self.wake.take() {
            // SAFETY: this thread has added the descriptor, with this note, and does not wait now.
            unsafe { sys::guideway_wake_remove(event.as_raw_fd(), note.as_ptr()) };
        }
        for (device, queue) in &self.queues {
            // SAFETY: the device is started with this queue, and this thread has added it.
            let result = unsafe { sys::guideway_rx_interrupt(device.id(), *queue, 0) };
            let removed: std::result::Result<u32, Error> =
                device.check(format!("end the interrupt of receive queue {queue}"), result);
            if let Err(error) = removed {
                tracing::warn!("{error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::port::Settings;
    use crate::dpdk::testing::{device, pool, settings};

    #[test]
    fn a_device_without_interrupts_is_an_error() {
        let pool = pool(511);
        let wanted = Settings { interrupts: true, ..settings() };
        let (port, _) = device("net_null", "").configure(&wanted, &pool).unwrap();
        let (_port, rx, _tx) = port.start().unwrap();
        let text = RxInterrupts::new(&rx).unwrap_err().to_string();
        assert!(text.contains("cannot wait for interrupts of receive queue 0"), "{text}");
        assert!(text.contains("not supported"), "{text}");
    }

    #[test]
    fn a_wait_without_queues_sleeps_for_its_time() {
        let interrupts = RxInterrupts::new([]).unwrap();
        let start = std::time::Instant::now();
        assert!(!interrupts.wait(Duration::from_millis(20)));
        assert!(start.elapsed() >= Duration::from_millis(19));
    }

    #[test]
    fn each_write_ends_one_wait() {
        use rustix::event::{EventfdFlags, eventfd};
        let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let write = || rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
        let mut interrupts = RxInterrupts::new([]).unwrap();
        interrupts.wake_by(event.try_clone().unwrap()).unwrap();
        for _ in 0..3 {
            assert!(!interrupts.wait(Duration::from_millis(1)));
            write();
            assert!(interrupts.wait(Duration::from_secs(20)));
        }
        drop(interrupts);
        write();
        assert!(!RxInterrupts::new([]).unwrap().wait(Duration::from_millis(1)));
    }
}
