//! Whether the configuration in force is that of the file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_config::{ReadError, Source, Stamp};

/// How long the file system may take to be looked at, and to be read from.
const PATIENCE: Duration = Duration::from_millis(500);

/// Compares texts with the file, which is read again only if it has changed.
#[derive(Debug)]
pub(super) struct Comparison {
    source: Source,
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    stamps: Vec<Stamp>,
    text: Arc<str>,
    differs: bool,
}

impl Comparison {
    pub(super) fn new(path: PathBuf) -> Comparison {
        Comparison { source: Source::new(path), known: None }
    }

    /// Whether the file, with those of `conf.d`, differs from a text. A file that cannot be read does. `None` if its
    /// file system does not answer.
    pub(super) fn differs(&mut self, text: &Arc<str>) -> Option<bool> {
        let until = Instant::now() + PATIENCE;
        let is_late = || Instant::now() >= until;
        let stamps = match self.source.stamps(is_late) {
            Ok(stamps) => stamps,
            Err(error) => return self.failed(&error),
        };
        if let Some(known) = &self.known
            && known.stamps == stamps
            && Arc::ptr_eq(&known.text, text)
        {
            return Some(known.differs);
        }
        let differs = match self.source.read(is_late) {
            Ok(read) => *read != **text,
            Err(error) => return self.failed(&error),
        };
        self.known = Some(Known { stamps, text: Arc::clone(text), differs });
        Some(differs)
    }

    fn failed(&mut self, error: &ReadError) -> Option<bool> {
        self.known = None;
        match error {
            ReadError::Late | ReadError::Stuck | ReadError::Abandoned => None,
            _ => Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_of_any_file_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (file, further) =
            (directory.path().join("guideway.toml"), directory.path().join("conf.d"));
        let mut comparison = Comparison::new(file.clone());
        let text: Arc<str> = "a = 1\n".into();
        assert_eq!(comparison.differs(&text), Some(true), "there is no file");
        fs::write(&file, &*text).unwrap();
        assert_eq!(comparison.differs(&text), Some(false));
        assert_eq!(comparison.differs(&text), Some(false));
        fs::write(&file, "a = 2\n").unwrap();
        assert_eq!(comparison.differs(&text), Some(true));
        assert_eq!(comparison.differs(&"a = 2\n".into()), Some(false), "the other was applied");
        fs::write(&file, &*text).unwrap();
        fs::create_dir(&further).unwrap();
        assert_eq!(comparison.differs(&text), Some(false));
        fs::write(further.join("10.toml"), "b = 1\n").unwrap();
        assert_eq!(comparison.differs(&text), Some(true));
        fs::remove_file(further.join("10.toml")).unwrap();
        assert_eq!(comparison.differs(&text), Some(false));
        fs::remove_file(&file).unwrap();
        assert_eq!(comparison.differs(&text), Some(true));
    }
}
