//! Admission of connections: each holds a permit, and their number is limited.
//!
//! A connection that waits for its client's next request is idle. When no permit is free, a new
//! connection evicts the one that has been idle for longest: that stream is shut down. One mutex
//! guards both this choice and the step from idle to busy, so a connection that has begun to read
//! a request keeps its permit.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// The permits of a server.
pub(super) struct Admission {
    limit: usize,
    holders: Mutex<Holders>,
}

#[derive(Default)]
struct Holders {
    /// The number of the next connection; connections are numbered as they come.
    next: u64,
    by_number: BTreeMap<u64, Holder>,
}

/// A connection that holds a permit.
struct Holder {
    stream: Arc<UnixStream>,
    /// `None` while it is busy.
    idle_since: Option<Instant>,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Admission {
        Admission { limit, holders: Mutex::default() }
    }

    /// A permit for a new connection, which starts busy. `None` if all connections are busy.
    pub(super) fn take(&self, stream: &Arc<UnixStream>) -> Option<Permit<'_>> {
        let mut holders = self.holders.lock();
        if holders.by_number.len() >= self.limit {
            holders.evict()?;
        }
        let number = holders.next;
        holders.next += 1;
        holders.by_number.insert(number, Holder { stream: Arc::clone(stream), idle_since: None });
        Some(Permit { admission: self, number })
    }
}

impl Holders {
    /// Evicts the connection that has been idle for longest. `None` if none is idle.
    fn evict(&mut self) -> Option<()> {
        let idle = self.by_number.iter().filter_map(|(&number, holder)| {
            let since = holder.idle_since?;
            // A request that has arrived keeps its connection, even before its thread reads it.
            (!has_unread(&holder.stream)).then_some((since, number))
        });
        let (since, number) = idle.min()?;
        let displaced = self.by_number.remove(&number)?;
        tracing::debug!(idle = ?since.elapsed(), "control connection closed: its permit is needed");
        // This wakes its thread. It fails only if the client has gone.
        let _ = displaced.stream.shutdown(Shutdown::Both);
        Some(())
    }
}

/// Whether the client has sent bytes that were not read yet. A failed stream has none.
fn has_unread(stream: &UnixStream) -> bool {
    rustix::io::ioctl_fionread(stream).is_ok_and(|unread| unread > 0)
}

/// The right of one connection to exist; dropping it frees it.
pub(super) struct Permit<'a> {
    admission: &'a Admission,
    number: u64,
}

impl Permit<'_> {
    /// The connection waits for a request: from now on it may be evicted.
    pub(super) fn idle(&self) {
        self.set(Some(Instant::now()));
    }

    /// The connection is about to read a request. False if it was evicted and must end.
    #[must_use]
    pub(super) fn busy(&self) -> bool {
        self.set(None)
    }

    fn set(&self, idle_since: Option<Instant>) -> bool {
        let mut holders = self.admission.holders.lock();
        let holder = holders.by_number.get_mut(&self.number);
        holder.map(|holder| holder.idle_since = idle_since).is_some()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.admission.holders.lock().by_number.remove(&self.number);
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
        let admission = Admission::new(3);
        let ends: Vec<_> = (0..5).map(|_| pair()).collect();
        let permit: Vec<_> = ends[..3].iter().map(|end| admission.take(&end.0).unwrap()).collect();
        assert!(admission.take(&ends[3].0).is_none(), "all are busy");

        // In another order than they connected.
        permit[2].idle();
        permit[0].idle();
        let third = admission.take(&ends[3].0).unwrap();
        assert!(is_closed(&ends[2].1));
        assert!(!permit[2].busy());
        assert!(permit[0].busy() && permit[1].busy());
        assert!(admission.take(&ends[4].0).is_none(), "all are busy again");
        assert!([0, 1, 3].iter().all(|&number| !is_closed(&ends[number].1)));

        // A permit that was lost frees none a second time.
        let [_first, _second, lost] = <[Permit<'_>; 3]>::try_from(permit).ok().unwrap();
        drop(lost);
        assert!(admission.take(&ends[4].0).is_none());
        drop(third);
        assert!(admission.take(&ends[4].0).is_some());
    }

    #[test]
    fn an_idle_one_with_a_request_to_read_stays() {
        let admission = Admission::new(2);
        let (first, second, third) = (pair(), pair(), pair());
        let permit = admission.take(&first.0).unwrap();
        let other = admission.take(&second.0).unwrap();
        permit.idle();
        (&first.1).write_all(b"{").unwrap();
        assert!(admission.take(&third.0).is_none());
        other.idle();
        let _third = admission.take(&third.0).unwrap();
        assert!(!is_closed(&first.1) && is_closed(&second.1));
        assert!(permit.busy() && !other.busy());
    }
}
