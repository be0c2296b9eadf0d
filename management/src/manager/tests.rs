mod drains;
mod settings;
mod totals;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::routing::{Batch, Link};
use crate::sample::{Brake, MIXED, THREE, choose_own, ports, text};
use crate::state::{BackendChange, PortFacts, Settings};
use guideway_api::Happening;
use guideway_api::{BackendOrder, SetState, Source};
use guideway_chassis::event::Recorder;
use guideway_core::stats::{Gauge, Writer, channel};

const AT_ONCE: Progress = Progress { generation: u64::MAX, swept: u64::MAX };

fn manager() -> Manager {
    let configuration = guideway_config::parse(MIXED).unwrap().configuration;
    Manager::new(configuration, MIXED.to_owned(), ports()).unwrap()
}

fn learnt(n: u8) -> Change {
    let neighbor = (Link::of_port(0), "192.0.2.10".parse().unwrap(), Some([n; 6]));
    Change::Kernel(Batch { neighbors: vec![neighbor], ..Batch::default() })
}

fn configuration(change: impl FnOnce(&mut Configuration)) -> Change {
    let mut configuration = guideway_config::parse(MIXED).unwrap().configuration;
    change(&mut configuration);
    Change::Configuration { configuration: Box::new(configuration), text: "changed".to_owned() }
}

/// A manager's thread, and a worker that runs every generation while it is told to.
fn with_worker(limits: Limits, test: impl FnOnce(&Handle, &Brake)) {
    with_recorder(limits, |handle, brake, _| test(handle, brake));
}

/// As [`with_worker`], with what was recorded.
fn with_recorder(limits: Limits, test: impl FnOnce(&Handle, &Brake, &Recorder)) {
    let events = Recorder::default();
    let manager = manager().with_events(events.clone());
    let tables = Arc::clone(manager.tables());
    let (writer, reader) = channel(8, 64);
    let (brake, is_over) = (Brake::default(), AtomicBool::new(false));
    let handle = manager.start(vec![reader], limits);
    std::thread::scope(|scope| {
        scope.spawn(|| work(writer, &tables, &brake, &is_over));
        // A test that fails must end the worker too.
        let _over = Over(&is_over);
        test(&handle, &brake, &events);
    });
}

#[test]
fn the_wait_for_a_generation_is_observed_once() {
    let manager = manager();
    let timings = manager.timings().clone();
    let (tables, brake, is_over) =
        (Arc::clone(manager.tables()), Brake::default(), AtomicBool::new(false));
    let (writer, reader) = channel(8, 64);
    let limits =
        Limits { gathering: Duration::from_millis(100), in_force: Duration::from_millis(300) };
    let handle = manager.start(vec![reader], limits);
    let read = || {
        let (compile, publish) = (timings.compile(), timings.publish());
        (compile.get_sample_count(), publish.get_sample_count(), publish.get_sample_sum())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(writer, &tables, &brake, &is_over));
        let _over = Over(&is_over);
        assert_eq!(read(), (1, 0, 0.0));
        let sent = [3, 4].map(|n| handle.changes().send(learnt(n)));
        assert_eq!(sent.map(|sent| sent.outcome()), [Ok(2), Ok(2)]);
        let (compiled, published, in_time) = read();
        assert_eq!((compiled, published), (2, 1), "both were published together");
        let order = BackendOrder::UnsetState;
        let nowhere =
            Change::Backends(vec![BackendChange::new("nosuch", IpAddr::from([0; 4]), order)]);
        assert_eq!(handle.changes().send(nowhere).outcome(), Ok(2));
        assert_eq!(read(), (2, 1, in_time), "nothing was published");
        brake.pull();
        handle.changes().send(learnt(5)).outcome().unwrap_err();
        let (compiled, published, all) = read();
        assert_eq!((compiled, published), (3, 2));
        assert!(all - in_time >= 0.3, "the whole wait counts: {all} after {in_time}");
        brake.release();
    });
}

/// Ends the worker when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn work(mut writer: Writer, tables: &ArcSwap<Tables>, brake: &Brake, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        if !brake.holds() {
            writer.set(Gauge::Generation, tables.load().generation());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_change_is_answered_when_every_worker_runs_it() {
    with_worker(Limits::default(), |handle, brake| {
        assert_eq!(handle.changes().send(learnt(3)).outcome(), Ok(2));
        brake.pull();
        let sent = handle.changes().send(learnt(4));
        sent.turn().wait();
        assert_eq!(handle.published().load().generation, 3);
        brake.release();
        assert_eq!(sent.outcome(), Ok(3));
        let mac = handle.published().load().pools[0].backends[0].next_hop.as_ref().unwrap().mac;
        assert_eq!(mac, Some([4; 6]));
    });
}

#[test]
fn changes_that_come_together_are_published_together() {
    let gathering = Duration::from_secs(1);
    with_worker(Limits { gathering, ..Limits::default() }, |handle, _| {
        let sent: Vec<_> = (0..50).map(|n| handle.changes().send(learnt(n))).collect();
        let generations: Vec<_> = sent.into_iter().map(|sent| sent.outcome().unwrap()).collect();
        assert_eq!(generations, [2; 50]);
    });
}

#[test]
fn each_configuration_has_a_generation_of_its_own_and_does_not_wait() {
    let gathering = Duration::from_secs(3600);
    with_worker(Limits { gathering, ..Limits::default() }, |handle, _| {
        let changes = [learnt(3), configuration(|_| ()), configuration(|_| ())];
        let sent: Vec<_> =
            changes.into_iter().map(|change| handle.changes().send(change)).collect();
        let generations: Vec<_> = sent.into_iter().map(|sent| sent.outcome().unwrap()).collect();
        assert_eq!(generations, [2, 3, 4]);
    });
}

#[test]
fn a_change_that_changes_nothing_publishes_nothing() {
    with_worker(Limits::default(), |handle, _| {
        let address = "192.0.2.10".parse().unwrap();
        let order = BackendOrder::Weight(0);
        let unknown = Change::Backends(vec![BackendChange::new("nosuch", address, order)]);
        assert_eq!(handle.changes().send(unknown).outcome(), Ok(1));
    });
}

#[test]
fn what_needs_a_restart_is_compared_with_what_is_in_force_then() {
    with_worker(Limits::default(), |handle, _| {
        let other = configuration(|configuration| configuration.dpdk.workers = vec![1]);
        // Sent together: the second is compared with the state after the first.
        let sent = [handle.changes().send(learnt(3)), handle.changes().send(other)];
        let [first, second] = sent.map(|sent| sent.outcome());
        assert_eq!(first, Ok(2));
        assert!(
            matches!(second, Err(Error::NeedsRestart(keys)) if keys[0].contains("dpdk.workers"))
        );
        assert_eq!(&*handle.published().load().text, MIXED);
    });
}

#[test]
fn a_panic_fails_its_change_and_the_manager_goes_on() {
    with_worker(Limits::default(), |handle, brake| {
        assert_eq!(handle.changes().send(learnt(3)).outcome(), Ok(2));
        brake.pull();
        let waiting = handle.changes().send(learnt(4));
        waiting.turn().wait();
        assert_eq!(handle.changes().send(Change::Panic).outcome(), Err(Error::Failed));
        brake.release();
        assert_eq!(waiting.outcome(), Ok(3), "whoever waited is still answered");
        let restarts = handle.restarts().load(Ordering::Relaxed);
        assert_eq!((restarts, handle.published().load().generation), (1, 3));
        assert_eq!(handle.changes().send(learnt(5)).outcome(), Ok(4));
        let state = handle.published().load_full();
        assert_eq!(state.pools[0].backends[0].next_hop.as_ref().unwrap().mac, Some([5; 6]));
    });
}

#[test]
fn after_the_stop_a_change_fails() {
    with_worker(Limits::default(), |handle, _| {
        handle.stop();
        assert_eq!(handle.changes().send(learnt(3)).outcome(), Err(Error::Failed));
        assert_eq!(handle.published().load().generation, 1);
    });
}

#[test]
fn a_reused_id_counts_from_its_assignment() {
    let mut manager = manager();
    let (mut writer, reader) = channel(8, 64);
    manager.workers = vec![reader];
    let configured =
        |manager: &Manager| Configuration::clone(&manager.state().intent.configuration);
    let id = manager.published().load().pools[0].backends[0].id;
    let mut without = configured(&manager);
    let backend = without.pools[0].backends.remove(0);
    let service = without.services.remove(0);
    manager.configure(without.clone(), String::new(), AT_ONCE).unwrap();
    // The last packets by the old tables.
    writer.traffic().count(0, id.index(), 60);
    without.pools[0].backends.push(guideway_config::Backend {
        name: "z".to_owned(),
        address: "192.0.2.99".parse().unwrap(),
        ..backend
    });
    without.services.push(guideway_config::Service { port: 81, ..service });
    manager.configure(without, String::new(), AT_ONCE).unwrap();
    let published = manager.published().load_full();
    let new = published.pools[0].backends.last().unwrap();
    assert_eq!(new.id, id, "the id is reused");
    assert_eq!(published.backend_base[&id.get()].packets, 1);
    assert_eq!(published.service_base[&0].packets, 1);
}

#[test]
fn an_id_is_reused_only_after_a_sweep() {
    let mut manager = manager();
    let whole = Configuration::clone(&manager.state().intent.configuration);
    let mut without = whole.clone();
    without.services.remove(0);
    without.pools[0].backends.remove(0);
    let ids = |manager: &Manager| {
        let ids = Arc::clone(&manager.published().load().ids);
        (ids.services[0], ids.backends[0][0])
    };
    let first = ids(&manager);
    manager.configure(without.clone(), String::new(), AT_ONCE).unwrap();
    let unswept = Progress { generation: u64::MAX, swept: 1 };
    manager.configure(whole.clone(), String::new(), unswept).unwrap();
    let (service, backend) = ids(&manager);
    assert!(service != first.0 && backend != first.1, "flow tables may still name the old ids");
    manager.configure(without, String::new(), unswept).unwrap();
    manager.configure(whole, String::new(), Progress { swept: 2, ..unswept }).unwrap();
    assert_eq!(ids(&manager), first, "removed in generation 2, which every sweep has seen");
}

#[test]
fn retired_tables_are_kept_while_a_worker_holds_them() {
    let mut manager = manager();
    let held = manager.tables().load_full();
    let weak = Arc::downgrade(&held);
    let mut state = manager.state().clone();
    let (pool, address) = (&configured().pools[0].name, "192.0.2.10".parse().unwrap());
    state.intent.set(&BackendChange::new(pool, address, BackendOrder::Weight(5)));
    manager.change(&state);
    drop(held);
    assert!(weak.upgrade().is_some(), "the worker's was the last reference");
    assert!(!manager.release());
    assert!(weak.upgrade().is_none(), "nothing holds them any more");
}

fn configured() -> Configuration {
    guideway_config::parse(MIXED).unwrap().configuration
}

/// All that was recorded.
fn recorded(events: &Recorder) -> Vec<Happening> {
    let batch = events.ring().read(1, usize::MAX);
    batch.events.iter().map(|event| event.happening.clone()).collect()
}

#[test]
fn what_a_publication_changes_for_backends_and_pools_is_recorded() {
    use guideway_api::BackendState::{Active, Disabled, Draining, Unresolved};
    let address: IpAddr = "192.0.2.10".parse().unwrap();
    let set = |order| {
        let pool = configured().pools[0].name.clone();
        Change::Backends(vec![BackendChange::new(pool, address, order)])
    };
    with_recorder(Limits::default(), |handle, _, events| {
        // The address is a backend of another pool too.
        let of_pool = |event: &Happening| match event {
            Happening::BackendState { pool, .. }
            | Happening::PoolEmpty { pool }
            | Happening::PoolServing { pool, .. } => *pool == configured().pools[0].name,
            _ => false,
        };
        let pool = configured().pools[0].clone();
        let state = |from, to, source| {
            let (backend, pool) = (pool.backends[0].name.clone(), pool.name.clone());
            Happening::BackendState { pool, backend, address, from, to, source, reason: None }
        };
        let (empty, serving) = (
            Happening::PoolEmpty { pool: pool.name.clone() },
            Happening::PoolServing { pool: pool.name.clone(), active: 1 },
        );
        let mut known = Vec::new();
        for (change, expected) in [
            (learnt(3), vec![state(Unresolved, Active, Source::File), serving.clone()]),
            (learnt(4), vec![]),
            (
                set(BackendOrder::State(SetState::Draining)),
                vec![state(Active, Draining, Source::Operator), empty.clone()],
            ),
            (
                set(BackendOrder::State(SetState::Disabled)),
                vec![state(Draining, Disabled, Source::Operator)],
            ),
            (configuration(|_| ()), vec![]),
            (
                configuration(|c| {
                    c.pools.reverse();
                    choose_own(c);
                }),
                vec![],
            ),
            (
                set(BackendOrder::UnsetState),
                vec![state(Disabled, Active, Source::File), serving.clone()],
            ),
            (configuration(|c| drop(c.pools[0].backends.remove(0))), vec![empty]),
            (configuration(|_| ()), vec![serving]),
        ] {
            let what = format!("{change:?}").chars().take(80).collect::<String>();
            handle.changes().send(change).outcome().unwrap();
            known.extend(expected);
            let all: Vec<_> = recorded(events).into_iter().filter(of_pool).collect();
            assert_eq!(all, known, "{what}");
        }
    });
}

#[test]
fn many_pools_that_become_empty_at_once_are_counted() {
    let text = text(&THREE[..1]).replace("table_size = 1021", "table_size = 101");
    let mut full = guideway_config::parse(&text).unwrap().configuration;
    let pool = full.pools[0].clone();
    let pools = (1..1500).map(|n| guideway_config::Pool { name: format!("p{n}"), ..pool.clone() });
    full.pools.extend(pools);
    let mut empty = full.clone();
    let backends = empty.pools.iter_mut().flat_map(|pool| &mut pool.backends);
    backends.for_each(|backend| backend.enabled = false);
    let facts = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
    let events = Recorder::default();
    let manager = Manager::new(full, text, facts).unwrap();
    let mut manager = manager.with_events(events.clone());
    manager.configure(empty, String::new(), AT_ONCE).unwrap();
    let all = recorded(&events);
    let single = all.iter().filter(|event| event.name() == "pool_empty").count();
    assert_eq!(single, 1000);
    assert_eq!(all.last(), Some(&Happening::PoolStates { pools: 500 }));
}

#[test]
fn many_backends_that_change_at_once_are_counted() {
    let mut large = configured();
    let backend = large.pools[0].backends[0].clone();
    large.pools[0].backends.extend((0..1500_u16).map(|n| guideway_config::Backend {
        name: format!("b{n}"),
        address: IpAddr::from([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]),
        ..backend.clone()
    }));
    large.pools[0].backends.remove(0);
    let mut disabled = large.clone();
    disabled.pools[0].backends.iter_mut().for_each(|backend| backend.enabled = false);
    let events = Recorder::default();
    let mut manager = manager().with_events(events.clone());
    for configuration in [large, disabled] {
        manager.configure(configuration, String::new(), AT_ONCE).unwrap();
    }
    let all = recorded(&events);
    let single = all.iter().filter(|event| event.name() == "backend_state").count();
    let rest = all.iter().find_map(|event| match event {
        Happening::BackendStates { backends } => Some(*backends),
        _ => None,
    });
    // Four of those that were there already change too.
    assert_eq!((single, rest), (1000, Some(504)));
}

#[test]
fn a_worker_that_hangs_is_recorded_once() {
    let limits = Limits { in_force: Duration::from_millis(30), ..Limits::default() };
    with_recorder(limits, |handle, brake, events| {
        let late = || {
            let is_late = |event: &Happening| match event {
                Happening::GenerationLate { generation } => Some(*generation),
                _ => None,
            };
            recorded(events).iter().filter_map(is_late).collect::<Vec<_>>()
        };
        assert_eq!(handle.changes().send(learnt(3)).outcome(), Ok(2));
        brake.pull();
        for n in 4..7 {
            let outcome = handle.changes().send(learnt(n)).outcome();
            assert!(matches!(outcome, Err(Error::NotInForce { .. })), "{outcome:?}");
        }
        assert_eq!(late(), [3]);
        brake.release();
        assert_eq!(handle.changes().send(learnt(7)).outcome(), Ok(6));
        brake.pull();
        handle.changes().send(learnt(8)).outcome().unwrap_err();
        assert_eq!(late(), [3, 7]);
        brake.release();
        handle.changes().send(Change::Panic).outcome().unwrap_err();
        handle.changes().send(learnt(9)).outcome().unwrap();
        let restarted =
            recorded(events).into_iter().find(|event| event.name() == "manager_restarted");
        assert_eq!(restarted, Some(Happening::ManagerRestarted { generation: 7 }));
    });
}
