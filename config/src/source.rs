//! The configuration file and those of `conf.d` beside it, read within bounds of size, number and time.
//!
//! The files of `conf.d` are those with the ending `.toml`, in the order of their names, without hidden
//! ones. They are joined to the main file as `files.rs` says.
//!
//! A path may name a FIFO, an endless device or a file on a network mount that hangs. Only a regular
//! file of at most [`MAX_CONFIGURATION`] bytes is read, by a thread of its own. A read that the kernel does
//! not finish within [`DEADLINE`] is abandoned to that thread, and further reads are refused until it ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::files::MARK;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

/// Bytes of a configuration's text at the most.
pub const MAX_CONFIGURATION: usize = 16 << 20;

/// The directory of further files, beside the main file.
const DIRECTORY: &str = "conf.d";

/// Further files at the most.
const MAX_FILES: usize = 256;

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
    /// Too many files in `conf.d`.
    #[error("{DIRECTORY} has more than {MAX_FILES} files")]
    TooMany,
    /// A file that cannot be named in a text.
    #[error("{DIRECTORY}/{0:?}: the name of a file must be UTF-8 without control characters")]
    Name(OsString),
    /// A line of one of several files that would begin another file.
    #[error("line {0} begins with \"{MARK}\", which is between the files of a configuration only")]
    Mark(usize),
    /// What is wrong with one of several files.
    #[error("{0}: {1}")]
    In(String, Box<ReadError>),
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
        self.within(DEADLINE, is_abandoned, move || joined(&path))
    }

    /// What the kernel says about the file, `conf.d` and the files there. While it is the same, so is the text. If
    /// `is_abandoned` returns true meanwhile, the question is abandoned.
    pub fn stamps(&mut self, is_abandoned: impl Fn() -> bool) -> Result<Vec<Stamp>, ReadError> {
        let path = self.path.clone();
        self.within(DEADLINE, is_abandoned, move || stamps(&path))
    }

    fn within<T: Send + 'static>(
        &mut self,
        deadline: Duration,
        is_abandoned: impl Fn() -> bool,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
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

/// What the kernel says about a file: another one, or one that was written to, has another stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    name: String,
    file: [u64; 3],
    times: [i64; 4],
}

impl Stamp {
    fn of(path: &Path, name: String) -> io::Result<Stamp> {
        let it = fs::metadata(path)?;
        let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
        Ok(Stamp { name, file: [it.dev(), it.ino(), it.len()], times })
    }
}

fn stamps(path: &Path) -> Result<Vec<Stamp>, ReadError> {
    let mut stamps = vec![Stamp::of(path, String::new()).map_err(ReadError::System)?];
    let directory = path.with_file_name(DIRECTORY);
    for name in further(&directory)? {
        stamps.push(Stamp::of(&directory.join(&name), name).map_err(ReadError::System)?);
    }
    Ok(stamps)
}

/// The text of the main file, or of all files if there are several.
fn joined(path: &Path) -> Result<String, ReadError> {
    let main = text(path, MAX_CONFIGURATION)?;
    let names = further(&path.with_file_name(DIRECTORY))?;
    if names.is_empty() {
        return Ok(main);
    }
    let mut joined = String::new();
    let main_name = path.file_name().unwrap_or_default().to_string_lossy();
    append(&mut joined, &main_name, Ok(main))?;
    for name in names {
        let name = format!("{DIRECTORY}/{name}");
        let room = MAX_CONFIGURATION.saturating_sub(joined.len());
        append(&mut joined, &name, text(&path.with_file_name(&name), room))?;
    }
    Ok(joined)
}

fn append(
    joined: &mut String,
    name: &str,
    text: Result<String, ReadError>,
) -> Result<(), ReadError> {
    let text = text.map_err(|error| ReadError::In(name.to_owned(), Box::new(error)))?;
    if let Some(line) = text.lines().position(|line| line.starts_with(MARK)) {
        return Err(ReadError::In(name.to_owned(), Box::new(ReadError::Mark(line + 1))));
    }
    for part in [MARK, name, "\n", &text] {
        joined.push_str(part);
    }
    if !text.ends_with('\n') {
        joined.push('\n');
    }
    if joined.len() > MAX_CONFIGURATION { Err(ReadError::TooLong) } else { Ok(()) }
}

/// The names of the further files, in order. No directory is no file.
fn further(directory: &Path) -> Result<Vec<String>, ReadError> {
    let wrong = |error| ReadError::In(DIRECTORY.to_owned(), Box::new(ReadError::System(error)));
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(wrong)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(wrong)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") || !bytes.ends_with(b".toml") {
            continue;
        }
        if names.len() == MAX_FILES {
            return Err(ReadError::TooMany);
        }
        let name = name.into_string().map_err(ReadError::Name)?;
        if name.chars().any(char::is_control) {
            return Err(ReadError::Name(name.into()));
        }
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// The text of a file of at most `room` bytes.
fn text(path: &Path, room: usize) -> Result<String, ReadError> {
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
    if u64::try_from(status.st_size).is_ok_and(|size: u64| size > room as u64) {
        return Err(ReadError::TooLong);
    }
    let mut bytes = Vec::new();
    // The file may grow meanwhile, and a file of /proc has no size.
    File::from(descriptor)
        .take(room as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::System)?;
    if bytes.len() > room {
        return Err(ReadError::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ReadError::NotText(before.iter().filter(|&&byte| byte == b'\n').count() + 1)
    })
}

#[cfg(test)]
mod tests {
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
