//! The configuration file, read within bounds of size and time.
//!
//! The path may name a FIFO, an endless device or a file on a network mount that hangs. Only a regular
//! file of at most [`MAX_CONFIGURATION`] bytes is read, by a thread of its own. A read that the kernel does
//! not finish within [`DEADLINE`] is abandoned to that thread, and further reads are refused until it ends.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// Bytes of a configuration's text at the most.
pub const MAX_CONFIGURATION: usize = 16 << 20;

/// How long the file system may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often a waiting reader checks whether it should go on.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a configuration file is not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system's error.
    #[error("{0}")]
    System(io::Error),
    /// Not a regular file.
    #[error("it is {0} and not a regular file")]
    NotRegular(&'static str),
    /// Longer than [`MAX_CONFIGURATION`].
    #[error("it has more than {} MiB, the most that a configuration may have", MAX_CONFIGURATION >> 20)]
    TooLong,
    /// Not UTF-8 from this line on.
    #[error("line {0} is not UTF-8")]
    NotText(usize),
    /// The file system does not respond in time.
    #[error("its file system has not answered within {} s", DEADLINE.as_secs())]
    Late,
    /// An earlier read has not ended.
    #[error("an earlier read has not ended; does its file system answer?")]
    Stuck,
    /// The caller abandoned the read.
    #[error("the program is stopping")]
    Abandoned,
}

/// A configuration file.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    /// The thread of a read that was abandoned.
    stuck: Option<JoinHandle<()>>,
}

impl Source {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Source {
        Source { path, stuck: None }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text now. If `is_abandoned` returns true meanwhile, the read is abandoned.
    pub fn read(&mut self, is_abandoned: impl Fn() -> bool) -> Result<String, ReadError> {
        let path = self.path.clone();
        self.within(DEADLINE, is_abandoned, move || text(&path))
    }

    fn within(
        &mut self,
        deadline: Duration,
        is_abandoned: impl Fn() -> bool,
        read: impl FnOnce() -> Result<String, ReadError> + Send + 'static,
    ) -> Result<String, ReadError> {
        if self.stuck.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(ReadError::Stuck);
        }
        let (sender, receiver) = sync_channel(1);
        // The send fails if the caller no longer waits: nobody needs the text then.
        let reader = move || _ = sender.send(read());
        let thread = thread::Builder::new().name("config".into()).spawn(reader);
        let thread = thread.map_err(ReadError::System)?;
        let end = Instant::now() + deadline;
        loop {
            match receiver.recv_timeout(CHECK_INTERVAL) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ReadError::System(io::Error::other("the read failed")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let reason = if is_abandoned() {
                ReadError::Abandoned
            } else if Instant::now() >= end {
                ReadError::Late
            } else {
                continue;
            };
            self.stuck = Some(thread);
            return Err(reason);
        }
    }
}

fn text(path: &Path) -> Result<String, ReadError> {
    let system = |error: rustix::io::Errno| ReadError::System(error.into());
    // NONBLOCK opens a FIFO without a writer at once. NOCTTY keeps a terminal from becoming the
    // controlling terminal.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let descriptor = open(path, flags, Mode::empty()).map_err(system)?;
    let status = fstat(&descriptor).map_err(system)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(ReadError::NotRegular("a directory")),
        FileType::Fifo => return Err(ReadError::NotRegular("a pipe")),
        _ => return Err(ReadError::NotRegular("a device")),
    }
    if u64::try_from(status.st_size).is_ok_and(|size: u64| size > MAX_CONFIGURATION as u64) {
        return Err(ReadError::TooLong);
    }
    let mut bytes = Vec::new();
    // The file may grow meanwhile, and a file of /proc has no size.
    File::from(descriptor)
        .take(MAX_CONFIGURATION as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::System)?;
    if bytes.len() > MAX_CONFIGURATION {
        return Err(ReadError::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ReadError::NotText(before.iter().filter(|&&byte| byte == b'\n').count() + 1)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::channel;

    use rustix::fs::{CWD, mknodat};

    use super::*;

    fn read(path: &Path) -> Result<String, String> {
        Source::new(path.into()).read(|| false).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_regular_file_within_the_limit_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(read(&path).unwrap_err().contains("No such file"));
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), "text");
        fs::write(&path, b"one\ntwo\nthr\xffee").unwrap();
        assert_eq!(read(&path).unwrap_err(), "line 3 is not UTF-8");

        fs::write(&path, "").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(100 << 30).unwrap();
        let begun = Instant::now();
        assert!(read(&path).unwrap_err().contains("more than 16 MiB"));
        assert!(begun.elapsed() < Duration::from_secs(1));
        file.set_len(MAX_CONFIGURATION as u64).unwrap();
        assert_eq!(read(&path).unwrap().len(), MAX_CONFIGURATION);

        assert!(read(directory.path()).unwrap_err().contains("a directory and not a regular"));
        assert!(read(Path::new("/dev/zero")).unwrap_err().contains("a device and not a regular"));
        let fifo = directory.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(read(&fifo).unwrap_err().contains("a pipe and not a regular"));
    }

    #[test]
    fn a_read_that_hangs_is_abandoned() {
        let mut source = Source::new("/nonexistent".into());
        let (release, hangs) = channel::<()>();
        let stuck = move || {
            _ = hangs.recv();
            Ok(String::new())
        };
        let short = Duration::from_millis(50);
        assert!(matches!(source.within(short, || false, stuck), Err(ReadError::Late)));
        assert!(matches!(source.read(|| false), Err(ReadError::Stuck)));
        drop(release);
        while source.stuck.as_ref().is_some_and(|thread| !thread.is_finished()) {
            thread::yield_now();
        }
        assert!(matches!(source.read(|| false), Err(ReadError::System(_))));

        let (_release, hangs) = channel::<()>();
        let stuck = move || {
            _ = hangs.recv();
            Ok(String::new())
        };
        assert!(matches!(source.within(DEADLINE, || true, stuck), Err(ReadError::Abandoned)));
    }
}
