//! The manager's thread: changes in, answers out.
//!
//! Changes are carried out in the order in which they were sent. Those of a few milliseconds are published together,
//! except that each configuration has a generation of its own. After each of them, and when it is time, the thread
//! looks at the clock: settings end, and what follows from them changes with the time. A panic is caught and logged; all changes that
//! were gathered have failed, and the thread goes on with the last good state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use guideway_api::Happening;
use guideway_core::stats::Reader;

use super::change::{Change, Changes, Error, Message, Outcome, Replaced, Turning};
use super::published::Published;
use super::{Manager, drains};
use crate::state::State;
use guideway_chassis::wall::Wall;

/// How long the manager's thread waits, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For more changes after the first.
    pub gathering: Duration,
    /// For every worker to run new tables. Workers load tables once a round.
    pub in_force: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { gathering: Duration::from_millis(2), in_force: Duration::from_secs(5) }
    }
}

/// How often the thread looks whether workers run the tables that somebody waits for.
const WAITING: Duration = Duration::from_millis(1);
/// How often the thread looks whether workers have let go of retired tables, and whether settings are stored.
const RETIRED: Duration = Duration::from_millis(100);
/// How long the thread waits at the most for a time to come: somebody may set the clock.
const CLOCK: Duration = Duration::from_secs(1);
/// How long the thread waits at least for a time to come.
const TICK: Duration = Duration::from_millis(10);

/// After a second panic within this time the thread rests as long.
const PANICS: Duration = Duration::from_millis(500);

/// A running manager. Dropping the handle stops it.
#[derive(Debug)]
pub struct Handle {
    changes: Changes,
    published: Arc<ArcSwap<Published>>,
    restarts: Arc<AtomicU64>,
    /// Returns the manager: its retired tables must outlast the workers.
    thread: Option<JoinHandle<Manager>>,
}

impl Manager {
    /// Runs the manager in a thread of its own, for these workers.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn start(mut self, workers: Vec<Reader>, limits: Limits) -> Handle {
        self.workers = workers;
        let (sender, messages) = unbounded();
        let published = Arc::clone(self.published());
        let restarts = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&restarts);
        let thread = thread::Builder::new()
            .name("manager".into())
            .spawn(move || {
                let (waiting, late) = (Vec::new(), None);
                let mut work = Work { manager: self, messages, limits, waiting, late };
                let mut last: Option<Instant> = None;
                while catch_unwind(AssertUnwindSafe(|| work.run())).is_err() {
                    // What fails again at once may fail by the time alone, and would fail without a pause.
                    if last.replace(Instant::now()).is_some_and(|last| last.elapsed() < PANICS) {
                        thread::sleep(PANICS);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let generation = work.manager.compiled.tables.generation();
                    work.manager.events.record(Happening::ManagerRestarted { generation });
                }
                work.manager
            })
            .expect("a thread for the manager");
        Handle { changes: Changes(sender), published, restarts, thread: Some(thread) }
    }
}

impl Handle {
    /// The way for changes to the manager.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// What was published last.
    pub fn published(&self) -> &Arc<ArcSwap<Published>> {
        &self.published
    }

    /// How often the thread panicked.
    pub fn restarts(&self) -> &Arc<AtomicU64> {
        &self.restarts
    }

    /// Whether the thread runs.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Abandons every wait, and refuses later changes.
    pub fn stop(&self) {
        // If the thread has ended, nobody waits.
        let _ = self.changes.0.send(Message::Stop);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the manager's thread panicked");
        }
    }
}

/// What the thread has.
struct Work {
    manager: Manager,
    messages: Receiver<Message>,
    limits: Limits,
    waiting: Vec<Waiting>,
    /// A generation that was not in force in time, until it is.
    late: Option<u64>,
}

/// Somebody who waits until a generation is in force, and settings are stored.
struct Waiting {
    generation: u64,
    /// The version of the settings that has to be stored as well.
    version: u64,
    /// When it was published, for the first of those who wait for it.
    published: Option<Instant>,
    until: Instant,
    reply: Sender<Outcome>,
}

impl Waiting {
    fn answer(self, outcome: Outcome) {
        // Whoever waited may have given up.
        let _ = self.reply.send(outcome);
    }
}

/// A change, and who waits for it.
struct Pending {
    change: Change,
    reply: Sender<Outcome>,
    turn: Turning,
}

impl Work {
    /// Carries out changes until the stop.
    fn run(&mut self) {
        loop {
            let pause = self.pause();
            let next = match pause {
                Some(pause) => self.messages.recv_timeout(pause),
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let is_stopped = match next {
                Ok(Message::Change { change, reply, turn }) => {
                    self.carry_out(Pending { change, reply, turn })
                }
                Err(RecvTimeoutError::Timeout) => false,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => true,
            };
            if !is_stopped {
                self.manager.keep_time(Wall::now());
            }
            self.answer_waiting(is_stopped);
            if is_stopped {
                return;
            }
        }
    }

    /// How long to wait for a change; `None` if there is nothing else to do.
    fn pause(&mut self) -> Option<Duration> {
        let is_held = self.manager.release();
        let is_storing = self.manager.is_storing(self.limits.in_force);
        let next = self.manager.state().next();
        let pauses = [
            (!self.waiting.is_empty()).then_some(WAITING),
            (is_held || is_storing).then_some(RETIRED),
            self.manager.drains.is_watching().then_some(drains::PERIOD),
            next.map(|next| next.since(Wall::now()).clamp(TICK, CLOCK)),
        ];
        pauses.into_iter().flatten().min()
    }

    /// Gathers what comes soon after a change, and publishes all of it. Returns whether the stop came.
    fn carry_out(&mut self, first: Pending) -> bool {
        let until = Instant::now() + self.limits.gathering;
        let mut state = self.manager.state().clone();
        let mut gathered = Gathered::default();
        let mut next = first;
        loop {
            if matches!(next.change, Change::Configuration { .. }) {
                self.publish(&state, gathered);
                self.configure(next);
                return false;
            }
            gathered.has_changed |= apply(&mut state, &next.change);
            let sets = matches!(next.change, Change::Backends(_));
            gathered.replies.push((next.reply, next.turn, sets));
            match self.messages.recv_deadline(until) {
                Ok(Message::Change { change, reply, turn }) => {
                    next = Pending { change, reply, turn }
                }
                Ok(Message::Stop) => {
                    self.publish(&state, gathered);
                    return true;
                }
                Err(_) => {
                    self.publish(&state, gathered);
                    return false;
                }
            }
        }
    }

    fn configure(&mut self, Pending { change, reply, turn }: Pending) {
        let Change::Configuration { configuration, text } = change else { return };
        let progress = self.manager.progress();
        let before = self.manager.published.load_full();
        let outcome = self.manager.configure(*configuration, text, progress);
        if outcome.is_ok() {
            turn.replaced(Replaced { before, after: self.manager.published.load_full() });
        }
        drop(turn);
        match outcome {
            Ok(generation) => self.wait_for(generation, Some(Instant::now()), (reply, true)),
            Err(error) => _ = reply.send(Err(error)),
        }
    }

    fn publish(&mut self, state: &State, gathered: Gathered) {
        let generation = match gathered.has_changed {
            true => self.manager.change(state),
            false => self.manager.compiled.tables.generation(),
        };
        let mut published = gathered.has_changed.then(Instant::now);
        for (reply, turn, sets) in gathered.replies {
            drop(turn);
            self.wait_for(generation, published.take(), (reply, sets));
        }
    }

    /// Has somebody wait for a generation, and for the settings if their change is one of those.
    fn wait_for(
        &mut self,
        generation: u64,
        published: Option<Instant>,
        (reply, sets): (Sender<Outcome>, bool),
    ) {
        let until = Instant::now() + self.limits.in_force;
        let version = if sets { self.manager.versions().0 } else { 0 };
        self.waiting.push(Waiting { generation, version, published, until, reply });
    }

    /// Answers those whose generation is in force and whose settings are stored or cannot be, and those who have waited
    /// long enough, or all at the stop.
    fn answer_waiting(&mut self, is_stopped: bool) {
        if self.waiting.is_empty() {
            return;
        }
        let (progress, now) = (self.manager.progress(), Instant::now());
        let (_, settled) = self.manager.versions();
        let limit = self.limits.in_force;
        // A worker that hangs is recorded once, however many generations it misses.
        self.late = self.late.filter(|&late| late > progress.generation);
        let is_over = |waiting: &mut Waiting| {
            let is_in_force = waiting.generation <= progress.generation;
            if (is_in_force || waiting.until <= now)
                && !is_stopped
                && let Some(published) = waiting.published.take()
            {
                self.manager.timings.in_force(now.saturating_duration_since(published));
            }
            let is_done = is_in_force && waiting.version <= settled;
            is_stopped || is_done || waiting.until <= now
        };
        for over in self.waiting.extract_if(.., is_over) {
            let (generation, is_stored) = (over.generation, over.version <= settled);
            if !is_stored {
                // Whoever gets the answer finds the event.
                self.manager.is_storing(limit);
            }
            over.answer(if generation > progress.generation && !is_stopped {
                if self.late.is_none() {
                    self.late = Some(generation);
                    self.manager.events.record(Happening::GenerationLate { generation });
                }
                Err(Error::NotInForce { generation, limit })
            } else if generation > progress.generation || (is_stopped && !is_stored) {
                Err(Error::Abandoned { generation })
            } else {
                Ok(generation)
            });
        }
    }
}

/// Changes that are published together.
#[derive(Default)]
struct Gathered {
    has_changed: bool,
    /// Who waits, and whether for settings.
    replies: Vec<(Sender<Outcome>, Turning, bool)>,
}

/// Carries out a change that is no configuration. Returns whether the state is another one.
fn apply(state: &mut State, change: &Change) -> bool {
    match change {
        Change::Configuration { .. } => false,
        Change::Kernel(batch) => state.observation.routing.apply(batch),
        Change::Link { port, is_up } => state.observation.routing.set_link(*port, *is_up),
        Change::Backends(changes) => {
            changes.iter().fold(false, |has_changed, change| state.intent.set(change) | has_changed)
        }
        Change::Pins(change) => state.pins.set(change),
        #[cfg(test)]
        Change::Panic => panic!("a test asked for it"),
    }
}
