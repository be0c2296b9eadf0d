//! The thread that parses the configurations of clients, one at a time.
//!
//! A parse takes up to a hundred times the memory of its text, and the allocator keeps a part of that memory
//! for each thread that ever parsed. One thread parses for all connections, so that it is kept once.
//!
//! Texts come into force in the order in which they were given to the parser. It begins the next one only when the
//! one before is published or refused, so that no more than one parsed configuration waits.
//!
//! Texts that are to be applied go before those that are only checked: whoever can connect may check as much as they
//! like, and an apply waits at most for the one check that is under way.

use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased, unbounded};

use crate::manager::{Change, Changes, Sent};
use guideway_config as config;
use guideway_config::{Mistake, Mistakes, Parsed};

/// What becomes of a text without mistakes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// It is only checked.
    Check,
    /// It goes to the manager.
    Apply,
}

/// A text without mistakes.
#[derive(Debug)]
pub(super) enum Done {
    Checked(Box<Parsed>),
    Sent(Vec<Mistake>, Sent),
}

/// Why a text got nowhere.
#[derive(Debug)]
pub(super) enum Refusal {
    Mistakes(Mistakes),
    Stopping,
}

type Outcome = Result<Done, Refusal>;

/// Parses one text at a time. Dropping it waits for the thread.
pub(super) struct Parser {
    /// `None` once it is dropped.
    jobs: Option<Jobs>,
    thread: Option<JoinHandle<()>>,
}

/// Texts that wait, in order of arrival.
struct Jobs {
    applies: Sender<Job>,
    checks: Sender<Job>,
}

struct Job {
    text: String,
    purpose: Purpose,
    reply: Sender<thread::Result<Outcome>>,
}

/// A text that waits for its turn.
pub(super) struct Ticket(Receiver<thread::Result<Outcome>>);

impl Parser {
    /// Starts the thread. Texts are refused while `is_stopping`.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub(super) fn start(changes: Changes, is_stopping: Arc<AtomicBool>) -> Parser {
        let (applies, to_apply) = unbounded::<Job>();
        let (checks, to_check) = unbounded::<Job>();
        let work = move || {
            loop {
                let next = select_biased! {
                    recv(to_apply) -> job => job.or_else(|_| to_check.recv()),
                    recv(to_check) -> job => job.or_else(|_| to_apply.recv()),
                };
                match next {
                    Ok(job) => work(job, &changes, &is_stopping),
                    // Both are disconnected and empty.
                    Err(_) => return,
                }
            }
        };
        let thread = thread::Builder::new().name("parser".into()).spawn(work);
        let jobs = Some(Jobs { applies, checks });
        Parser { jobs, thread: Some(thread.expect("a thread for the parser")) }
    }

    /// Gives a text its place in the order of those with the same purpose.
    pub(super) fn submit(&self, text: String, purpose: Purpose) -> Ticket {
        let (reply, outcome) = bounded(1);
        if let Some(jobs) = &self.jobs {
            let jobs = match purpose {
                Purpose::Apply => &jobs.applies,
                Purpose::Check => &jobs.checks,
            };
            // The thread receives until `jobs` is dropped.
            let _ = jobs.send(Job { text, purpose, reply });
        }
        Ticket(outcome)
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        self.jobs = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that parses configurations panicked");
        }
    }
}

impl Ticket {
    /// Waits until the text was parsed and, if it is to be applied, sent to the manager. A panic of the parser goes
    /// on here.
    pub(super) fn wait(self) -> Outcome {
        match self.0.recv() {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Refusal::Stopping),
        }
    }
}

fn work(Job { text, purpose, reply }: Job, changes: &Changes, is_stopping: &AtomicBool) {
    // Whoever asked may have given up, so no reply must arrive.
    if is_stopping.load(Ordering::Acquire) {
        let _ = reply.send(Ok(Err(Refusal::Stopping)));
        return;
    }
    let parsed = match catch_unwind(|| config::parse(&text)) {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(mistakes)) => {
            let _ = reply.send(Ok(Err(Refusal::Mistakes(mistakes))));
            return;
        }
        Err(panic) => {
            let _ = reply.send(Err(panic));
            return;
        }
    };
    match purpose {
        Purpose::Check => _ = reply.send(Ok(Ok(Done::Checked(Box::new(parsed))))),
        Purpose::Apply => {
            let Parsed { configuration, warnings } = parsed;
            let configuration = Box::new(configuration);
            let sent = changes.send(Change::Configuration { configuration, text });
            let turn = sent.turn();
            let _ = reply.send(Ok(Ok(Done::Sent(warnings, sent))));
            turn.wait();
        }
    }
}
