//! The state directory: one process has it, and its file is replaced as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The name of the file that the daemon locks.
pub const LOCK: &str = "lock";

/// Bytes of the largest file that is read: several times what 65,535 backends with the longest reasons need.
pub const LARGEST: u64 = 512 << 20;

/// What the name of the file that is written and then renamed ends with.
const NEW: &str = "new";

/// What the name of a file ends with that cannot be read.
const ASIDE: &str = "corrupt";

/// Files of that name that are kept; a later one replaces the last.
const KEPT: u32 = 10;

/// A state directory, with one file.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The name of the file.
    file: &'static str,
    /// Where the operator sets the directory.
    setting: &'static str,
    /// Locked as long as it is open.
    lock: Option<File>,
    /// The file cannot be read and is still in its place.
    is_unreadable: bool,
}

impl Directory {
    /// The directory at `path`, which the operator names by `setting`, for a file of this name.
    pub fn new(path: &Path, file: &'static str, setting: &'static str) -> Directory {
        Directory { path: path.to_owned(), file, setting, lock: None, is_unreadable: false }
    }

    /// The path of the file.
    pub(super) fn file(&self) -> PathBuf {
        self.path.join(self.file)
    }

    /// The path of a file beside it, whose name ends with this too.
    fn beside(&self, end: &str) -> PathBuf {
        self.path.join(format!("{}.{end}", self.file))
    }

    /// Makes the directory if it is missing, and locks it against other processes.
    ///
    /// # Errors
    /// What keeps it from that. So have all functions here.
    pub(super) fn lock(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NONBLOCK | OFlags::NOFOLLOW))
            .open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another daemon uses this directory; set {}", self.setting);
                return Err(io::Error::other(message));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }

    /// What is in the file; `None` if there is no file.
    pub fn read(&self) -> Result<Option<Vec<u8>>, String> {
        // A pipe without a writer would make the start wait.
        let flags = flags(OFlags::NONBLOCK);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.file());
        let read = |file: File| {
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            let mut bytes = Vec::new();
            file.take(LARGEST + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > LARGEST {
                return Err(io::Error::other(format!("it has more than {LARGEST} bytes")));
            }
            Ok(bytes)
        };
        match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // The directory itself is no directory. To lock it has failed already.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            file => file.and_then(read).map(Some).map_err(|error| error.to_string()),
        }
    }

    /// Renames a file that cannot be read, so that the next one does not replace it. Returns its new path; `None` if
    /// that has to wait, since another process has the directory.
    pub(super) fn move_aside(&mut self) -> io::Result<Option<PathBuf>> {
        self.is_unreadable = true;
        if self.lock.is_none() {
            return Ok(None);
        }
        let path = |n| match n {
            1 => self.beside(ASIDE),
            n => self.beside(&format!("{ASIDE}.{n}")),
        };
        let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
        let aside = (1..KEPT).map(path).find(is_free).unwrap_or_else(|| path(KEPT));
        fs::rename(self.file(), &aside)?;
        self.is_unreadable = false;
        Ok(Some(aside))
    }

    /// Replaces the file. When this returns, the new file is on the disk; if it fails, the old one stays.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.lock()?;
        if self.is_unreadable {
            self.move_aside()?;
        }
        let replaced = self.write(bytes).and_then(|()| self.rename());
        if let Err(error) = &replaced
            && error.kind() == io::ErrorKind::NotFound
        {
            // Somebody has removed the directory. The lock is that of the removed one.
            self.lock = None;
        }
        replaced
    }

    /// Brings a new file to the disk, beside the one that is read.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let path = self.beside(NEW);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Puts the new file in the place of the old one.
    pub(super) fn rename(&self) -> io::Result<()> {
        fs::rename(self.beside(NEW), self.file())?;
        // The new name of the file is on the disk when the directory is.
        File::open(&self.path)?.sync_all()
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}
