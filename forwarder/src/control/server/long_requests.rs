//! Turns: how many connections may hold a long request at once.
//!
//! The turns left are the count of an event descriptor, because a thread can wait for that together
//! with the stop, as it waits for everything else.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;

use super::Stop;
use super::connection::{Wake, wait};

/// The turns of a server.
#[derive(Debug)]
pub(super) struct Turns {
    left: OwnedFd,
}

/// One turn, over when this is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(super) fn new(count: u32) -> io::Result<Turns> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Ok(Turns { left: eventfd(count, flags)? })
    }

    /// Waits for a turn, for the stop, or for the deadline: only [`Wake::Ready`] has one.
    pub(super) fn take(
        &self,
        stop: &Stop,
        deadline: Instant,
    ) -> io::Result<(Wake, Option<Turn<'_>>)> {
        loop {
            let wake = wait(&self.left, PollFlags::IN, stop, Some(deadline))?;
            if wake != Wake::Ready {
                return Ok((wake, None));
            }
            match rustix::io::read(&self.left, &mut [0; 8]) {
                Ok(_) => return Ok((wake, Some(Turn(self)))),
                // Another thread was faster.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The count is at most that of `new`, so a write of 1 cannot fail.
        if let Err(error) = rustix::io::write(&self.0.left, &1u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot give back the turn of a long request");
        }
    }
}
