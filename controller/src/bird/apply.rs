//! Has BIRD run by a text: writes it, has BIRD's program check it, puts it into place and has BIRD read it. If one of
//! both refuses it, the last text is in its place again.
//!
//! BIRD need not run: systemd starts it when there is a file.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::control::{Control, Error};

/// The name of BIRD's configuration.
const FILE: &str = "bird.conf";
/// The name of BIRD's control socket.
const SOCKET: &str = "bird.ctl";
/// The name of a configuration that is not checked yet.
const NEW: &str = "bird.conf.new";

/// The file has passwords: its owner writes it, BIRD reads it by its group.
const MODE: u32 = 0o640;

/// How long the check may take. That of 64 peers with 999 orders each, 3.7 MB, takes 0.4 s.
const CHECK: Duration = Duration::from_secs(10);

/// Bytes that are read of what the check says.
const WORDS: u64 = 4096;

/// BIRD reads the configuration and is not ready with the one before.
const QUEUED: u16 = 5;

/// How BIRD reads a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Routes that BIRD has sent stay as they are, even if a filter has changed.
    Soft,
    /// Routes are sent again if a filter has changed.
    Whole,
}

/// What BIRD says of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It runs by it.
    Done,
    /// It will, as soon as it is ready with the one before.
    Queued,
}

/// BIRD's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    directory: PathBuf,
    program: PathBuf,
}

impl Place {
    pub(super) fn new(directory: &Path, program: &Path) -> Place {
        Place { directory: directory.to_owned(), program: program.to_owned() }
    }

    /// BIRD's control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// The text in place; none if there is no file.
    pub(super) fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    /// Checks a text and puts it into place.
    ///
    /// # Errors
    /// Why not, in words. Then the text before is in its place.
    pub(super) fn put(&self, text: &str) -> Result<(), String> {
        let new = self.directory.join(NEW);
        let outcome = self
            .write(&new, text)
            .map_err(|error| format!("{}: {error}", new.display()))
            .and_then(|()| self.check(&new))
            .and_then(|()| {
                let file = self.file();
                fs::rename(&new, &file).map_err(|error| format!("{}: {error}", file.display()))
            });
        if outcome.is_err() {
            // It has passwords. If it cannot be removed, the next one replaces it.
            let _ = fs::remove_file(&new);
        }
        outcome
    }

    /// Puts a text that BIRD had accepted back into place; without one, no file.
    pub(super) fn restore(&self, text: Option<&str>) -> io::Result<()> {
        let new = self.directory.join(NEW);
        match text {
            Some(text) => {
                self.write(&new, text)?;
                fs::rename(&new, self.file())
            }
            None => fs::remove_file(self.file()),
        }
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.directory)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file =
            File::options().write(true).create_new(true).mode(MODE & 0o600).open(path)?;
        // BIRD may run as somebody else. Whoever cannot give a file to the group has BIRD run as the same user.
        let group = fs::metadata(&self.directory)?.gid();
        let _ = std::os::unix::fs::fchown(&file, None, Some(group));
        // The umask does not count here.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())
    }

    /// Has BIRD's program check a file.
    fn check(&self, file: &Path) -> Result<(), String> {
        let program = self.program.display();
        let failed = |error: io::Error| format!("{program}: {error}");
        let mut child = Command::new(&self.program)
            .arg("-p")
            .arg("-c")
            .arg(file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let deadline = Instant::now() + CHECK;
        let status = loop {
            match child.try_wait().map_err(failed)? {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("{program} -p takes more than {} s", CHECK.as_secs()));
                }
            }
        };
        let mut words = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            stderr.take(WORDS).read_to_end(&mut words).map_err(failed)?;
        }
        match status.success() {
            true => Ok(()),
            // `bird: /run/guideway-bird/bird.conf.new:12:3 syntax error`
            false => {
                let words = String::from_utf8_lossy(&words);
                let words = words.lines().collect::<Vec<_>>().join("; ");
                Err(format!("{program} -p refuses the configuration: {words}"))
            }
        }
    }
}

/// Has BIRD read the file in place.
pub(super) fn configure(bird: &mut Control, how: How) -> Result<Progress, Error> {
    let command = match how {
        How::Soft => "configure soft",
        How::Whole => "configure",
    };
    let lines = bird.ask(command)?;
    let is_queued = lines.iter().any(|line| line.code == QUEUED);
    Ok(if is_queued { Progress::Queued } else { Progress::Done })
}

/// Whether BIRD is ready with all that it was told to read.
pub(super) fn is_ready(bird: &mut Control) -> Result<bool, Error> {
    let lines = bird.ask("configure status")?;
    // 4 and 5: it is at it.
    Ok(lines.iter().all(|line| line.code != 4 && line.code != QUEUED))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a program that says nothing, or refuses a text with `bad` in it.
    fn place() -> (tempfile::TempDir, Place) {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("check");
        let script = "#!/bin/sh\nif /bin/grep -q bad \"$3\"; then echo \"bird: $3:1:1 bad\" >&2; \
                      exit 1; fi\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let place = Place::new(&directory.path().join("run"), &program);
        (directory, place)
    }

    #[test]
    fn a_text_is_put_in_place_if_it_is_good() {
        let (_directory, place) = place();
        assert_eq!(place.text(), None);
        place.put("good").unwrap();
        assert_eq!(place.text().unwrap(), "good");
        let mode = fs::metadata(place.file()).unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = place.put("bad").unwrap_err();
        assert!(error.contains("refuses") && error.contains(":1:1 bad"), "{error}");
        assert_eq!(place.text().unwrap(), "good");
        let names: Vec<_> = fs::read_dir(place.directory.clone())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn a_file_left_by_a_crash_is_no_hindrance() {
        let (_directory, place) = place();
        place.put("one").unwrap();
        fs::write(place.directory.join(NEW), "half").unwrap();
        place.put("two").unwrap();
        assert_eq!(place.text().unwrap(), "two");
    }

    #[test]
    fn the_text_before_is_restored() {
        let (_directory, place) = place();
        place.put("one").unwrap();
        place.put("two").unwrap();
        place.restore(Some("one")).unwrap();
        assert_eq!(place.text().unwrap(), "one");
        place.restore(None).unwrap();
        assert_eq!(place.text(), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let (directory, place) = place();
        let missing = Place { program: directory.path().join("none"), ..place };
        let error = missing.put("good").unwrap_err();
        assert!(error.contains("none") && error.contains("No such file"), "{error}");
        assert_eq!(missing.text(), None);
        let nowhere = Place { directory: "/proc/nowhere".into(), ..missing };
        assert!(nowhere.put("good").unwrap_err().contains("/proc/nowhere/bird.conf.new"));
    }
}
