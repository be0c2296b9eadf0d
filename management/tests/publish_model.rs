//! A model of the hand-over of tables: loom runs a publisher and its readers in every order that the memory model
//! allows, up to a number of preemptions.
//!
//! The publisher is the one of `src/publish.rs`, on loom's types. The readers do what a worker does with
//! `arc_swap::Cache` and with its statistics: load the tables, count by them, report their generation. The reading
//! end of `arc_swap` itself is not modelled: a mutex stands in for it, with the same contract.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::array;

use loom::model::Builder;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::{self, ThreadId};

use publish::Publisher;
use sync::{Arc, ArcSwap};

#[path = "../src/publish.rs"]
mod publish;

/// The types that `publish` is built on.
mod sync {
    use loom::sync::Mutex;

    pub(crate) use loom::sync::Arc;

    /// A pointer that is loaded and swapped whole. After a swap, no load returns the old value.
    #[derive(Debug)]
    pub(crate) struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        pub(crate) fn new(first: Arc<T>) -> ArcSwap<T> {
            ArcSwap(Mutex::new(first))
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(crate) fn swap(&self, next: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.lock().unwrap(), next)
        }
    }
}

/// Tables whose only service has the only id, or that have no service.
#[derive(Debug)]
struct Tables {
    generation: u64,
    /// Which of two services has the id.
    service: Option<usize>,
    /// The publishing thread, which alone may free them.
    publisher: ThreadId,
}

impl Drop for Tables {
    fn drop(&mut self) {
        assert_eq!(
            thread::current().id(),
            self.publisher,
            "generation {} was freed",
            self.generation
        );
    }
}

fn tables(generation: u64, service: Option<usize>) -> Arc<Tables> {
    Arc::new(Tables { generation, service, publisher: thread::current().id() })
}

/// What a worker reports.
#[derive(Debug)]
struct Report {
    /// `Gauge::Generation`, with the ordering of `stats`.
    generation: AtomicU64,
    /// The counter of the id.
    counted: AtomicU64,
    /// What was counted for each of the two services; not a part of the model.
    truth: [AtomicU64; 2],
}

/// A worker's rounds.
fn work(shared: &ArcSwap<Tables>, report: &Report, rounds: usize) {
    let mut cached = shared.load_full();
    for _ in 0..rounds {
        let now = shared.load_full();
        if !Arc::ptr_eq(&now, &cached) {
            assert!(now.generation > cached.generation, "generations only rise");
            cached = now;
        }
        report.generation.store(cached.generation, Ordering::Release);
        if let Some(service) = cached.service {
            for count in [&report.counted, &report.truth[service]] {
                count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
    }
}

fn model(workers: usize, rounds: usize, preemptions: Option<usize>) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        let mut publisher = Publisher::new(tables(1, Some(0)));
        let reports: Vec<_> = (0..workers)
            .map(|_| {
                Arc::new(Report {
                    generation: AtomicU64::new(0),
                    counted: AtomicU64::new(0),
                    truth: array::from_fn(|_| AtomicU64::new(0)),
                })
            })
            .collect();
        let threads: Vec<_> = reports
            .iter()
            .map(|report| {
                let (shared, report) = (Arc::clone(publisher.shared()), Arc::clone(report));
                thread::spawn(move || work(&shared, &report, rounds))
            })
            .collect();
        let in_force = |generation| {
            let runs =
                |report: &Arc<Report>| report.generation.load(Ordering::Acquire) >= generation;
            reports.iter().all(runs)
        };
        let counted =
            || -> u64 { reports.iter().map(|report| report.counted.load(Ordering::Relaxed)).sum() };

        // The service is removed. Once that is in force, its id goes to another.
        publisher.publish(tables(2, None));
        publisher.release();
        let base = in_force(2).then(counted);
        if base.is_some() {
            assert!(!publisher.release(), "every worker has let go of what it ran before");
            publisher.publish(tables(3, Some(1)));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if let Some(base) = base {
            let truth = |report: &Arc<Report>| report.truth[1].load(Ordering::Relaxed);
            assert_eq!(counted() - base, reports.iter().map(truth).sum::<u64>());
        }
        assert!(!publisher.release());
    });
}

#[test]
fn one_worker_in_every_order() {
    model(1, 3, None);
}

#[test]
fn two_workers_with_few_preemptions() {
    model(2, 2, Some(3));
}
