//! How many connections may hold a long request at once.
//!
//! The permits left are the count of an event descriptor, because a thread can wait for a descriptor
//! together with the stop.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;

use super::stop::{Stop, Wake, wait};

/// The permits for long requests of a server.
#[derive(Debug)]
pub(super) struct LongRequests {
    left: OwnedFd,
}

/// A permit to hold a long request; dropping it gives it back.
pub(super) struct LongRequest<'a>(&'a LongRequests);

impl LongRequests {
    pub(super) fn new(count: u32) -> io::Result<LongRequests> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Ok(LongRequests { left: eventfd(count, flags)? })
    }

    /// Waits for a permit, for the stop, or for the deadline: only [`Wake::Ready`] comes with a permit.
    pub(super) fn take(
        &self,
        stop: &Stop,
        deadline: Instant,
    ) -> io::Result<(Wake, Option<LongRequest<'_>>)> {
        loop {
            let wake = wait(&self.left, PollFlags::IN, stop, Some(deadline))?;
            if wake != Wake::Ready {
                return Ok((wake, None));
            }
            match rustix::io::read(&self.left, &mut [0; 8]) {
                Ok(_) => return Ok((wake, Some(LongRequest(self)))),
                // Another thread took the permit.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Drop for LongRequest<'_> {
    fn drop(&mut self) {
        // The count is at most that of `new`, so a write of 1 cannot fail.
        if let Err(error) = rustix::io::write(&self.0.left, &1u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot give back the permit of a long request");
        }
    }
}
