//! What is set at run time, stored for the next start.
//!
//! The settings are one file, `backends.json` in the state directory. Every change replaces the whole file: a new one is
//! written beside it, brought to the disk and renamed. So a reader finds the settings before or after a change, however
//! the daemon ends. A second file, `lock`, is locked: a daemon that finds it locked by another one does not store.
//!
//! A thread writes, so that a slow disk delays answers to clients and nothing else. Settings that come while it writes
//! replace each other; the last are written next. If the thread cannot write, it records that once and tries again
//! every few seconds.
//!
//! A file that cannot be read is moved aside, is an event, and is never fatal.
//!
//! | file | what |
//! |---|---|
//! | `directory.rs` | the files: lock, read, replace |
//! | `format.rs` | what is in the file |

mod format;
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

use crate::state::Settings;
use guideway_chassis::directory::Directory;
use guideway_chassis::event::Recorder;

/// The name of the file with the settings.
const FILE: &str = "backends.json";

/// Where the operator sets the directory.
const SETTING: &str = "control.state_directory";

/// How long the thread waits after a failure.
const RETRY: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(3) };

const NO_ANSWER: &str = "the disk does not answer";

/// How long a daemon that ends waits for the last settings to be stored.
const END: Duration = Duration::from_secs(2);

/// The settings' way to the disk. When it is dropped, it waits a little for the last ones.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    restored: Settings,
    /// The settings that were put last.
    last: Settings,
    version: u64,
    /// From when on something is on its way to the disk, if anything is.
    waiting_since: Instant,
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    slot: Mutex<Slot>,
    /// Rung when the slot has something new.
    bell: Condvar,
    /// The last version that is stored, or could not be.
    settled: AtomicU64,
    /// Whether the last attempt to store was successful.
    is_stored: Arc<AtomicBool>,
    events: Recorder,
    /// The disk hangs while a test holds it.
    #[cfg(test)]
    hang: Arc<Mutex<()>>,
}

/// The newest settings.
#[derive(Debug)]
struct Slot {
    settings: Settings,
    version: u64,
    is_over: bool,
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing, and reads the settings of an earlier run. What
    /// goes wrong is recorded by `events`.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn open(path: &Path, events: Recorder) -> Store {
        let mut directory = Directory::new(path, FILE, SETTING);
        let shared = Shared {
            path: path.join(FILE),
            slot: Mutex::new(Slot { settings: Settings::default(), version: 0, is_over: false }),
            bell: Condvar::new(),
            settled: AtomicU64::new(0),
            is_stored: Arc::new(AtomicBool::new(true)),
            events,
            #[cfg(test)]
            hang: Arc::default(),
        };
        let shared = Arc::new(shared);
        let locked = directory.lock();
        // Unlocked too: the daemon that holds the lock may be one that ends just now.
        let file = directory.read();
        let settings =
            file.and_then(|file| file.map_or(Ok(Settings::default()), |f| format::decode(&f)));
        let restored = settings.unwrap_or_else(|error| {
            let error = match directory.move_aside() {
                Ok(None) => error,
                Ok(Some(aside)) => format!("{error}; the file is now {}", aside.display()),
                Err(failure) => format!("{error}; it cannot be moved aside: {failure}"),
            };
            let path = shared.name();
            shared.events.record(Happening::SettingsUnreadable { path, error });
            Settings::default()
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
    pub fn restored(&self) -> &Settings {
        &self.restored
    }

    /// Records what happens to settings.
    pub(crate) fn events(&self) -> &Recorder {
        &self.shared.events
    }

    /// Takes these settings for those that are stored. The next ones that are put replace what is in the file.
    pub(crate) fn begin(&mut self, settings: &Settings) {
        self.last = settings.clone();
        self.shared.slot.lock().settings = settings.clone();
    }

    /// Has these settings stored, unless they are those that were put last. Returns their version, and does not wait.
    pub(crate) fn put(&mut self, settings: &Settings) -> u64 {
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
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether settings are on their way to the disk. Records it if that takes `limit`.
    pub(crate) fn is_busy(&self, limit: Duration) -> bool {
        let is_busy = self.settled() < self.version;
        if is_busy && self.waiting_since.elapsed() >= limit {
            self.shared.fail(&NO_ANSWER);
        }
        is_busy
    }

    /// The last version that is stored, or could not be.
    pub(crate) fn settled(&self) -> u64 {
        self.shared.settled.load(Ordering::Acquire)
    }

    /// Whether the last attempt to store was successful.
    pub(crate) fn is_stored(&self) -> &Arc<AtomicBool> {
        &self.shared.is_stored
    }
}

#[cfg(test)]
impl Store {
    /// The disk hangs while this is locked.
    pub(crate) fn hang(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.shared.hang)
    }
}

/// What a daemon finds that starts now.
#[cfg(test)]
pub(crate) fn stored(path: &Path) -> Settings {
    let file = Directory::new(path, FILE, SETTING).read().expect("a file that can be read");
    file.map_or(Settings::default(), |file| format::decode(&file).expect("settings"))
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.slot.lock().is_over = true;
        self.shared.bell.notify_one();
        // Nothing is ever sent.
        if self.end.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            self.shared.fail(&NO_ANSWER);
        }
    }
}

impl Shared {
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
struct Writer {
    directory: Directory,
    shared: Arc<Shared>,
    /// The version that it tried last.
    written: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (version, settings, is_over) = self.next();
            let has_failed = !self.shared.is_stored.load(Ordering::Acquire);
            if version > self.written || has_failed {
                #[cfg(test)]
                drop(self.shared.hang.lock());
                match self.directory.replace(&format::encode(&settings)) {
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
    fn next(&self) -> (u64, Settings, bool) {
        let mut slot = self.shared.slot.lock();
        while slot.version == self.written && !slot.is_over {
            if self.shared.is_stored.load(Ordering::Acquire) {
                self.shared.bell.wait(&mut slot);
            } else if self.shared.bell.wait_for(&mut slot, RETRY).timed_out() {
                break;
            }
        }
        (slot.version, slot.settings.clone(), slot.is_over)
    }
}
