use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;

/// A text, which is the file but for its last line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Note(String);

impl Stored for Note {
    const FILE: &'static str = "note.txt";
    const SETTING: &'static str = "--note-directory";
    const RETRY: Duration = Duration::from_millis(50);

    fn is_same(&self, other: &Note) -> bool {
        self == other
    }

    fn encode(&self) -> Vec<u8> {
        format!("{}\nend\n", self.0).into_bytes()
    }

    fn decode(file: &[u8]) -> Result<Note, String> {
        let text = std::str::from_utf8(file).map_err(|error| error.to_string())?;
        let text = text.strip_suffix("\nend\n").ok_or("it has no end")?;
        Ok(Note(text.to_owned()))
    }
}

fn note(text: impl ToString) -> Note {
    Note(text.to_string())
}

/// In memory if that is possible: a disk takes milliseconds for each file.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).unwrap()
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("state")
}

fn at(path: &Path) -> Directory {
    Directory::new(path, Note::FILE, Note::SETTING)
}

/// What a daemon finds that starts now.
fn stored(path: &Path) -> Note {
    let file = at(path).read().expect("a file that can be read");
    file.map_or(Note::default(), |file| Note::decode(&file).expect("a note"))
}

fn aside(path: &Path) -> PathBuf {
    path.join("note.txt.corrupt")
}

/// The kinds of what was recorded.
fn kinds(events: &Recorder) -> Vec<&'static str> {
    let batch = events.ring().read(1, usize::MAX);
    batch.events.iter().map(|event| event.happening.name()).collect()
}

fn wait(what: &str, is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn store_now(store: &mut Store<Note>, text: impl ToString) {
    let version = store.put(&note(text));
    wait("it is not stored", || store.settled() >= version);
}

#[test]
fn a_daemon_that_starts_anew_finds_what_was_stored_last() {
    let directory = directory();
    let path = path(&directory);
    let mut store = Store::open(&path, Recorder::default());
    assert_eq!(store.restored(), &Note::default());
    for n in 0..300 {
        store_now(&mut store, n);
        assert_eq!(stored(&path), note(n));
        if n % 100 == 0 {
            drop(store);
            store = Store::open(&path, Recorder::default());
            assert_eq!(store.restored(), &note(n));
        }
    }
    let mode = |file: PathBuf| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.clone()), mode(path.join(Note::FILE))), (0o700, 0o600));
}

/// How far a daemon comes with a replacement before it ends.
#[derive(Clone, Debug)]
enum End {
    Writing(prop::sample::Index),
    Written,
    Renamed,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(End::Writing),
        Just(End::Written),
        Just(End::Renamed),
    ]
}

proptest! {
    #[test]
    fn an_end_at_any_step_leaves_what_was_before_or_after_the_change(
        steps in prop::collection::vec(("[a-z]{0,40}", end()), 1..10),
    ) {
        let directory = directory();
        let path = path(&directory);
        let mut before = Note::default();
        for (text, end) in steps {
            let after = note(text).encode();
            let mut daemon = at(&path);
            daemon.lock().unwrap();
            match &end {
                End::Writing(cut) => daemon.write(&after[..cut.index(after.len())]).unwrap(),
                End::Written | End::Renamed => daemon.write(&after).unwrap(),
            }
            if let End::Renamed = end {
                daemon.rename().unwrap();
                before = Note::decode(&after).unwrap();
            }
            drop(daemon);
            prop_assert_eq!(stored(&path), before.clone());
            // The next daemon goes on where this one ended.
            at(&path).replace(&after).unwrap();
            before = Note::decode(&after).unwrap();
            prop_assert_eq!(stored(&path), before.clone());
        }
        let files = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name());
        let mut files: Vec<_> = files.collect();
        files.sort();
        prop_assert_eq!(files, [LOCK, Note::FILE]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_moved_aside() {
    for bytes in [&b""[..], &[0; 4096], b"no end", b"\xff\nend\n"] {
        let directory = directory();
        let path = path(&directory);
        fs::create_dir(&path).unwrap();
        fs::write(path.join(Note::FILE), bytes).unwrap();
        let events = Recorder::default();
        let mut store = Store::open(&path, events.clone());
        assert_eq!(store.restored(), &Note::default());
        assert_eq!(kinds(&events), ["settings_unreadable"]);
        store_now(&mut store, "next");
        assert_eq!(stored(&path), note("next"));
        assert_eq!(fs::read(aside(&path)).unwrap(), bytes);
        assert_eq!(kinds(&events).len(), 1);
    }
}

#[test]
fn what_is_in_the_place_of_the_file_is_moved_aside_too() {
    let directory = directory();
    let path = path(&directory);
    fs::create_dir(&path).unwrap();
    type Make = fn(&Path);
    let things: [(&str, Make); 4] = [
        ("a directory", |place| fs::create_dir_all(place.join("within")).unwrap()),
        ("a huge file", |place| {
            fs::File::create(place).unwrap().set_len(LARGEST + 1).unwrap();
        }),
        ("a pipe", |place| mknodat(CWD, place, FileType::Fifo, Mode::RUSR, 0).unwrap()),
        ("a circle of links", |place| symlink(place, place).unwrap()),
    ];
    for (n, (what, make)) in things.into_iter().enumerate() {
        make(&path.join(Note::FILE));
        let events = Recorder::default();
        let mut store = Store::open(&path, events.clone());
        assert_eq!(kinds(&events), ["settings_unreadable"], "{what}");
        let is_aside = |file: &io::Result<fs::DirEntry>| {
            file.as_ref().unwrap().file_name().to_string_lossy().starts_with("note.txt.corrupt")
        };
        let number = fs::read_dir(&path).unwrap().filter(is_aside).count();
        assert_eq!(number, n + 1, "{what}: nothing is lost");
        store_now(&mut store, n);
        assert_eq!(stored(&path), note(n));
        drop(store);
        fs::remove_file(path.join(Note::FILE)).unwrap();
    }
    symlink(path.join("nothing"), path.join(Note::FILE)).unwrap();
    let events = Recorder::default();
    let mut store = Store::open(&path, events.clone());
    store_now(&mut store, "next");
    assert_eq!(stored(&path), note("next"));
    assert!(kinds(&events).is_empty(), "a link to nothing is no file");
}

#[test]
fn a_second_daemon_does_not_store() {
    let directory = directory();
    let path = path(&directory);
    let events = Recorder::default();
    let mut first = Store::open(&path, Recorder::default());
    store_now(&mut first, "first");
    let mut second = Store::open(&path, events.clone());
    assert_eq!(second.restored(), &note("first"));
    let batch = events.ring().read(1, usize::MAX);
    let Happening::SettingsUnstored { path: file, error } = &batch.events[0].happening else {
        panic!("{batch:?}")
    };
    assert_eq!(*file, path.join(Note::FILE).display().to_string());
    assert_eq!(error, "another daemon uses this directory; set --note-directory");
    // Whoever waits for it does not wait for ever.
    store_now(&mut second, "second");
    assert_eq!(stored(&path), note("first"));
    assert!(!second.is_stored().load(Ordering::Relaxed));
    drop(first);
    wait("it never stores", || kinds(&events).len() == 2);
    assert_eq!(stored(&path), note("second"));
    assert_eq!(kinds(&events), ["settings_unstored", "settings_stored"]);
}

#[test]
fn what_another_daemon_may_still_read_is_not_moved_aside() {
    let directory = directory();
    let path = path(&directory);
    let first = Store::<Note>::open(&path, Recorder::default());
    fs::write(path.join(Note::FILE), "corrupt").unwrap();
    let events = Recorder::default();
    let second = Store::<Note>::open(&path, events.clone());
    assert_eq!(kinds(&events), ["settings_unreadable", "settings_unstored"]);
    assert_eq!(fs::read(path.join(Note::FILE)).unwrap(), b"corrupt");
    drop(first);
    wait("it never stores", || second.is_stored().load(Ordering::Relaxed));
    assert_eq!(fs::read(aside(&path)).unwrap(), b"corrupt");
}

#[test]
fn a_directory_that_cannot_be_made_is_recorded_once_until_it_can() {
    let directory = directory();
    let path = path(&directory);
    fs::write(&path, "a file").unwrap();
    let events = Recorder::default();
    let mut store = Store::open(&path.join("deep"), events.clone());
    (0..5).for_each(|n| store_now(&mut store, n));
    assert_eq!(kinds(&events), ["settings_unstored"]);
    fs::remove_file(&path).unwrap();
    wait("it never stores", || store.is_stored().load(Ordering::Relaxed));
    assert_eq!(stored(&path.join("deep")), note(4));
    fs::remove_dir_all(&path).unwrap();
    store_now(&mut store, "again");
    wait("it never stores again", || store.is_stored().load(Ordering::Relaxed));
    assert_eq!(stored(&path.join("deep")), note("again"));
}

/// A full disk, or none that takes the file's name.
#[test]
fn a_file_that_cannot_be_written_keeps_the_one_before() {
    let directory = directory();
    let path = path(&directory);
    let events = Recorder::default();
    let mut store = Store::open(&path, events.clone());
    store_now(&mut store, "before");
    // No file can be made with this name.
    fs::create_dir_all(path.join("note.txt.new/within")).unwrap();
    store_now(&mut store, "after");
    assert_eq!(stored(&path), note("before"));
    assert_eq!(kinds(&events), ["settings_unstored"]);
    fs::remove_dir_all(path.join("note.txt.new")).unwrap();
    wait("it never stores", || kinds(&events).len() == 2);
    assert_eq!(stored(&path), note("after"));
    assert_eq!(kinds(&events), ["settings_unstored", "settings_stored"]);
}

#[test]
fn a_disk_that_hangs_is_recorded_and_loses_nothing() {
    let directory = directory();
    let path = path(&directory);
    let events = Recorder::default();
    let mut store = Store::open(&path, events.clone());
    let gate = store.gate();
    let hang = gate.lock();
    (0..5).for_each(|n| _ = store.put(&note(n)));
    assert!(store.is_busy(Duration::from_secs(60)));
    assert!(kinds(&events).is_empty());
    assert!(store.is_busy(Duration::ZERO) && store.is_busy(Duration::ZERO));
    assert_eq!(kinds(&events), ["settings_unstored"]);
    drop(hang);
    wait("it never stores", || !store.is_busy(Duration::from_secs(60)));
    assert_eq!(stored(&path), note(4));
    wait("nobody hears of it", || kinds(&events) == ["settings_unstored", "settings_stored"]);
}

#[test]
fn an_ending_daemon_stores_what_was_put_last() {
    let directory = directory();
    let path = path(&directory);
    let mut store = Store::open(&path, Recorder::default());
    (0..100).for_each(|n| _ = store.put(&note(n)));
    drop(store);
    assert_eq!(stored(&path), note(99));
}

#[test]
fn what_is_the_same_is_not_written_again() {
    let directory = directory();
    let path = path(&directory);
    let mut store = Store::open(&path, Recorder::default());
    store_now(&mut store, "same");
    let inode = || fs::metadata(path.join(Note::FILE)).unwrap().ino();
    let before = inode();
    assert_eq!(store.put(&note("same")), 1);
    thread::sleep(Duration::from_millis(20));
    assert_eq!((inode(), store.settled()), (before, 1));
}
