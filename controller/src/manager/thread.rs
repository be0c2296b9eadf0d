//! The manager's thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use guideway_api::Error;
use guideway_chassis::event::Recorder;
use guideway_chassis::store::Store;
use guideway_chassis::wall::Wall;
use guideway_config::Configuration;

use super::event::{Event, Ordered, Settings, ask};
use super::order::Order;
use super::state::State;
use super::view::View;
use crate::announce::{Now, Orders};
use crate::{bird, check, forwarder, routes};

/// How long the thread waits for more events after the first.
const GATHERING: Duration = Duration::from_millis(3);

/// `announce.stall` before a configuration is known.
const STALL: Duration = Duration::from_millis(500);

/// How long an order may take to reach the disk.
const STORE_TIME: Duration = Duration::from_secs(2);

/// The running manager. Dropping the handle ends it, and leaves routes and BIRD as they are.
#[derive(Debug)]
pub struct Handle {
    events: Sender<Event>,
    view: Arc<ArcSwap<View>>,
    /// The version of the orders that are on the disk, or could not be brought there.
    settled: Arc<AtomicU64>,
    is_stored: Arc<AtomicBool>,
    bird: Arc<bird::Handle>,
    checks: check::Asker,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the manager, and the threads that tell it things. Its thread calls `alive` after each event and
/// at least once a round, for the watchdog: a thread that hangs is silent.
///
/// # Errors
/// If the operating system refuses a thread or a descriptor.
pub fn start(
    settings: &Settings,
    recorder: &Recorder,
    alive: impl FnMut() + Send + 'static,
) -> io::Result<Handle> {
    let store = Store::<Orders>::open(&settings.state_directory, recorder.clone());
    let (events, received) = unbounded();
    let tell = |event: fn(_) -> Event| {
        let events = events.clone();
        // The manager ends last but for those that tell it things.
        move |report| _ = events.send(event(report))
    };
    let routes = routes::start(tell(Event::Routes))?;
    let to_bird = events.clone();
    let bird = Arc::new(bird::start(move |report| _ = to_bird.send(Event::Bird(report)))?);
    let to_checks = events.clone();
    let report = move |report| _ = to_checks.send(Event::Checks(report));
    let checks = check::start(settings.forwarder.clone(), report)?;
    let asker = checks.asker().clone();
    let to_forwarder = events.clone();
    let report = move |report| _ = to_forwarder.send(Event::Forwarder(report));
    let forwarder = forwarder::start(&settings.forwarder, STALL, report)?;
    let state = State::new(store.restored().clone(), Instant::now(), Wall::now());
    let view = Arc::new(ArcSwap::from_pointee(View::of(&state)));
    let settled = Arc::clone(store.progress());
    let is_stored = Arc::clone(store.is_stored());
    let mut manager = Manager {
        state,
        store,
        recorder: recorder.clone(),
        routes,
        bird: Arc::clone(&bird),
        checks,
        forwarder,
        view: Arc::clone(&view),
        alive: Box::new(alive),
        round: settings.round,
        wanted: None,
        plan: None,
        table: None,
        checked: None,
        well: None,
    };
    let (ends, ended) = bounded::<()>(0);
    let run = move || {
        // Dropped when the thread ends, however it does.
        let _ends = ends;
        manager.run(&received);
    };
    let thread = thread::Builder::new().name("manager".into()).spawn(run)?;
    let checks = asker;
    Ok(Handle { events, view, settled, is_stored, bird, checks, ended, thread: Some(thread) })
}

impl Handle {
    /// What was decided last.
    pub fn view(&self) -> &Arc<ArcSwap<View>> {
        &self.view
    }

    /// Has an order carried out. It is decided when this returns, and on its way to the disk and to the kernel.
    ///
    /// # Errors
    /// If it is refused.
    pub fn order(&self, order: Order) -> Result<Ordered, Error> {
        ask(&self.events, order)
    }

    /// Waits until the orders of this version are on the disk, but not for long. False if they are not.
    pub fn wait_until_stored(&self, version: u64) -> bool {
        let end = Instant::now() + STORE_TIME;
        while self.settled.load(Ordering::Acquire) < version && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        let is_settled = self.settled.load(Ordering::Acquire) >= version;
        is_settled && self.is_stored()
    }

    /// Has files with passwords read again.
    pub fn reload(&self) {
        _ = self.events.send(Event::Reload);
    }

    /// Whether the orders are stored, for threads that do not have the handle.
    pub fn stored_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_stored)
    }

    /// Whether the orders are stored: if not, a restart would lose some.
    pub fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Acquire)
    }

    /// Disconnected when the thread has ended: by a panic, if nobody has dropped the handle.
    pub fn ended(&self) -> &Receiver<()> {
        &self.ended
    }

    /// The checks, for questions about them.
    pub fn checks(&self) -> &check::Asker {
        &self.checks
    }

    /// BIRD, for questions about a session.
    pub fn bird(&self) -> &bird::Handle {
        &self.bird
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        _ = self.events.send(Event::Stop);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the manager panicked");
        }
    }
}

struct Manager {
    state: State,
    store: Store<Orders>,
    recorder: Recorder,
    routes: routes::Handle,
    bird: Arc<bird::Handle>,
    checks: check::Handle,
    forwarder: forwarder::Handle,
    view: Arc<ArcSwap<View>>,
    alive: Box<dyn FnMut() + Send>,
    round: Duration,
    /// What the others were told last.
    wanted: Option<routes::Wanted>,
    plan: Option<Option<bird::Plan>>,
    /// The table of which the routes were read at its first mention.
    table: Option<u32>,
    /// The configuration that checks follow.
    checked: Option<Arc<Configuration>>,
    /// The forwarder's process, and whether it is well enough for checks.
    well: Option<(Option<i32>, bool)>,
}

impl Manager {
    fn run(&mut self, events: &Receiver<Event>) {
        let mut next = None;
        loop {
            (self.alive)();
            let round = Instant::now() + self.round;
            let mut answers = Vec::new();
            match events.recv_deadline(next.map_or(round, |next: Instant| next.min(round))) {
                Ok(event) => {
                    let until = Instant::now() + GATHERING;
                    let mut event = Some(event);
                    while let Some(one) = event {
                        if !self.note(one, &mut answers) {
                            return;
                        }
                        event = events.recv_deadline(until).ok();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            next = self.settle();
            for (answer, changed) in answers {
                let view = self.view.load_full();
                let version = self.store.version();
                _ = answer.send(Ok(Ordered { changed, version, view }));
            }
        }
    }

    /// Takes note of an event. False at the end.
    fn note(
        &mut self,
        event: Event,
        answers: &mut Vec<(Sender<Result<Ordered, Error>>, usize)>,
    ) -> bool {
        let happened = match event {
            Event::Forwarder(report) => {
                let happened = self.state.note_forwarder(report);
                self.adopt();
                self.check();
                happened
            }
            Event::Routes(report) => {
                if let routes::Report::ProbesReady { is_ready } = report {
                    self.checks.probes_ready(is_ready);
                }
                self.state.note_routes(report)
            }
            Event::Checks(report) => self.state.note_checks(report),
            Event::Bird(report) => self.state.note_bird(report),
            Event::Order(order, answer) => {
                match self.state.order(&order, Wall::now()) {
                    Ok(changed) => {
                        self.store.put(&self.state.orders);
                        answers.push((answer, changed));
                    }
                    Err(error) => _ = answer.send(Err(error)),
                }
                Vec::new()
            }
            Event::Reload => {
                self.plan = None;
                Vec::new()
            }
            Event::Stop => return false,
        };
        happened.into_iter().for_each(|happening| self.recorder.record(happening));
        true
    }

    /// Takes over what a configuration says of the controller's threads. What the kernel has of an earlier run is read
    /// before anything is decided.
    fn adopt(&mut self) {
        let configuration = self.state.adopted.as_ref().map(|adopted| &adopted.configuration);
        let Some(announce) = configuration.and_then(|it| it.announce.as_ref()) else { return };
        self.forwarder.set_stall(announce.stall);
        if self.table.replace(announce.table) == Some(announce.table) {
            return;
        }
        match routes::installed(announce.table) {
            Ok(installed) => self.state.installed = Arc::new(installed),
            Err(error) => tracing::warn!("cannot read the routes of an earlier run: {error}"),
        }
    }

    /// Has checks follow the forwarder and its configuration.
    fn check(&mut self) {
        let well = (self.state.process, self.state.is_forwarding());
        // A forwarder that has yet to be found is not lost.
        if self.well != Some(well) && (well.1 || self.well.is_some()) {
            self.well = Some(well);
            self.checks.forwarder(well.0, well.1);
        }
        let Some(adopted) = &self.state.adopted else { return };
        let configuration = &adopted.configuration;
        if self.checked.as_ref().is_some_and(|known| Arc::ptr_eq(known, configuration)) {
            return;
        }
        self.checked = Some(Arc::clone(configuration));
        let probes = probes(configuration);
        if probes.is_none() {
            // Nobody says more about an interface that nothing needs.
            self.checks.probes_ready(true);
        }
        self.routes.want_probes(probes);
        self.checks.configure(Arc::clone(configuration), !self.state.installed.is_empty());
    }

    /// Decides, and tells everybody what is wanted now. Returns when to do so again.
    fn settle(&mut self) -> Option<Instant> {
        let now = Now { steady: Instant::now(), wall: Wall::now() };
        let settled = self.state.settle(now);
        if let Some(wanted) = settled.routes {
            // BIRD first: its filters have to know a class before a route has it. Otherwise a plan would do no harm.
            if self.plan.as_ref() != Some(&settled.bird) && self.state.adopted.is_some() {
                self.bird.want(settled.bird.clone());
                self.plan = Some(settled.bird);
            }
            if self.wanted.as_ref() != Some(&wanted) {
                self.routes.want(wanted.clone());
                self.wanted = Some(wanted);
            }
        }
        settled.happened.into_iter().for_each(|happening| self.recorder.record(happening));
        self.view.store(Arc::new(View::of(&self.state)));
        settled.next
    }
}

/// By what way probes through tunnels leave the node, if there are any.
fn probes(configuration: &Configuration) -> Option<routes::Probes> {
    let sources = configuration.node.check_sources.clone();
    (!sources.is_empty()).then(|| routes::Probes {
        interface: configuration.probe.interface.clone(),
        table: configuration.probe.table,
        sources,
    })
}
