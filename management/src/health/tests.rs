//! The thread, at a daemon with a worker that can be made to stand still.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway_api as api;
use guideway_core::stats::{self, Counter, DropReason, Gauge, Verdict};

use super::*;
use crate::daemon::{Buffers, Daemon, Port, PortState, Worker};
use crate::manager::Manager;
use crate::sample::{THREE, text};
use crate::state::PortFacts;
use guideway_chassis::http::Answer;

/// Within this time everything happens, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// Waits until it is so.
#[track_caller]
fn until(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON);
        thread::sleep(Duration::from_millis(5));
    }
}

fn text_of(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[test]
fn the_thread_finds_what_fails_and_what_recovers() {
    let text = text(THREE);
    let configuration = guideway_config::parse(&text).unwrap().configuration;
    let facts = vec![PortFacts { device_mac: [2, 0, 0, 0, 0, 1], filter: true }];
    let manager = Manager::new(configuration, text, facts).unwrap();
    let tables = Arc::clone(manager.tables());
    let (mut writer, stats) = stats::channel(8, 8);
    let works = Arc::new(AtomicBool::new(false));
    let ends = Arc::new(AtomicBool::new(false));
    let (working, ending) = (Arc::clone(&works), Arc::clone(&ends));
    let worker = thread::spawn(move || {
        while !ending.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
            if working.load(Ordering::Relaxed) {
                writer.set(Gauge::Generation, tables.load().generation());
                writer.add(Counter::Polls, 1);
                writer.verdict(Verdict::Dropped(DropReason::RingFull), 1);
            }
        }
    });
    let workers = vec![Worker {
        tick_hz: 1_000_000_000,
        stats,
        cpu: None,
        queues: Vec::new(),
        flow_capacity: 64,
        scan: Box::new(Some),
    }];
    let (up, free) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(1000)));
    let (is_up, left) = (Arc::clone(&up), Arc::clone(&free));
    let ports = vec![Port {
        driver: "net_null".to_owned(),
        device_mac: [2, 0, 0, 0, 0, 1],
        rx_queues: 1,
        tx_queues: 1,
        steering: Box::new(|| api::Steering {
            method: api::SteeringMethod::OneWorker,
            filled_queues: None,
            crowded_queue: None,
        }),
        probe: Box::new(PortState::default),
        is_up: Box::new(move || is_up.load(Ordering::Relaxed)),
        extended: Box::new(Default::default),
        functions: [None, None],
        interface: None,
    }];
    let buffers = vec![Buffers {
        name: "packets".to_owned(),
        total: 1000,
        probe: Box::new(move || left.load(Ordering::Relaxed)),
    }];
    let path = PathBuf::from("/nonexistent/guideway.toml");
    let daemon = Arc::new(
        Daemon::new(path, manager, workers, ports, Default::default()).with_buffers(buffers),
    );
    let health = Arc::new(Health::default());
    let pages = health.pages(&daemon, Arc::new(|_| Ok(Default::default())));
    assert_eq!((pages.node)(), "lb1");
    let handle = start(Arc::clone(&daemon), Arc::clone(&health)).unwrap();
    assert!(!(pages.readyz)().is_well, "no worker runs a generation");

    works.store(true, Ordering::Relaxed);
    until(|| (pages.healthz)().is_well && (pages.readyz)().is_well);
    up.store(false, Ordering::Relaxed);
    free.store(49, Ordering::Relaxed);
    until(|| {
        let page = text_of(&(pages.healthz)());
        page.contains("\"edge0\"") && page.contains("49 of 1000 packet buffers are free")
    });
    assert!(!(pages.readyz)().is_well, "the only port is down");
    up.store(true, Ordering::Relaxed);
    free.store(1000, Ordering::Relaxed);
    until(|| (pages.healthz)().is_well);

    let age = |worker| health.heartbeat_age(worker, Instant::now());
    works.store(false, Ordering::Relaxed);
    until(|| age(0) >= Some(STALLED));
    assert!(text_of(&(pages.readyz)()).contains("\"worker\""));
    works.store(true, Ordering::Relaxed);
    until(|| (pages.readyz)().is_well);
    assert!(age(0) < Some(STALLED));
    assert_eq!(age(1), None, "there is none");
    let happened = || -> Vec<_> {
        let events = daemon.events().ring().read(1, 100).events;
        events.iter().map(|event| event.happening.name()).collect()
    };
    // The worker may have been so slow that the flood ended.
    for name in
        ["flood_began", "buffers_low", "buffers_recovered", "worker_stalled", "worker_resumed"]
    {
        assert!(happened().contains(&name), "{name}: {:?}", happened());
    }

    daemon.stop();
    until(|| text_of(&(pages.healthz)()).contains("\"manager\""));
    drop(handle);
    ends.store(true, Ordering::Relaxed);
    worker.join().unwrap();
}
