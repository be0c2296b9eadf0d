use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use guideway_api::SetState;
use guideway_chassis::event::Recorder;
use tempfile::TempDir;

use super::*;
use crate::sample::Random;
use crate::state::{Layer, Set, Setting};
use guideway_chassis::store::Stored;
use guideway_chassis::wall::Wall;

/// In memory if that is possible: a disk takes milliseconds for each file.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).unwrap()
}

fn path(directory: &TempDir) -> PathBuf {
    directory.path().join("state")
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

fn store_now(store: &mut Store, settings: &Settings) {
    let version = store.put(settings);
    wait("it is not stored", || store.settled() >= version);
}

/// A setting with every part that a random number names.
fn setting(random: &mut Random) -> Setting {
    fn set<T>(random: &mut Random, value: T) -> Option<Set<T>> {
        let reasons = ["", "rack 7 fails", "\"quoted\" \\ and 日本", "a\u{7f}b"];
        let reason = (random.below(3) > 0).then(|| random.of(&reasons).into());
        let at = Wall(random.below(1 << 40) as u64);
        let until = (random.below(2) > 0).then(|| Wall(random.below(1 << 40) as u64));
        (random.below(4) > 0).then_some(Set { value, reason, at, until })
    }
    let layer = |random: &mut Random| {
        let state = random.of(&SetState::ALL);
        let weight = random.of(&[0, 1, 1_000_000]);
        Layer { state: set(random, state), weight: set(random, weight) }
    };
    Setting { controller: layer(random), operator: layer(random) }
}

/// Random settings of a few backends, one after the other, beside a model of them.
struct Model {
    random: Random,
    settings: Settings,
    model: BTreeMap<(String, IpAddr), Setting>,
}

impl Model {
    fn new() -> Model {
        Model { random: Random(7), settings: Settings::default(), model: BTreeMap::new() }
    }

    fn change(&mut self) {
        let pool = self.random.of(&["web", "dns", "a \"pool\""]).to_owned();
        let last = u8::try_from(self.random.below(20)).unwrap();
        let address = match self.random.below(2) {
            0 => IpAddr::from([192, 0, 2, last]),
            _ => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()]),
        };
        let setting = match self.random.below(4) {
            0 => Setting::default(),
            _ => setting(&mut self.random),
        };
        self.settings.put(&pool, address, setting.clone());
        match setting == Setting::default() {
            true => self.model.remove(&(pool, address)),
            false => self.model.insert((pool, address), setting),
        };
    }

    fn assert_is(&self, found: &Settings) {
        let found: BTreeMap<_, _> =
            found.iter().map(|(p, a, setting)| ((p.to_owned(), a), setting.clone())).collect();
        assert_eq!(found, self.model);
    }
}

#[test]
fn a_daemon_that_starts_anew_finds_what_was_stored_last() {
    let directory = directory();
    let path = path(&directory);
    let mut model = Model::new();
    let mut store = Store::open(&path, Recorder::default());
    for n in 0..1000 {
        model.change();
        store_now(&mut store, &model.settings);
        model.assert_is(&stored(&path));
        if n % 100 == 0 {
            drop(store);
            store = Store::open(&path, Recorder::default());
            model.assert_is(store.restored());
        }
    }
}

#[test]
fn the_same_settings_make_the_same_file_for_nobody_else() {
    let directory = directory();
    let path = path(&directory);
    let mut model = Model::new();
    (0..50).for_each(|_| model.change());
    let mut other = Settings::default();
    for ((pool, address), setting) in model.model.iter().rev() {
        other.put(pool, *address, setting.clone());
    }
    assert_eq!(format::encode(&model.settings), format::encode(&other));
    let mut store = Store::open(&path, Recorder::default());
    store_now(&mut store, &other);
    let mode = |file: PathBuf| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.clone()), mode(path.join(Settings::FILE))), (0o700, 0o600));
    let empty = format::encode(&Settings::default());
    assert_eq!(empty, b"{\"version\":1,\"backends\":[\n]}\n");
}

#[test]
fn a_file_that_cannot_be_read_is_moved_aside() {
    let mut model = Model::new();
    (0..20).for_each(|_| model.change());
    let whole = format::encode(&model.settings);
    let one = r#"{"pool":"web","address":"192.0.2.1","operator":{"weight":{"value":1,"at":1}}}"#;
    let file = |backends: &str| format!(r#"{{"version":1,"backends":[{backends}]}}"#).into_bytes();
    assert!(format::decode(&file(one)).is_ok());
    let not_utf8 = [&whole[..40], &[0xff], &whole[40..]].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("zeros", vec![0; 4096]),
        ("no JSON", b"web/b1 draining\n".to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("a bracket short", whole[..whole.len() - 2].to_vec()),
        ("more behind it", [&whole[..], b"{}"].concat()),
        ("no UTF-8", not_utf8),
        ("another version", b"{\"version\":2,\"settings\":{}}".to_vec()),
        ("no version", b"{\"backends\":[]}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("deep", vec![b'['; 100_000]),
        ("twice the same", file(&format!("{one},{one}"))),
        ("an unknown key", file(&one.replace("\"at\"", "\"since\""))),
        ("an unknown state", file(&one.replace("weight", "state").replace(":1,", ":\"up\","))),
        ("a weight beyond the limit", file(&one.replace("\"value\":1", "\"value\":1000001"))),
        ("a weight below 0", file(&one.replace("\"value\":1", "\"value\":-1"))),
        ("no address", file(&one.replace("192.0.2.1", "localhost"))),
    ];
    for (what, bytes) in cases {
        let directory = directory();
        let path = path(&directory);
        fs::create_dir(&path).unwrap();
        fs::write(path.join(Settings::FILE), &bytes).unwrap();
        let events = Recorder::default();
        let mut store = Store::open(&path, events.clone());
        assert!(store.restored().is_empty(), "{what}");
        assert_eq!(kinds(&events), ["settings_unreadable"], "{what}");
        store_now(&mut store, &model.settings);
        model.assert_is(&stored(&path));
        assert_eq!(fs::read(path.join("backends.json.corrupt")).unwrap(), bytes, "{what}");
        assert_eq!(kinds(&events).len(), 1, "{what}");
    }
}

/// A file that somebody has edited, or a disk has changed.
#[test]
fn no_file_is_read_in_two_ways() {
    let mut model = Model::new();
    let mut readable = 0;
    for _ in 0..3_000 {
        if model.random.below(100) == 0 {
            model.change();
        }
        let mut file = format::encode(&model.settings);
        for _ in 0..=model.random.below(3) {
            let at = model.random.below(file.len());
            match model.random.below(3) {
                0 => drop(file.remove(at)),
                1 => file.insert(at, model.random.of(b"0129\"{},:[]ae ")),
                _ => file[at] ^= 1 << model.random.below(8),
            }
        }
        if let Ok(settings) = format::decode(&file) {
            readable += 1;
            assert_eq!(format::decode(&format::encode(&settings)), Ok(settings));
        }
    }
    assert!(readable > 20, "{readable}");
}
