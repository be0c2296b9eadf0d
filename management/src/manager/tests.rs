mod totals;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::routing::{Batch, Link};
use crate::sample::{Brake, MIXED, ports};
use crate::state::Setting;
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
    let manager = manager();
    let tables = Arc::clone(manager.tables());
    let (writer, reader) = channel(8, 64);
    let (brake, is_over) = (Brake::default(), AtomicBool::new(false));
    let handle = manager.start(vec![reader], limits);
    std::thread::scope(|scope| {
        scope.spawn(|| work(writer, &tables, &brake, &is_over));
        // A test that fails must end the worker too.
        let _over = Over(&is_over);
        test(&handle, &brake);
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
        let unknown = Change::Backend {
            pool: "nosuch".to_owned(),
            address: "192.0.2.10".parse().unwrap(),
            setting: Setting { weight: Some(0), enabled: None },
        };
        assert_eq!(handle.changes().send(unknown).outcome(), Ok(1));
    });
}

#[test]
fn what_needs_a_restart_is_compared_with_what_is_in_force_then() {
    with_worker(Limits::default(), |handle, _| {
        let other = configuration(|configuration| configuration.dpdk.workers = vec![1]);
        // Sent together: the second is compared with the state after the first.
        let sent = [handle.changes().send(learnt(3)), handle.changes().send(other)];
        let [first, second] = sent.map(Sent::outcome);
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
    let state = manager.state().clone();
    manager.change(&state);
    drop(held);
    assert!(weak.upgrade().is_some(), "the worker's was the last reference");
    assert!(!manager.release());
    assert!(weak.upgrade().is_none(), "nothing holds them any more");
}
