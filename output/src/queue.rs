//! A queue of output lines that never blocks its callers.
//!
//! Callers append lines to a buffer of at most [`LIMIT`] bytes. One thread takes the whole buffer and
//! writes it without holding the lock. A line that does not fit, or that the stream does not accept, is
//! dropped and counted. When the stream accepts bytes again, the thread writes how many lines are missing.
//!
//! tracing-appender's `NonBlocking` would not do. Dropping its guard calls `eprintln!`, which blocks on the
//! stream whose reader has stopped, and its limit is lines rather than bytes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that may wait. A log of 900 configuration mistakes has about 100 kB.
const LIMIT: usize = 1 << 20;

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// The callers' side. Clones append to the same buffer.
#[derive(Clone, Debug)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines dropped since the thread last took the buffer.
    dropped: u64,
    /// The thread is writing the lines it took.
    writing: bool,
}

impl Queue {
    /// Starts a queue to a standard stream of this process.
    pub fn start(stream: Standard) -> io::Result<Queue> {
        // A duplicated descriptor rather than io::stderr(): a thread stuck in a write would hold the lock
        // of io::stderr(), and block all others that write there, the panic hook among them.
        let descriptor = match stream {
            Standard::Output => io::stdout().as_fd().try_clone_to_owned(),
            Standard::Error => io::stderr().as_fd().try_clone_to_owned(),
        };
        // A daemon may run without the stream. Then output is discarded, as the standard library does.
        let file =
            descriptor.map(File::from).or_else(|_| File::options().write(true).open("/dev/null"));
        Queue::to(file?)
    }

    fn to(mut stream: impl Write + AsFd + Send + 'static) -> io::Result<Queue> {
        let shared = Arc::new(Shared::default());
        let queue = Queue(Arc::clone(&shared));
        // The thread lives as long as the process, because a write may never return.
        thread::Builder::new().name("output".into()).spawn(move || {
            let mut missing = 0;
            loop {
                let (batch, dropped) = shared.take();
                let written = write_missing(&mut stream, &mut missing)
                    .and_then(|()| crate::write_all(&mut stream, &batch));
                if written.is_err() {
                    missing += batch.iter().filter(|&&byte| byte == b'\n').count() as u64;
                }
                missing += dropped;
                if written.is_ok() {
                    // If this fails, the next batch tries again.
                    let _ = write_missing(&mut stream, &mut missing);
                }
                shared.lock().writing = false;
                shared.changed.notify_all();
            }
        })?;
        Ok(queue)
    }

    /// Appends lines, or drops and counts them if the buffer is full. Never blocks.
    pub fn offer(&self, lines: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + lines.len() > LIMIT {
            state.dropped += 1;
        } else {
            state.waiting.extend_from_slice(lines);
            self.0.changed.notify_all();
        }
    }

    /// Waits until all lines are written, at most `timeout`. Returns whether they are.
    pub fn flush(&self, timeout: Duration) -> bool {
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), timeout, unwritten);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Each call must be a whole line: tracing-subscriber writes its events so.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.offer(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and takes them, and the number of lines dropped after them.
    fn take(&self) -> (Vec<u8>, u64) {
        let empty = |state: &mut State| state.waiting.is_empty();
        let waited = self.changed.wait_while(self.lock(), empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        (std::mem::take(&mut state.waiting), std::mem::take(&mut state.dropped))
    }
}

/// Writes how many lines are missing, if any are.
fn write_missing(stream: &mut (impl Write + AsFd), missing: &mut u64) -> io::Result<()> {
    if *missing > 0 {
        let lines = if *missing == 1 { "1 line is" } else { &format!("{missing} lines are") };
        let line = format!("{lines} missing here: they could not be written in time\n");
        crate::write_all(stream, line.as_bytes())?;
        *missing = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn piped() -> (PipeReader, Queue) {
        let (reader, writer) = pipe().unwrap();
        (reader, Queue::to(writer).unwrap())
    }

    #[test]
    fn lines_are_written_whole_and_in_order() {
        let (mut reader, queue) = piped();
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        lines.iter().for_each(|line| queue.offer(line.as_bytes()));
        assert!(queue.flush(SOON));
        let mut read = vec![0; lines.concat().len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(String::from_utf8(read).unwrap(), lines.concat());
    }

    #[test]
    fn a_reader_that_stops_blocks_no_caller_and_gets_the_number_missing() {
        let (reader, queue) = piped();
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        let begun = Instant::now();
        // More than a pipe holds, so that the thread is stuck before the rest comes.
        queue.offer(&line.repeat(100));
        while !queue.0.lock().writing {
            thread::yield_now();
        }
        (100..5000).for_each(|_| queue.offer(&line));
        assert!(!queue.flush(Duration::from_millis(50)));
        assert!(begun.elapsed() < SOON);
        assert!(queue.0.lock().waiting.len() <= LIMIT);

        // Read again: all lines kept, then the number of lines missing.
        let mut reader = io::BufReader::new(reader);
        let (mut kept, mut text) = (0, String::new());
        loop {
            text.clear();
            io::BufRead::read_line(&mut reader, &mut text).unwrap();
            if text.as_bytes() != line {
                break;
            }
            kept += 1;
        }
        let missing = 5000 - kept;
        assert!(missing > 3000);
        assert_eq!(
            text,
            format!("{missing} lines are missing here: they could not be written in time\n")
        );
        assert!(queue.flush(SOON));
    }

    #[test]
    fn a_stream_that_fails_loses_lines_and_nothing_else() {
        let (reader, queue) = piped();
        drop(reader);
        queue.offer(b"lost\n");
        assert!(queue.flush(SOON));
        queue.offer(b"lost\n");
        assert!(queue.flush(SOON));

        let full = File::options().write(true).open("/dev/full").unwrap();
        let queue = Queue::to(full).unwrap();
        queue.offer(b"lost\n");
        assert!(queue.flush(SOON));
    }

    #[test]
    fn a_stream_that_recovers_gets_the_number_missing() {
        // A non-blocking socket buffer cannot fail and recover; a file whose size is limited can.
        struct Disk(File, Arc<Mutex<bool>>);
        impl Write for Disk {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                match *self.1.lock().unwrap() {
                    true => Err(io::ErrorKind::StorageFull.into()),
                    false => self.0.write(bytes),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl AsFd for Disk {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let is_full = Arc::new(Mutex::new(true));
        let queue = Queue::to(Disk(file.reopen().unwrap(), Arc::clone(&is_full))).unwrap();
        queue.offer(b"first\n");
        assert!(queue.flush(SOON));
        *is_full.lock().unwrap() = false;
        queue.offer(b"second\n");
        assert!(queue.flush(SOON));
        assert_eq!(
            std::fs::read_to_string(file.path()).unwrap(),
            "1 line is missing here: they could not be written in time\nsecond\n"
        );
    }

    #[test]
    fn a_non_blocking_stream_gets_every_byte() {
        let (reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let queue = Queue::to(writer).unwrap();
        let text = [b'x'; 300_000];
        queue.offer(&text);
        let mut read = Vec::new();
        reader.take(300_000).read_to_end(&mut read).unwrap();
        assert!(read == text);
    }
}
