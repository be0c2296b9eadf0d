//! Waits until every packet has its verdict.

use std::thread;
use std::time::{Duration, Instant};

use crate::worker::Command;
use guideway_core::stats::{Counter, Gauge, Reader};

/// How long a stop waits for packets that are between two workers.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The number of packets received, and the number of packets with a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Balance {
    received: u64,
    ended: u64,
}

impl Balance {
    fn of(workers: &[Reader]) -> Balance {
        // Verdicts are read first, so that they never seem to be ahead.
        let ended = workers.iter().map(Reader::verdicts).sum();
        let received = workers.iter().map(|stats| stats.counter(Counter::Received)).sum();
        Balance { received, ended }
    }
}

/// Waits until no device has another packet and every packet has its verdict.
pub(super) fn until_finished(workers: &[Reader]) {
    let idle = |stats: &Reader| stats.gauge(Gauge::IdlePolls) > 1;
    let mut before = None;
    loop {
        thread::sleep(Duration::from_millis(2));
        let balance = Balance::of(workers);
        // Fragments may wait for a first fragment that never comes.
        let waiting: u64 = workers.iter().map(|stats| stats.gauge(Gauge::FragmentsWaiting)).sum();
        let quiet = workers.iter().all(idle) && balance.received == balance.ended + waiting;
        if quiet && before == Some(balance) {
            return;
        }
        before = quiet.then_some(balance);
    }
}

/// Waits until all of this many threads have obeyed [`Command::finish`] and every packet has its
/// verdict, but no longer than [`TIMEOUT`].
pub(super) fn until_drained(workers: &[Reader], threads: usize, command: &Command) {
    let deadline = Instant::now() + TIMEOUT;
    while threads > 0 && Instant::now() < deadline {
        // A worker that has not seen the order may still receive packets, even if the balance is
        // even.
        let all_finish = command.finishing() == threads;
        let balance = Balance::of(workers);
        if all_finish && balance.received == balance.ended {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
