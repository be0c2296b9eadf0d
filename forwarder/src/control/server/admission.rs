//! The places for connections, and who gives one up when none is free.
//!
//! A connection that waits for its client's next request is idle. When every place is taken, a new
//! connection gets the place of the one that is idle for longest, whose stream is shut down. One
//! mutex guards both that choice and the step from idle to busy, so a connection that has begun to
//! read a request keeps its place.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// All places of a server.
pub(super) struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    /// The number of the next connection.
    next: u64,
    by_number: BTreeMap<u64, Held>,
}

/// What is known of a connection that has a place.
struct Held {
    stream: Arc<UnixStream>,
    /// `None` while it is busy.
    idle_since: Option<Instant>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Places {
        Places { limit, taken: Mutex::default() }
    }

    /// Gives a new connection a place; it is busy at first. There is none if all others are busy.
    pub(super) fn take(&self, stream: &Arc<UnixStream>) -> Option<Place<'_>> {
        let mut taken = self.taken.lock();
        if taken.by_number.len() >= self.limit {
            taken.displace()?;
        }
        let number = taken.next;
        taken.next += 1;
        taken.by_number.insert(number, Held { stream: Arc::clone(stream), idle_since: None });
        Some(Place { places: self, number })
    }
}

impl Taken {
    /// Takes the place of the connection that is idle for longest.
    fn displace(&mut self) -> Option<()> {
        let idle = self.by_number.iter().filter_map(|(&number, held)| {
            let since = held.idle_since?;
            // A request that its thread has not begun to read is a request all the same.
            (!has_unread(&held.stream)).then_some((since, number))
        });
        let (since, number) = idle.min()?;
        let displaced = self.by_number.remove(&number)?;
        tracing::debug!(idle = ?since.elapsed(), "control connection closed: its place is needed");
        // This wakes its thread. It fails only if the client has gone.
        let _ = displaced.stream.shutdown(Shutdown::Both);
        Some(())
    }
}

/// Whether the client has sent what was not read yet. A stream that fails is read no more.
fn has_unread(stream: &UnixStream) -> bool {
    rustix::io::ioctl_fionread(stream).is_ok_and(|unread| unread > 0)
}

/// The place of one connection, free again when this is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    number: u64,
}

impl Place<'_> {
    /// The connection waits for a request: from now on it may lose its place.
    pub(super) fn idle(&self) {
        self.note(Some(Instant::now()));
    }

    /// The connection is about to read a request. False if it has lost its place: it must end.
    #[must_use]
    pub(super) fn busy(&self) -> bool {
        self.note(None)
    }

    fn note(&self, idle_since: Option<Instant>) -> bool {
        let mut taken = self.places.taken.lock();
        let held = taken.by_number.get_mut(&self.number);
        held.map(|held| held.idle_since = idle_since).is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.taken.lock().by_number.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A connection's end and its client's.
    fn pair() -> (Arc<UnixStream>, UnixStream) {
        let (stream, client) = UnixStream::pair().unwrap();
        client.set_nonblocking(true).unwrap();
        (Arc::new(stream), client)
    }

    /// Whether the stream of this client was shut down.
    fn is_closed(mut client: &UnixStream) -> bool {
        matches!(client.read(&mut [0]), Ok(0))
    }

    #[test]
    fn the_longest_idle_goes_and_a_busy_one_stays() {
        let places = Places::new(3);
        let ends: Vec<_> = (0..5).map(|_| pair()).collect();
        let place: Vec<_> = ends[..3].iter().map(|end| places.take(&end.0).unwrap()).collect();
        assert!(places.take(&ends[3].0).is_none(), "all are busy");

        // In another order than they came.
        place[2].idle();
        place[0].idle();
        let third = places.take(&ends[3].0).unwrap();
        assert!(is_closed(&ends[2].1));
        assert!(!place[2].busy());
        assert!(place[0].busy() && place[1].busy());
        assert!(places.take(&ends[4].0).is_none(), "all are busy again");
        assert!([0, 1, 3].iter().all(|&number| !is_closed(&ends[number].1)));

        // A place that was lost frees none a second time.
        let [_first, _second, lost] = <[Place<'_>; 3]>::try_from(place).ok().unwrap();
        drop(lost);
        assert!(places.take(&ends[4].0).is_none());
        drop(third);
        assert!(places.take(&ends[4].0).is_some());
    }

    #[test]
    fn an_idle_one_with_a_request_to_read_stays() {
        let places = Places::new(2);
        let (first, second, third) = (pair(), pair(), pair());
        let place = places.take(&first.0).unwrap();
        let other = places.take(&second.0).unwrap();
        place.idle();
        (&first.1).write_all(b"{").unwrap();
        assert!(places.take(&third.0).is_none());
        other.idle();
        let _third = places.take(&third.0).unwrap();
        assert!(!is_closed(&first.1) && is_closed(&second.1));
        assert!(place.busy() && !other.busy());
    }
}
