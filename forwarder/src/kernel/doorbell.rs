//! Wakes a thread that sleeps, at no cost while it does not.
//!
//! The sleeper says that it sleeps, looks once more whether there is something to do, and only then
//! waits for the [descriptor](Doorbell::as_fd). Whoever gives it something to do, does so first, and
//! then looks whether it sleeps. Both put a fence between their two steps. So at least one of them
//! sees what the other did: either the sleeper finds its work, or the bell is rung.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// The bell of one sleeper. Any thread may ring.
#[derive(Debug)]
pub struct Doorbell {
    event: OwnedFd,
    asleep: AtomicBool,
}

impl Doorbell {
    /// A bell whose sleeper is awake.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Doorbell { event, asleep: AtomicBool::new(false) })
    }

    /// Wakes the sleeper if it sleeps. Call this behind what it is woken for.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        // The swap makes one of several ringers write, once for each sleep.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.ring_always();
        }
    }

    /// Wakes the sleeper, now or when it next sleeps.
    pub fn ring_always(&self) {
        // An eventfd refuses a write only after 2^64 writes without a read.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Says that the sleeper is about to sleep. It must look for work once more before it does.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Says that the sleeper is awake.
    pub fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Makes the descriptor unreadable until the next ring.
    pub fn silence(&self) {
        // Fails if nobody has rung.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::thread;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(bell: &Doorbell, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).unwrap();
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    }

    #[test]
    fn a_bell_is_rung_once_for_each_sleep() {
        let bell = Doorbell::new().unwrap();
        bell.ring();
        assert!(!is_readable(&bell, Duration::ZERO), "nobody sleeps");
        bell.fall_asleep();
        bell.ring();
        assert!(is_readable(&bell, Duration::ZERO));
        bell.silence();
        bell.ring();
        assert!(!is_readable(&bell, Duration::ZERO), "it is awake");
    }

    /// A wake-up that is lost would end in the timeout.
    #[test]
    fn no_ring_is_lost_between_two_threads() {
        const ROUNDS: u64 = 20_000;
        let bell = Arc::new(Doorbell::new().unwrap());
        let work = Arc::new(AtomicU64::new(0));
        let (ringer, given) = (Arc::clone(&bell), Arc::clone(&work));
        let thread = thread::spawn(move || {
            for number in 1..=ROUNDS {
                given.store(number, Ordering::Relaxed);
                ringer.ring();
                if number % 3 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut done = 0;
        while done < ROUNDS {
            bell.fall_asleep();
            let found = work.load(Ordering::Relaxed);
            if found == done {
                assert!(is_readable(&bell, Duration::from_secs(20)), "a ring was lost");
            }
            bell.wake();
            bell.silence();
            done = found;
        }
        thread.join().unwrap();
    }
}
