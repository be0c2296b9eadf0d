//! What is set at run time, stored for the next start.
//!
//! It is one file in a state directory. Every change replaces the whole file: a new one is written beside it, brought to
//! the disk and renamed. So a reader finds what was set before or after a change, however the daemon ends. A second file,
//! `lock`, is locked: a daemon that finds it locked by another one does not store.
//!
//! A thread writes, so that a slow disk delays answers to clients and nothing else. What comes while it writes replaces
//! what waits; the last is written next. If the thread cannot write, it records that once and tries again every few
//! seconds.
//!
//! A file that cannot be read is moved aside, is an event, and is never fatal.
//!
//! | file | what |
//! |---|---|
//! | `directory.rs` | the files: lock, read, replace |

mod directory;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::{Condvar, Mutex};

use guideway_api::Happening;

use crate::event::Recorder;
pub use directory::{Directory, LARGEST, LOCK};

/// What a store keeps.
pub trait Stored: Clone + Default + Send + 'static {
    /// The name of the file.
    const FILE: &'static str;
    /// Where the operator sets the directory.
    const SETTING: &'static str;
    /// How long the thread waits after a failure.
    const RETRY: Duration = Duration::from_secs(3);

    /// Whether both have the same file.
    fn is_same(&self, other: &Self) -> bool;

    /// The file.
    fn encode(&self) -> Vec<u8>;

    /// What is in a file.
    ///
    /// # Errors
    /// What is wrong with the file, in words.
    fn decode(file: &[u8]) -> Result<Self, String>;
}

const NO_ANSWER: &str = "the disk does not answer";

/// How long a daemon that ends waits for the last settings to be stored.
const END: Duration = Duration::from_secs(2);

/// The settings' way to the disk. When it is dropped, it waits a little for the last ones.
#[derive(Debug)]
pub struct Store<T> {
    shared: Arc<Shared<T>>,
    restored: T,
    /// The settings that were put last.
    last: T,
    version: u64,
    /// From when on something is on its way to the disk, if anything is.
    waiting_since: Instant,
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared<T> {
    path: PathBuf,
    slot: Mutex<Slot<T>>,
    /// Rung when the slot has something new.
    bell: Condvar,
    /// The last version that is stored, or could not be.
    settled: Arc<AtomicU64>,
    /// Whether the last attempt to store was successful.
    is_stored: Arc<AtomicBool>,
    events: Recorder,
    /// Locked while the thread writes.
    gate: Arc<Mutex<()>>,
}

/// The newest settings.
#[derive(Debug)]
struct Slot<T> {
    settings: T,
    version: u64,
    is_over: bool,
}

impl<T: Stored> Store<T> {
    /// Opens the store in a directory, which is made if it is missing, and reads the settings of an earlier run. What
    /// goes wrong is recorded by `events`.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn open(path: &Path, events: Recorder) -> Store<T> {
        let mut directory = Directory::new(path, T::FILE, T::SETTING);
        let shared = Shared {
            path: path.join(T::FILE),
            slot: Mutex::new(Slot { settings: T::default(), version: 0, is_over: false }),
            bell: Condvar::new(),
            settled: Arc::default(),
            is_stored: Arc::new(AtomicBool::new(true)),
            events,
            gate: Arc::default(),
        };
        let shared = Arc::new(shared);
        let locked = directory.lock();
        // Unlocked too: the daemon that holds the lock may be one that ends just now.
        let file = directory.read();
        let settings = file.and_then(|file| file.map_or(Ok(T::default()), |f| T::decode(&f)));
        let restored = settings.unwrap_or_else(|error| {
            let error = match directory.move_aside() {
                Ok(None) => error,
                Ok(Some(aside)) => format!("{error}; the file is now {}", aside.display()),
                Err(failure) => format!("{error}; it cannot be moved aside: {failure}"),
            };
            let path = shared.name();
            shared.events.record(Happening::SettingsUnreadable { path, error });
            T::default()
        });
        if let Err(error) = &locked {
            shared.fail(error);
        }
        shared.slot.lock().settings = restored.clone();
        let (ended, end) = bounded::<()>(0);
        let writer = Writer { directory, shared: Arc::clone(&shared), written: 0 };
        let run = move || {
            // Dropped when the thread ends, however it does.
            let _ended = ended;
            writer.run();
        };
        thread::Builder::new().name("store".into()).spawn(run).expect("a thread for the store");
        Store {
            shared,
            last: restored.clone(),
            restored,
            version: 0,
            waiting_since: Instant::now(),
            end,
        }
    }

    /// The settings of an earlier run.
    pub fn restored(&self) -> &T {
        &self.restored
    }

    /// Records what happens to settings.
    pub fn events(&self) -> &Recorder {
        &self.shared.events
    }

    /// Takes these settings for those that are stored. The next ones that are put replace what is in the file.
    pub fn begin(&mut self, settings: &T) {
        self.last = settings.clone();
        self.shared.slot.lock().settings = settings.clone();
    }

    /// Has these settings stored, unless they are those that were put last. Returns their version, and does not wait.
    pub fn put(&mut self, settings: &T) -> u64 {
        if !settings.is_same(&self.last) {
            if self.settled() == self.version {
                self.waiting_since = Instant::now();
            }
            self.version += 1;
            self.last = settings.clone();
            let mut slot = self.shared.slot.lock();
            (slot.settings, slot.version) = (settings.clone(), self.version);
            self.shared.bell.notify_one();
        }
        self.version
    }

    /// The version of the settings that were put last.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether settings are on their way to the disk. Records it if that takes `limit`.
    pub fn is_busy(&self, limit: Duration) -> bool {
        let is_busy = self.settled() < self.version;
        if is_busy && self.waiting_since.elapsed() >= limit {
            self.shared.fail(&NO_ANSWER);
        }
        is_busy
    }

    /// The last version that is stored, or could not be.
    pub fn settled(&self) -> u64 {
        self.shared.settled.load(Ordering::Acquire)
    }

    /// What [`Store::settled`] returns, for threads that do not own the store.
    pub fn progress(&self) -> &Arc<AtomicU64> {
        &self.shared.settled
    }

    /// Whether the last attempt to store was successful.
    pub fn is_stored(&self) -> &Arc<AtomicBool> {
        &self.shared.is_stored
    }
}

impl<T> Store<T> {
    /// The thread writes only while it has this lock, so that whoever holds it keeps the disk still.
    pub fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.shared.gate)
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        self.shared.slot.lock().is_over = true;
        self.shared.bell.notify_one();
        // Nothing is ever sent.
        if self.end.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            self.shared.fail(&NO_ANSWER);
        }
    }
}

impl<T> Shared<T> {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Records the first failure after a success.
    fn fail(&self, error: &dyn std::fmt::Display) {
        if self.is_stored.swap(false, Ordering::AcqRel) {
            let error = error.to_string();
            self.events.record(Happening::SettingsUnstored { path: self.name(), error });
        }
    }

    /// Records the first success after a failure.
    fn succeed(&self) {
        if !self.is_stored.swap(true, Ordering::AcqRel) {
            self.events.record(Happening::SettingsStored { path: self.name() });
        }
    }
}

/// What the thread has.
struct Writer<T> {
    directory: Directory,
    shared: Arc<Shared<T>>,
    /// The version that it tried last.
    written: u64,
}

impl<T: Stored> Writer<T> {
    fn run(mut self) {
        loop {
            let (version, settings, is_over) = self.next();
            let has_failed = !self.shared.is_stored.load(Ordering::Acquire);
            if version > self.written || has_failed {
                let _gate = self.shared.gate.lock();
                match self.directory.replace(&settings.encode()) {
                    Ok(()) => self.shared.succeed(),
                    Err(error) => self.shared.fail(&error),
                }
                self.written = version;
                self.shared.settled.store(version, Ordering::Release);
            }
            if is_over {
                return;
            }
        }
    }

    /// Waits for settings that are not written yet, for the end, or, after a failure, for the next attempt.
    fn next(&self) -> (u64, T, bool) {
        let mut slot = self.shared.slot.lock();
        while slot.version == self.written && !slot.is_over {
            if self.shared.is_stored.load(Ordering::Acquire) {
                self.shared.bell.wait(&mut slot);
            } else if self.shared.bell.wait_for(&mut slot, T::RETRY).timed_out() {
                break;
            }
        }
        (slot.version, slot.settings.clone(), slot.is_over)
    }
}
