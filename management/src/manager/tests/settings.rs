//! Settings from a change to the tables, the file and the next run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::sample::Random;
use crate::state::standing::PoolServing;
use crate::state::{Set, Setting};
use crate::store::{Store, stored};

/// A manager with a store, and a worker that runs every generation.
fn with_store(directory: &Path, events: &Recorder, test: impl FnOnce(&Handle)) {
    let store = Store::open(directory, events.clone());
    let configuration = guideway_config::parse(MIXED).unwrap().configuration;
    let manager = Manager::restored(configuration, MIXED.to_owned(), ports(), store).unwrap();
    let limits = Limits { gathering: Duration::ZERO, ..Limits::default() };
    run(manager.with_events(events.clone()), limits, test);
}

fn run(manager: Manager, limits: Limits, test: impl FnOnce(&Handle)) {
    let tables = Arc::clone(manager.tables());
    let (writer, reader) = channel(8, 64);
    let (brake, is_over) = (Brake::default(), AtomicBool::new(false));
    let handle = manager.start(vec![reader], limits);
    std::thread::scope(|scope| {
        scope.spawn(|| work(writer, &tables, &brake, &is_over));
        let _over = Over(&is_over);
        test(&handle);
    });
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).unwrap()
}

fn wait(what: &str, is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kinds(events: &Recorder) -> Vec<&'static str> {
    recorded(events).iter().map(Happening::name).collect()
}

/// The first backend of [`MIXED`] in the pool of this index.
fn first(pool: usize) -> (String, IpAddr) {
    let pool = &configured().pools[pool];
    (pool.name.clone(), pool.backends[0].address)
}

fn order(order: BackendOrder) -> BackendChange {
    let (pool, address) = first(0);
    BackendChange { at: Wall::now(), ..BackendChange::new(pool, address, order) }
}

fn state(value: SetState) -> BackendChange {
    order(BackendOrder::State(value))
}

/// What is set, as whoever set it remembers.
type Model = BTreeMap<(String, IpAddr), Setting>;

fn model_of(settings: &Settings) -> Model {
    settings.iter().map(|(pool, address, set)| ((pool.to_owned(), address), set.clone())).collect()
}

/// A random change, carried out in the model too.
fn change(random: &mut Random, model: &mut Model) -> BackendChange {
    let pools = configured().pools;
    let pool = &pools[random.below(pools.len())];
    let backend = &pool.backends[random.below(pool.backends.len())];
    let source = random.of(&[Source::Controller, Source::Operator]);
    let states = [
        SetState::Active,
        SetState::Enabled,
        SetState::Draining,
        SetState::Disabled,
        SetState::Down,
    ];
    let order = match random.below(6) {
        0 => BackendOrder::UnsetState,
        1 => BackendOrder::UnsetWeight,
        2 => BackendOrder::Weight(random.of(&[0, 1, 7])),
        _ => BackendOrder::State(random.of(&states)),
    };
    let reason = random.of(&[None, Some("rack 7"), Some("\"\\\u{1f600}")]);
    // Each has a time of its own, and ends long after the test or not at all.
    let at = Wall(1_000_000 + random.below(1 << 30) as u64);
    let until = random.of(&[None, Some(Wall(u64::MAX / 2)), Some(Wall(u64::MAX / 2 + 1))]);
    let reason = reason.map(Arc::from);
    let setting = model.entry((pool.name.clone(), backend.address)).or_default();
    let layer = match source {
        Source::Controller => &mut setting.controller,
        _ => &mut setting.operator,
    };
    fn set<T: PartialEq>(before: &mut Option<Set<T>>, mut set: Set<T>) {
        if let Some(before) = before.as_ref().filter(|before| before.value == set.value) {
            set.at = before.at;
        }
        *before = Some(set);
    }
    let is_plain = backend.enabled && source == Source::Operator && until.is_none();
    match order {
        BackendOrder::UnsetState => layer.state = None,
        BackendOrder::UnsetWeight => layer.weight = None,
        BackendOrder::State(SetState::Enabled) if is_plain => layer.state = None,
        BackendOrder::State(value) => {
            set(&mut layer.state, Set { value, reason: reason.clone(), at, until });
        }
        BackendOrder::Weight(value) => {
            set(&mut layer.weight, Set { value, reason: reason.clone(), at, until });
        }
    }
    model.retain(|_, setting| *setting != Setting::default());
    let (pool, address) = (pool.name.clone(), backend.address);
    BackendChange { pool, address, source, order, reason, at, until }
}

/// Whoever starts anew at any time finds what was answered.
#[test]
fn what_was_answered_is_in_the_file() {
    let directory = directory();
    let (mut random, mut model) = (Random(14), Model::new());
    for _ in 0..10 {
        let events = Recorder::default();
        with_store(directory.path(), &events, |handle| {
            assert_eq!(model_of(&handle.published().load().settings), model, "after a restart");
            for _ in 0..100 {
                let sent = match random.below(20) {
                    // A reload that has all backends, and one that does not have the first.
                    0 => handle.changes().send(configuration(|_| ())),
                    1 => {
                        model.remove(&first(0));
                        let without = |c: &mut Configuration| drop(c.pools[0].backends.remove(0));
                        handle.changes().send(configuration(without)).outcome().unwrap();
                        assert_eq!(model_of(&stored(directory.path())), model, "removed");
                        handle.changes().send(configuration(|_| ()))
                    }
                    _ => {
                        let count = 1 + random.below(3);
                        let changes = (0..count).map(|_| change(&mut random, &mut model));
                        handle.changes().send(Change::Backends(changes.collect()))
                    }
                };
                sent.outcome().unwrap();
                assert_eq!(model_of(&stored(directory.path())), model);
                assert_eq!(model_of(&handle.published().load().settings), model);
            }
        });
        let settings = kinds(&events).into_iter().filter(|kind| kind.starts_with("settings"));
        assert_eq!(settings.count(), 0);
    }
}

#[test]
fn the_first_tables_have_what_was_set_before() {
    let (directory, events) = (directory(), Recorder::default());
    with_store(directory.path(), &events, |handle| {
        let soon = Wall::now().after(Duration::from_millis(1));
        let gone = BackendChange { until: Some(soon), ..order(BackendOrder::Weight(5)) };
        let sent = handle.changes().send(Change::Backends(vec![state(SetState::Draining), gone]));
        sent.outcome().unwrap();
    });
    // A backend that the next configuration does not have.
    let mut settings = stored(directory.path());
    let set = settings.get(&first(0).0, first(0).1).unwrap().clone();
    settings.put("web", "192.0.2.99".parse().unwrap(), set.clone());
    settings.put("gone", "192.0.2.99".parse().unwrap(), set);
    let mut store = Store::open(directory.path(), events.clone());
    store.put(&settings);
    drop(store);
    std::thread::sleep(Duration::from_millis(2));

    let events = Recorder::default();
    let store = Store::open(directory.path(), events.clone());
    let manager = Manager::restored(configured(), MIXED.to_owned(), ports(), store).unwrap();
    let standing = &manager.published().load().pools[0].backends[0].standing;
    assert_eq!((standing.state, standing.weight), (crate::state::Wanted::Draining, 1));
    let expected =
        [Happening::SettingsIgnored { backends: 2, first: "gone/192.0.2.99".to_owned() }];
    assert_eq!(recorded(&events), expected);
    assert_eq!(stored(directory.path()).iter().count(), 3, "they stay in the file until a change");
    drop(manager);
    with_store(directory.path(), &events, |handle| {
        let changes = vec![order(BackendOrder::Weight(9))];
        handle.changes().send(Change::Backends(changes)).outcome().unwrap();
        assert_eq!(stored(directory.path()).iter().count(), 1);
    });
}

#[test]
fn a_setting_ends_by_itself() {
    let (directory, events) = (directory(), Recorder::default());
    with_store(directory.path(), &events, |handle| {
        let end = Wall::now().after(Duration::from_millis(300));
        let changes = vec![BackendChange { until: Some(end), ..state(SetState::Disabled) }];
        assert_eq!(handle.changes().send(Change::Backends(changes)).outcome(), Ok(2));
        assert_eq!(stored(directory.path()).iter().count(), 1);
        wait("it never ends", || handle.published().load().generation == 3);
        assert!(Wall::now() >= end);
        assert!(handle.published().load().settings.is_empty());
        wait("the file has it still", || stored(directory.path()).is_empty());
        let kinds = || kinds(&events).into_iter().filter(|kind| *kind == "backend_state").count();
        wait("no event says so", || kinds() == 2);
    });
}

#[test]
fn an_order_that_says_nothing_new_publishes_and_writes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let (directory, events) = (directory(), Recorder::default());
    with_store(directory.path(), &events, |handle| {
        let inode = || std::fs::metadata(directory.path().join("backends.json")).unwrap().ino();
        let controller = || {
            let down = BackendChange { source: Source::Controller, ..state(SetState::Down) };
            handle.changes().send(Change::Backends(vec![down])).outcome()
        };
        assert_eq!(controller(), Ok(2));
        let before = inode();
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(2));
            assert_eq!(controller(), Ok(2));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!((inode(), handle.published().load().generation), (before, 2));
    });
}

#[test]
fn a_disk_that_fails_or_hangs_delays_answers_alone() {
    let (parent, events) = (directory(), Recorder::default());
    let directory = parent.path().join("file/state");
    std::fs::write(parent.path().join("file"), "no directory").unwrap();
    let store = Store::open(&directory, events.clone());
    let hang = store.gate();
    let manager = Manager::restored(configured(), MIXED.to_owned(), ports(), store).unwrap();
    let is_stored = manager.is_stored();
    let limits = Limits { in_force: Duration::from_millis(200), ..Limits::default() };
    run(manager, limits, |handle| {
        let set = |value| handle.changes().send(Change::Backends(vec![state(value)]));
        assert_eq!(set(SetState::Draining).outcome(), Ok(2), "it fails at once");
        assert_eq!(set(SetState::Disabled).outcome(), Ok(3));
        assert_eq!(kinds(&events), ["settings_unstored"]);
        assert!(!is_stored.load(Ordering::Relaxed));
        std::fs::remove_file(parent.path().join("file")).unwrap();
        wait("it never works", || kinds(&events) == ["settings_unstored", "settings_stored"]);

        let held = hang.lock();
        let begun = Instant::now();
        let sent = set(SetState::Draining);
        // What sets nothing does not wait.
        assert_eq!(
            handle.changes().send(learnt(3)).outcome().unwrap(),
            handle.published().load().generation
        );
        assert!(begun.elapsed() < limits.in_force, "neighbours wait for the disk");
        sent.outcome().unwrap();
        assert!(begun.elapsed() >= limits.in_force, "it is answered before it is stored");
        assert_eq!(kinds(&events).last(), Some(&"settings_unstored"));
        assert!(!is_stored.load(Ordering::Relaxed));
        drop(held);
        wait("it never works again", || kinds(&events).len() == 4);
        assert_eq!(model_of(&stored(&directory)), model_of(&handle.published().load().settings));
    });
}

/// A rack fails: each of its servers is reported by another connection.
#[test]
fn a_thousand_changes_at_once_are_one_publication() {
    let (directory, events) = (directory(), Recorder::default());
    let store = Store::open(directory.path(), events.clone());
    let manager = Manager::restored(configured(), MIXED.to_owned(), ports(), store).unwrap();
    let limits = Limits { gathering: Duration::from_secs(2), ..Limits::default() };
    run(manager, limits, |handle| {
        let barrier = Barrier::new(10);
        let (pool, backends) = (&first(0).0, &configured().pools[0].backends);
        std::thread::scope(|scope| {
            for n in 0..10 {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let address = backends[n % backends.len()].address;
                    let sent = (0..100).map(|weight| {
                        let order = BackendOrder::Weight(weight);
                        let change = BackendChange::new(pool, address, order);
                        handle.changes().send(Change::Backends(vec![change]))
                    });
                    let sent: Vec<_> = sent.collect();
                    sent.iter().for_each(|sent| assert_eq!(sent.outcome(), Ok(2)));
                });
            }
        });
        let published = handle.published().load();
        assert_eq!(model_of(&stored(directory.path())), model_of(&published.settings));
    });
}

const STANDING_IN: &str = r#"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[hash]
key = "000102030405060708090a0b0c0d0e0f"
table_size = 1021
[dpdk]
workers = [0]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
[[port]]
name = "edge1"
device = "net_null1"
addresses = ["198.51.100.1/24"]
[[neighbor]]
address = "192.0.2.10"
mac = "02:00:00:00:00:10"
[[neighbor]]
address = "192.0.2.11"
mac = "02:00:00:00:00:11"
[[neighbor]]
address = "192.0.2.20"
mac = "02:00:00:00:00:20"
[[pool]]
name = "web"
backup = "sorry"
min_active = 2
backup_hold = 1
slow_start = 2
backends = [{ name = "a", address = "192.0.2.10" }, { name = "b", address = "192.0.2.11" }]
[[pool]]
name = "sorry"
backends = [{ name = "s", address = "192.0.2.20" }]
[[service]]
name = "web"
address = "203.0.113.10"
protocol = "tcp"
port = 80
pool = "web"
"#;

#[test]
fn a_backup_stands_in_and_gives_way_by_itself() {
    let events = Recorder::default();
    let configuration = guideway_config::parse(STANDING_IN).unwrap().configuration;
    let manager = Manager::new(configuration, STANDING_IN.to_owned(), ports()).unwrap();
    run(manager.with_events(events.clone()), Limits::default(), |handle| {
        let set = |address: &str, value| {
            let order = BackendOrder::State(value);
            let change = BackendChange::new("web", address.parse().unwrap(), order);
            let change = BackendChange { at: Wall::now(), ..change };
            handle.changes().send(Change::Backends(vec![change])).outcome().unwrap();
        };
        let of_pools = || {
            let all = recorded(&events).into_iter();
            let all = all.filter(|event| !matches!(event, Happening::BackendState { .. }));
            all.collect::<Vec<_>>()
        };
        set("192.0.2.10", SetState::Down);
        let (pool, backup) = ("web".to_owned(), "sorry".to_owned());
        let in_place = Happening::BackupStandsIn {
            pool: pool.clone(),
            backup: backup.clone(),
            active: 1,
            needed: 2,
        };
        assert_eq!(of_pools(), std::slice::from_ref(&in_place));
        let begun = Instant::now();
        set("192.0.2.10", SetState::Enabled);
        let gives_way = Happening::BackupGivesWay { pool, backup };
        let expected = [in_place, gives_way];
        wait("it never gives way", || of_pools() == expected);
        assert!(begun.elapsed() >= Duration::from_millis(990), "{:?}", begun.elapsed());
    });
}

/// Tables are built again for every step, for all backends of a pool at once.
#[test]
fn a_slow_start_publishes_once_a_second() {
    let text = STANDING_IN.replace("min_active = 2", "min_active = 1");
    let configuration = guideway_config::parse(&text).unwrap().configuration;
    let manager = Manager::new(configuration, text, ports()).unwrap();
    run(manager, Limits::default(), |handle| {
        let set = |value| {
            let change = |address: &str| {
                let address = address.parse().unwrap();
                let change = BackendChange::new("web", address, BackendOrder::State(value));
                BackendChange { at: Wall::now(), ..change }
            };
            let changes = ["192.0.2.10", "192.0.2.11"].map(change);
            handle.changes().send(Change::Backends(changes.into())).outcome().unwrap()
        };
        set(SetState::Down);
        let generation = set(SetState::Enabled);
        let (begun, mut seen) = (Instant::now(), Vec::new());
        while begun.elapsed() < Duration::from_millis(3500) {
            let published = handle.published().load();
            let at = (published.generation, published.pools[0].backends[0].standing.share);
            if seen.last() != Some(&at) {
                seen.push(at);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(seen.is_sorted(), "{seen:?}");
        assert_eq!(seen.last().unwrap().1, 1000, "{seen:?}");
        let steps = seen.last().unwrap().0 - generation;
        assert!((2..=4).contains(&steps), "{seen:?}");
    });
}

/// A setting whose end alone is another one is stored and listed, and makes no new tables.
#[test]
fn another_end_of_a_setting_makes_no_tables() {
    let directory = directory();
    with_store(directory.path(), &Recorder::default(), |handle| {
        let (pool, address) = first(0);
        let renewed = |until| {
            let order = BackendOrder::State(SetState::Down);
            let change = BackendChange::new(pool.clone(), address, order);
            let change = BackendChange { at: Wall::now(), until: Some(until), ..change };
            handle.changes().send(Change::Backends(vec![change])).outcome().unwrap()
        };
        let end = |hours: u64| Wall::now().after(Duration::from_secs(3600 * hours));
        let generation = renewed(end(1));
        let until = end(2);
        assert_eq!(renewed(until), generation);
        let published = handle.published().load();
        let setting = published.settings.get(&pool, address).unwrap();
        assert_eq!(setting.operator.state.as_ref().unwrap().until, Some(until));
        let text = std::fs::read_to_string(directory.path().join("backends.json")).unwrap();
        assert!(text.contains(&until.0.to_string()), "{text}");
    });
}

/// A clock that is set back does not make a backup stay: its hold begins anew.
#[test]
fn a_clock_that_is_set_back_is_noticed() {
    let configuration = guideway_config::parse(STANDING_IN).unwrap().configuration;
    let mut manager = Manager::new(configuration, STANDING_IN.to_owned(), ports()).unwrap();
    let now = Wall::now();
    let hour = Duration::from_secs(3600);
    let mut state = manager.state().clone();
    for value in [SetState::Down, SetState::Enabled] {
        let order = BackendOrder::State(value);
        state.intent.set(&BackendChange::new("web", "192.0.2.10".parse().unwrap(), order));
        manager.change(&state);
        state = manager.state().clone();
    }
    let serving = |manager: &Manager| manager.state().standing.pools[0].serving;
    assert_eq!(serving(&manager), PoolServing::Level(1));
    let before = Wall(now.0 - u64::try_from(hour.as_millis()).unwrap());
    manager.keep_time(before);
    assert_eq!(serving(&manager), PoolServing::Level(1));
    manager.keep_time(before.after(Duration::from_secs(2)));
    assert_eq!(serving(&manager), PoolServing::Level(0));
}
