//! The responses to `monitor`: kept events in batches, and, if the client follows, events as they happen.
//!
//! The thread of a client that follows holds one batch at the most. It waits as long as the client takes to read
//! that, and goes on with what the ring still has then. So a slow client loses events, is told how many, and delays
//! nobody.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use guideway_api::{Error, ErrorKind, Event, Events, Happening, Response};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::bounds::FOLLOWERS;
use super::line::{self, End, encoded, is_temporary};
use super::stop::Stop;
use crate::event::{Batch, Bell, Ring};

/// Events of one response at the most.
const BATCH: usize = 500;

/// What a client wants to know.
pub(super) struct Wanted {
    since: Option<u64>,
    /// The daemon that `since` is a number of, if the client says it.
    instance: Option<u64>,
    /// Whether events of each kind are wanted, by [`Happening::index`].
    kinds: Vec<bool>,
    follow: bool,
}

/// How a response to `monitor` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The connection goes on with other requests.
    Answered,
    /// The client has closed the connection, or closed its side of it.
    Closed,
}

/// The right to follow the events; dropping it gives it back.
struct Following<'a>(&'a AtomicUsize);

impl Following<'_> {
    fn take(count: &AtomicUsize) -> Option<Following<'_>> {
        let more = |count: usize| (count < FOLLOWERS).then_some(count + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Following(count))
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The number of the first event that a client wants.
fn place(ring: &Ring, Wanted { since, instance, .. }: &Wanted) -> u64 {
    match *since {
        Some(0) => ring.next(),
        _ if instance.is_some_and(|instance| instance != ring.instance()) => ring.first(),
        // A client that knows a later event than there is knows it from a daemon before this one.
        Some(since) if since <= ring.next() => since,
        _ => ring.first(),
    }
}

/// Responds to requests for events.
pub(super) struct Monitor<'a> {
    pub(super) stream: &'a UnixStream,
    pub(super) stop: &'a Stop,
    pub(super) ring: &'a Arc<Ring>,
    /// Connections that follow.
    pub(super) followers: &'a AtomicUsize,
    /// For a client that does not follow.
    pub(super) client_timeout: Duration,
}

impl Monitor<'_> {
    /// Responds to one request.
    pub(super) fn respond(&self, wanted: &Wanted) -> Result<Ended, End> {
        let place = place(self.ring, wanted);
        if !wanted.follow {
            return self.kept(place, wanted).map(|()| Ended::Answered);
        }
        let Some(_following) = Following::take(self.followers) else {
            let message = format!("{FOLLOWERS} clients follow the events already; try again later");
            let error = Response::Error(Error::new(ErrorKind::Failed, message));
            self.write(&encoded(&error))?;
            return Ok(Ended::Answered);
        };
        self.follow(&self.ring.bell()?, place, wanted)
    }

    /// Sends what is kept now, in at least one response.
    fn kept(&self, mut place: u64, wanted: &Wanted) -> Result<(), End> {
        let end = self.ring.next();
        loop {
            let left = usize::try_from(end.saturating_sub(place)).unwrap_or(usize::MAX);
            let batch = self.ring.read(place, left.min(BATCH));
            let more = batch.next < end;
            place = batch.next;
            let events = wanted.of(self.ring, batch);
            if !more || events.lost > 0 || !events.events.is_empty() {
                self.write(&encoded(&Response::Events(Events { more, ..events })))?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Sends what is kept, and what happens from now on. The first response is sent at once, so that the client knows
    /// that it misses nothing from there on.
    fn follow(&self, bell: &Bell, mut place: u64, wanted: &Wanted) -> Result<Ended, End> {
        let mut is_first = true;
        loop {
            // Before the events are read, so that those before the stop are sent.
            let is_stopping = self.stop.is_raised();
            let batch = self.ring.read(place, BATCH);
            let (is_last, is_closed) = (batch.events.len() < BATCH, batch.is_closed);
            place = batch.next;
            let events = wanted.of(self.ring, batch);
            if is_first || events.lost > 0 || !events.events.is_empty() {
                is_first = false;
                let line = encoded(&Response::Events(Events { more: true, ..events }));
                if self.write_patiently(&line)? == Ended::Closed {
                    return Ok(Ended::Closed);
                }
            }
            if !is_last {
                continue;
            }
            if is_stopping || is_closed {
                return Err(End::Stopped);
            }
            bell.arm(place);
            if self.wait_for(PollFlags::empty(), Some(bell))? == Ended::Closed {
                return Ok(Ended::Closed);
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), End> {
        line::write(self.stream, bytes, self.stop, self.client_timeout)
    }

    /// Writes all bytes, however long the client takes to read them.
    fn write_patiently(&self, mut bytes: &[u8]) -> Result<Ended, End> {
        let mut stream = self.stream;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_temporary(&error) => {
                    if self.stop.is_raised() {
                        return Err(End::Stopped);
                    }
                    if self.wait_for(PollFlags::OUT, None)? == Ended::Closed {
                        return Ok(Ended::Closed);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Ended::Answered)
    }

    /// Waits for `flags` on the stream, for the bell, for the stop, or until the client closes.
    fn wait_for(&self, flags: PollFlags, bell: Option<&Bell>) -> Result<Ended, End> {
        let mut polled = vec![
            PollFd::new(self.stream, flags | PollFlags::RDHUP),
            PollFd::new(&self.stop.event, PollFlags::IN),
        ];
        polled.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
        loop {
            match poll(&mut polled, None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(End::Failed(errno.into())),
            }
        }
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        match polled[0].revents().intersects(gone) {
            true => Ok(Ended::Closed),
            false => Ok(Ended::Answered),
        }
    }
}

impl Wanted {
    /// What a request wants: all kinds if it names none.
    pub(super) fn new(
        (since, instance): (Option<u64>, Option<u64>),
        kinds: &[String],
        follow: bool,
    ) -> Wanted {
        let mut wanted = vec![kinds.is_empty(); Happening::KINDS.len()];
        for kind in kinds {
            let at = Happening::KINDS.iter().position(|(name, ..)| name == kind);
            at.into_iter().for_each(|at| wanted[at] = true);
        }
        Wanted { since, instance, kinds: wanted, follow }
    }

    /// The events of a batch that the client wants.
    fn of(&self, ring: &Ring, batch: Batch) -> Events {
        let is_wanted = |event: &&Arc<Event>| self.kinds[event.happening.index()];
        let events = batch.events.iter().filter(is_wanted).map(|event| Event::clone(event));
        let (instance, lost) = (ring.instance(), batch.lost);
        Events { instance, lost, events: events.collect(), more: false }
    }
}
