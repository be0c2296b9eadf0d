//! A queue of output lines that never blocks its callers.
//!
//! Callers append lines to a buffer of at most [`LIMIT`] bytes. One thread takes the whole buffer and
//! writes it without holding the lock. A line that does not fit, or that the stream does not accept, is
//! dropped and counted. When the stream accepts bytes again, the thread writes how many lines are missing.
//!
//! The stream is a standard stream, or systemd's journal: then each line is an [`entry`](crate::journal::entry). The
//! journal accepts or refuses each entry by itself, so one that it refuses costs no other.
//!
//! tracing-appender's `NonBlocking` would not do. Dropping its guard calls `eprintln!`, which blocks on the
//! stream whose reader has stopped, and its limit is lines rather than bytes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::journal::{self, Journal};

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

/// What the bytes of a queue are to its stream.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Text, of which a failed write may have taken any part.
    Text,
    /// Entries of a journal, one a write.
    Entries,
}

/// What an own line of a queue is written as.
pub type Encode = fn(&str) -> Vec<u8>;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Vec<u8>,
    /// The lines in `waiting`.
    lines: u64,
    encode: Encode,
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
        Queue::to(file?, plain)
    }

    /// Starts a queue of entries to the journal that listens at `path`. Its own lines are written as `encode` says.
    ///
    /// # Errors
    /// If no journal listens there.
    pub fn journal(path: &Path, encode: Encode) -> io::Result<Queue> {
        Queue::spawn(Journal::open(path)?, Form::Entries, encode)
    }

    /// Starts a queue to any stream. Its own lines are written as `encode` says.
    ///
    /// # Errors
    /// If the operating system refuses a thread.
    pub fn to(stream: impl Write + AsFd + Send + 'static, encode: Encode) -> io::Result<Queue> {
        Queue::spawn(stream, Form::Text, encode)
    }

    fn spawn(
        mut stream: impl Write + AsFd + Send + 'static,
        form: Form,
        encode: Encode,
    ) -> io::Result<Queue> {
        let state = State { waiting: Vec::new(), lines: 0, encode, dropped: 0, writing: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let queue = Queue(Arc::clone(&shared));
        // The thread lives as long as the process, because a write may never return.
        thread::Builder::new().name("output".into()).spawn(move || {
            let mut missing = 0;
            loop {
                let batch = shared.take();
                let written = match form {
                    Form::Text => write_text(&mut stream, &batch, &mut missing),
                    Form::Entries => write_entries(&mut stream, &batch, &mut missing),
                };
                missing += batch.dropped;
                if written.is_ok() {
                    // If this fails, the next batch tries again.
                    let _ = write_missing(&mut stream, &mut missing, batch.encode);
                }
                shared.lock().writing = false;
                shared.changed.notify_all();
            }
        })?;
        Ok(queue)
    }

    /// Has own lines written as `encode` says from now on.
    pub fn set_encode(&self, encode: Encode) {
        self.0.lock().encode = encode;
    }

    /// Appends lines, or drops and counts them if the buffer is full. Never blocks.
    pub fn offer(&self, lines: &[u8]) {
        self.append(lines, lines.iter().filter(|&&byte| byte == b'\n').count() as u64);
    }

    /// As [`Queue::offer`], for one [`entry`](crate::journal::entry).
    pub fn offer_entry(&self, entry: &[u8]) {
        self.append(entry, 1);
    }

    fn append(&self, bytes: &[u8], lines: u64) {
        let mut state = self.0.lock();
        if state.waiting.len() + bytes.len() > LIMIT {
            state.dropped += 1;
        } else {
            state.waiting.extend_from_slice(bytes);
            state.lines += lines;
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

    /// Waits for lines and takes them.
    fn take(&self) -> Batch {
        let empty = |state: &mut State| state.waiting.is_empty();
        let waited = self.changed.wait_while(self.lock(), empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        Batch {
            bytes: std::mem::take(&mut state.waiting),
            lines: std::mem::take(&mut state.lines),
            dropped: std::mem::take(&mut state.dropped),
            encode: state.encode,
        }
    }
}

/// What the thread writes at once.
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    /// Lines dropped after those.
    dropped: u64,
    encode: Encode,
}

/// An own line as text.
fn plain(line: &str) -> Vec<u8> {
    format!("{line}\n").into_bytes()
}

/// Writes the text of a batch. If that fails, all its lines are missing.
fn write_text(
    stream: &mut (impl Write + AsFd),
    batch: &Batch,
    missing: &mut u64,
) -> io::Result<()> {
    let written = write_missing(stream, missing, batch.encode)
        .and_then(|()| crate::write_all(stream, &batch.bytes));
    if written.is_err() {
        *missing += batch.lines;
    }
    written
}

/// Writes the entries of a batch. An entry that is refused is missing, and if the journal is gone, so are the
/// others after it.
///
/// # Errors
/// If the journal is gone.
fn write_entries(
    stream: &mut (impl Write + AsFd),
    batch: &Batch,
    missing: &mut u64,
) -> io::Result<()> {
    let mut left = batch.lines;
    for entry in journal::split(&batch.bytes) {
        let written = match write_missing(stream, missing, batch.encode) {
            Err(error) if journal::is_gone(&error) => Err(error),
            // What refuses that line may accept the entry.
            _ => crate::write_all(stream, entry),
        };
        match written {
            Err(error) if journal::is_gone(&error) => {
                *missing += left;
                return Err(error);
            }
            Err(_) => *missing += 1,
            Ok(()) => {}
        }
        left -= 1;
    }
    Ok(())
}

/// Writes how many lines are missing, if any are.
fn write_missing(
    stream: &mut (impl Write + AsFd),
    missing: &mut u64,
    encode: Encode,
) -> io::Result<()> {
    if *missing > 0 {
        let lines = if *missing == 1 { "1 line is" } else { &format!("{missing} lines are") };
        let line = format!("{lines} missing here: they could not be written in time");
        crate::write_all(stream, &encode(&line))?;
        *missing = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};
    use std::time::Instant;

    use super::*;
    use crate::journal;

    const SOON: Duration = Duration::from_secs(10);

    fn piped() -> (PipeReader, Queue) {
        let (reader, writer) = pipe().unwrap();
        (reader, Queue::to(writer, plain).unwrap())
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
        let queue = Queue::to(full, plain).unwrap();
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
        let queue = Queue::to(Disk(file.reopen().unwrap(), Arc::clone(&is_full)), plain).unwrap();
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

    /// A journal, and its socket's path.
    fn fake_journal() -> (std::os::unix::net::UnixDatagram, tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        (socket, directory, path)
    }

    fn message(line: &str) -> Vec<u8> {
        journal::entry([("MESSAGE", line)])
    }

    fn received(socket: &std::os::unix::net::UnixDatagram) -> String {
        let mut entry = vec![0; 100_000];
        let length = socket.recv(&mut entry).unwrap();
        String::from_utf8(entry[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_entry_is_a_datagram_to_the_journal() {
        let (socket, _directory, path) = fake_journal();
        let queue = Queue::journal(&path, message).unwrap();
        for n in 0..100 {
            queue.offer_entry(&message(&format!("entry {n}")));
            assert_eq!(received(&socket), format!("MESSAGE=entry {n}\n"));
        }
        drop(socket);
        // The journal is started anew: what it missed is counted.
        std::fs::remove_file(&path).unwrap();
        queue.offer_entry(&message("lost"));
        assert!(queue.flush(SOON));
        let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        queue.offer_entry(&message("kept"));
        let missing = "MESSAGE=1 line is missing here: they could not be written in time\n";
        assert_eq!(
            (received(&socket), received(&socket)),
            (missing.into(), "MESSAGE=kept\n".into())
        );
        assert!(Queue::journal(&path.join("nosuch"), message).is_err());
    }

    /// A journal that refuses entries which are too long, and closes after so many entries.
    struct Fickle {
        descriptor: File,
        received: Arc<Mutex<Vec<String>>>,
        closes_after: usize,
    }

    impl Write for Fickle {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let entry = journal::split(bytes).next().unwrap();
            let text = str::from_utf8(&entry[size_of::<u32>()..]).unwrap();
            let mut received = self.received.lock().unwrap();
            if received.len() >= self.closes_after {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if text.len() > 1000 {
                return Err(rustix::io::Errno::MSGSIZE.into());
            }
            received.push(text.to_owned());
            Ok(entry.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Fickle {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.descriptor.as_fd()
        }
    }

    /// What such a journal receives of these messages, which are one batch, and how many are missing then.
    fn received_of(messages: &[&str], closes_after: usize) -> (Vec<String>, u64) {
        let received = Arc::default();
        let descriptor = File::open("/dev/null").unwrap();
        let mut stream = Fickle { descriptor, received: Arc::clone(&received), closes_after };
        let bytes = messages.iter().flat_map(|text| message(text)).collect();
        let batch = Batch { bytes, lines: messages.len() as u64, dropped: 0, encode: message };
        let mut missing = 0;
        let written = write_entries(&mut stream, &batch, &mut missing);
        assert_eq!(written.is_err(), received.lock().unwrap().len() >= closes_after);
        let received = received.lock().unwrap().clone();
        (received, missing)
    }

    #[test]
    fn an_entry_that_the_journal_refuses_costs_no_other() {
        let long = "x".repeat(2000);
        let messages = ["a", &long, "b", &long, &long, "c", &long];
        let (received, missing) = received_of(&messages, usize::MAX);
        // Each line that is missing is told before the next entry is tried.
        let lost = "1 line is missing here: they could not be written in time";
        let expected = ["a", lost, "b", lost, lost, "c"];
        assert_eq!(received, expected.map(|text| format!("MESSAGE={text}\n")));
        assert_eq!(missing, 1);
    }

    #[test]
    fn a_journal_that_closes_keeps_what_it_has() {
        let messages: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        let messages: Vec<_> = messages.iter().map(String::as_str).collect();
        for closes_after in 0..10 {
            let (received, missing) = received_of(&messages, closes_after);
            let expected = messages[..closes_after].iter().map(|text| format!("MESSAGE={text}\n"));
            assert_eq!(received, expected.collect::<Vec<_>>());
            assert_eq!(missing, 10 - closes_after as u64);
        }
    }

    #[test]
    fn a_queue_to_a_journal_writes_entry_by_entry() {
        let received = Arc::<Mutex<Vec<String>>>::default();
        let descriptor = File::open("/dev/null").unwrap();
        let closes_after = usize::MAX;
        let stream = Fickle { descriptor, received: Arc::clone(&received), closes_after };
        let queue = Queue::spawn(stream, Form::Entries, message).unwrap();
        {
            // Both entries are one batch.
            let mut state = queue.0.lock();
            state.waiting = [message(&"x".repeat(2000)), message("kept")].concat();
            state.lines = 2;
            queue.0.changed.notify_all();
        }
        assert!(queue.flush(SOON));
        let missing = "MESSAGE=1 line is missing here: they could not be written in time\n";
        assert_eq!(*received.lock().unwrap(), [missing, "MESSAGE=kept\n"]);
    }

    #[test]
    fn a_journal_that_reads_nothing_blocks_no_caller() {
        let (socket, _directory, path) = fake_journal();
        let queue = Queue::journal(&path, message).unwrap();
        let entry = message(&"x".repeat(1000));
        let begun = Instant::now();
        (0..10_000).for_each(|_| queue.offer_entry(&entry));
        assert!(!queue.flush(Duration::from_millis(50)));
        assert!(begun.elapsed() < SOON && queue.0.lock().waiting.len() <= LIMIT);
        // Read again: every entry is there, or counted as missing. Entries may go missing more than once.
        let (mut kept, mut missing) = (0, 0);
        while kept + missing < 10_000 {
            let entry = received(&socket);
            match entry.strip_suffix(" lines are missing here: they could not be written in time\n")
            {
                Some(count) => {
                    missing += count.strip_prefix("MESSAGE=").unwrap().parse::<u64>().unwrap()
                }
                None => kept += 1,
            }
        }
        assert_eq!(kept + missing, 10_000);
        assert!(queue.flush(SOON) && missing > 0 && kept >= 500, "{kept}");
    }

    #[test]
    fn a_non_blocking_stream_gets_every_byte() {
        let (reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let queue = Queue::to(writer, plain).unwrap();
        let text = [b'x'; 300_000];
        queue.offer(&text);
        let mut read = Vec::new();
        reader.take(300_000).read_to_end(&mut read).unwrap();
        assert!(read == text);
    }
}
