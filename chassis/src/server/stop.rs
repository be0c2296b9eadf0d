//! The stop of a server, and waiting for a descriptor until the stop or a deadline.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A flag that also wakes every thread that polls its descriptor.
#[derive(Debug)]
pub(super) struct Stop {
    raised: AtomicBool,
    pub(super) event: OwnedFd,
}

impl Stop {
    pub(super) fn new() -> io::Result<Stop> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { raised: AtomicBool::new(false), event })
    }

    pub(super) fn raise(&self) {
        self.raised.store(true, Ordering::Release);
        // No one reads the event, so it stays readable for every thread. A write of 1 to a counter
        // at 0 cannot fail.
        if let Err(error) = rustix::io::write(&self.event, &1u64.to_ne_bytes()) {
            tracing::error!(%error, "cannot wake the control socket's threads");
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The descriptor is ready, perhaps with an error.
    Ready,
    /// The server stops.
    Stopped,
    /// The deadline has passed.
    Late,
}

/// Waits for `flags` on `descriptor`, for the stop, or for the deadline.
pub(super) fn wait(
    descriptor: &impl AsFd,
    flags: PollFlags,
    stop: &Stop,
    deadline: Option<Instant>,
) -> io::Result<Wake> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A deadline too far away for a `Timespec` means no deadline.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut polled = [PollFd::new(&stop.event, PollFlags::IN), PollFd::new(descriptor, flags)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => return Ok(Wake::Late),
            Ok(_) if !polled[0].revents().is_empty() => return Ok(Wake::Stopped),
            Ok(_) => return Ok(Wake::Ready),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
