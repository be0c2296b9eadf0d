//! The forwarder, followed by its control socket.
//!
//! Three threads, each with a connection of its own, so that a long answer delays no other:
//!
//! | thread | what |
//! |---|---|
//! | `pulse` | asks for the status several times in `announce.stall`: does the forwarder answer, and is it well? |
//! | `follow` | follows the events, and wakes the reader |
//! | `read` | reads the configuration in force and whether services serve, after events and every 2 seconds |
//!
//! Each reports to the manager. Everything comes from a process that may have been replaced meanwhile, so each report
//! has the number of that process.

mod follow;
mod pulse;
mod read;
mod source;
mod wake;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use source::Report;
use source::Source;
pub(crate) use source::{connect, unexpected};
use wake::Wake;

/// The running threads. Dropping the handle ends them.
#[derive(Debug)]
pub struct Handle {
    pulse: Arc<Wake>,
    read: Arc<Wake>,
    threads: Vec<JoinHandle<()>>,
}

/// Follows the forwarder at this socket.
///
/// # Errors
/// If the operating system refuses a thread.
pub fn start(
    socket: &Path,
    stall: Duration,
    report: impl Fn(Report) + Send + Sync + 'static,
) -> io::Result<Handle> {
    let report = Arc::new(report);
    let source = || Source { socket: socket.to_owned(), report: Arc::clone(&report) };
    let (pulse, read) = (Arc::new(Wake::new(stall)), Arc::new(Wake::new(stall)));
    let mut handle = Handle { pulse: Arc::clone(&pulse), read: Arc::clone(&read), threads: vec![] };
    let (one, reader) = (source(), Arc::clone(&read));
    handle.spawn("pulse", move || pulse::run(&one, &pulse, &reader))?;
    let two = source();
    let reader = Arc::clone(&read);
    handle.spawn("read", move || read::run(&two, &reader))?;
    let three = source();
    // It may wait for an event for days, so nobody waits for its end: that of the process is soon enough.
    let follower = move || follow::run(&three, &read);
    thread::Builder::new().name("follow".into()).spawn(follower)?;
    Ok(handle)
}

impl Handle {
    /// Sets how long the forwarder may be silent, `announce.stall`.
    pub fn set_stall(&self, stall: Duration) {
        self.pulse.set_stall(stall);
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.into()).spawn(run)?);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pulse.end();
        self.read.end();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that follows the forwarder panicked");
            }
        }
    }
}
