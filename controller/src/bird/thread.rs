//! The thread `bird`: what is wanted becomes BIRD's configuration, and BIRD's sessions become reports.
//!
//! Each second it asks BIRD about its sessions and looks at the files of passwords. An order is done at once; of
//! several that wait, the last counts. BIRD itself is started and ended by systemd: one that does not run gets the
//! file, and is told to read it as soon as it answers, since it may have read an older one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use guideway_api::BgpPeer;
use parking_lot::Mutex;

use super::apply::{How, Place, Progress, configure, is_ready};
use super::configuration::{changes_routes, session, text};
use super::control::{Control, Error};
use super::counters::Counters;
use super::passwords::{self, Marks};
use super::sessions::{Seen, Sessions};
use super::{Plan, Report, status};

/// The time from one look at the sessions to the next.
const LOOK: Duration = Duration::from_secs(1);

/// The same while sessions change, so that what has become of an order is seen soon.
const SOON: Duration = Duration::from_millis(200);

/// How long after an order the sessions are looked at that often.
const CHANGING: Duration = Duration::from_secs(3);

/// The time from one try to the next with what was refused.
const AGAIN: Duration = Duration::from_secs(5);

/// What [`Handle::show`](super::Handle::show) needs to know, so that it can ask BIRD itself.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) plan: Arc<Plan>,
    pub(super) peers: Arc<Vec<BgpPeer>>,
}

/// When the plan is to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Never,
    At(Instant),
}

/// What BIRD is known to run by.
#[derive(Clone, Debug, Default)]
struct Runs {
    /// The plan that it was told to read; none if it has not been told since it was found.
    plan: Option<Arc<Plan>>,
    /// The text of that plan.
    text: Option<String>,
    /// It is not ready with the plan before.
    is_queued: bool,
}

/// What the thread has.
pub(super) struct Work<F> {
    report: F,
    known: Arc<Mutex<Option<Known>>>,
    plan: Option<Arc<Plan>>,
    place: Place,
    bird: Option<Control>,
    /// Whether BIRD was last reported as found; none if neither was.
    is_found: Option<bool>,
    /// Whether somebody listens at the socket, and does not answer.
    is_silent: bool,
    runs: Runs,
    /// Peers whose routes BIRD has to send again.
    again: BTreeSet<String>,
    marks: Marks,
    due: Due,
    /// What was reported as refused.
    refused: Option<String>,
    sessions: Sessions,
    told: Option<Arc<Vec<BgpPeer>>>,
    /// Until when the sessions are looked at often.
    calm: Instant,
}

impl<F: Fn(Report)> Work<F> {
    pub(super) fn new(report: F, known: Arc<Mutex<Option<Known>>>) -> Work<F> {
        Work {
            report,
            known,
            plan: None,
            place: Place::new("".as_ref(), "".as_ref()),
            bird: None,
            is_found: None,
            is_silent: false,
            runs: Runs::default(),
            again: BTreeSet::new(),
            marks: Marks::default(),
            due: Due::Never,
            refused: None,
            sessions: Sessions::default(),
            told: None,
            calm: Instant::now(),
        }
    }

    /// Works until the handle is dropped.
    pub(super) fn run(&mut self, orders: &Receiver<Option<Box<Plan>>>) {
        let mut look = Instant::now();
        loop {
            let order = match self.plan {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => orders.recv_deadline(look),
            };
            match order {
                Ok(plan) => {
                    // Of orders that wait, the last counts.
                    let plan = orders.try_iter().last().unwrap_or(plan);
                    self.take(plan.map(|plan| Arc::new(*plan)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let Some(plan) = self.plan.clone() else { continue };
            self.connect();
            let marks = passwords::marks(&plan.bgp);
            if marks != self.marks {
                self.due = Due::At(Instant::now());
                self.marks = marks;
            }
            if matches!(self.due, Due::At(time) if time <= Instant::now()) {
                self.apply(&plan);
            }
            self.finish(&plan);
            self.look(&plan);
            let now = Instant::now();
            look = now + if now < self.calm { SOON } else { LOOK };
        }
    }

    /// Takes an order.
    fn take(&mut self, plan: Option<Arc<Plan>>) {
        let place = plan.as_ref().map(|plan| Place::new(&plan.bgp.directory, &plan.bgp.program));
        if place.as_ref() != Some(&self.place) {
            // It is another BIRD, or none.
            self.bird = None;
            self.is_found = None;
            self.runs = Runs::default();
            self.again.clear();
        }
        match (&plan, place) {
            (Some(plan), Some(place)) => {
                self.place = place;
                self.marks = passwords::marks(&plan.bgp);
                self.due = Due::At(Instant::now());
                self.calm = Instant::now() + CHANGING;
            }
            _ => {
                self.sessions = Sessions::default();
                self.told = None;
                self.due = Due::Never;
                *self.known.lock() = None;
            }
        }
        self.refused = None;
        self.plan = plan;
    }

    /// Connects to BIRD if there is no connection.
    fn connect(&mut self) {
        if self.bird.is_some() {
            return;
        }
        match Control::open(&self.place.socket()) {
            Ok(bird) => {
                if self.is_found != Some(true) {
                    (self.report)(Report::Found { version: bird.version.clone() });
                }
                self.is_found = Some(true);
                self.is_silent = false;
                self.bird = Some(bird);
                // It may have read an older file.
                self.runs = Runs::default();
                self.due = Due::At(Instant::now());
                self.calm = Instant::now() + CHANGING;
            }
            Err(error) => {
                self.is_silent = !matches!(error, Error::Io(_));
                self.lose(&error);
            }
        }
    }

    /// Takes note that BIRD does not answer.
    fn lose(&mut self, error: &Error) {
        self.bird = None;
        if self.is_found != Some(false) {
            let socket = self.place.socket();
            let error = format!("{}: {error}", socket.display());
            (self.report)(Report::Lost { error });
        }
        self.is_found = Some(false);
    }

    /// Has BIRD run by the plan.
    fn apply(&mut self, plan: &Arc<Plan>) {
        self.due = Due::Never;
        match self.try_apply(plan) {
            Ok(()) => self.refused = None,
            Err(error) => {
                // A file of a password may be there later, or BIRD's directory.
                self.due = Due::At(Instant::now() + AGAIN);
                if self.refused.as_ref() != Some(&error) {
                    (self.report)(Report::Refused { error: error.clone() });
                    self.refused = Some(error);
                }
            }
        }
    }

    fn try_apply(&mut self, plan: &Arc<Plan>) -> Result<(), String> {
        let text = text(plan, &passwords::read(&plan.bgp)?)?;
        let before = self.place.text();
        if before.as_ref() != Some(&text) {
            self.place.put(&text)?;
        }
        if self.runs.text.as_ref() == Some(&text) && before.as_ref() == Some(&text) {
            self.runs.plan = Some(Arc::clone(plan));
        } else if let Some(bird) = &mut self.bird {
            let old = self.runs.plan.clone().filter(|_| self.runs.text == before);
            match configure(bird, if old.is_some() { How::Soft } else { How::Whole }) {
                Ok(progress) => {
                    let new = Some(Arc::clone(plan));
                    let is_queued = progress == Progress::Queued;
                    self.runs = Runs { plan: new, text: Some(text), is_queued };
                    if let Some(old) = old {
                        let names = plan.bgp.peers.iter().map(|peer| &peer.name);
                        let changed = names.filter(|name| changes_routes(&old, plan, name));
                        self.again.extend(changed.cloned());
                    }
                }
                Err(Error::Refused { text: why, .. }) => {
                    if let Err(error) = self.place.restore(before.as_deref()) {
                        tracing::error!(%error, "cannot restore BIRD's configuration");
                    }
                    return Err(format!("BIRD refuses the configuration: {why}"));
                }
                Err(error) => {
                    self.lose(&error);
                    self.is_silent = true;
                }
            }
        }
        // A BIRD that is silent goes on by what it knows. One that does not run reads the file when it starts.
        if !self.runs.is_queued && !self.is_silent {
            self.configured(plan);
        }
        Ok(())
    }

    /// Has BIRD send the routes of sessions again whose filters have changed.
    fn send_again(&mut self) {
        for peer in std::mem::take(&mut self.again) {
            let Some(bird) = &mut self.bird else { return };
            match bird.ask(&format!("reload out '{}'", session(&peer))) {
                Ok(_) => {}
                // A session that is not established gets the routes by the new filter anyway.
                Err(Error::Refused { text, .. }) => {
                    tracing::debug!(peer, text, "BIRD does not send routes again");
                }
                Err(error) => self.lose(&error),
            }
        }
    }

    /// Reports a configuration that was queued, once BIRD runs by it.
    fn finish(&mut self, plan: &Plan) {
        if !self.runs.is_queued {
            self.send_again();
            return;
        }
        let Some(bird) = &mut self.bird else { return };
        match is_ready(bird) {
            Ok(true) => {
                self.runs.is_queued = false;
                self.send_again();
                self.configured(plan);
            }
            Ok(false) => {}
            Err(error) => self.lose(&error),
        }
    }

    fn configured(&self, plan: &Plan) {
        let classes: BTreeSet<_> = plan.classes.keys().copied().collect();
        (self.report)(Report::Configured { classes });
    }

    /// Asks BIRD about its sessions, and reports them if they have changed.
    fn look(&mut self, plan: &Arc<Plan>) {
        let counters = Counters::read();
        let shown = self.ask_sessions();
        let error;
        let seen = match &shown {
            Some((sessions, bfd)) => Seen::Shown { sessions, bfd },
            None => {
                error = format!("BIRD does not answer at {}", self.place.socket().display());
                Seen::Nothing { error: &error }
            }
        };
        let peers = Arc::new(self.sessions.peers(plan, seen, counters, Instant::now()));
        *self.known.lock() = Some(Known { plan: Arc::clone(plan), peers: Arc::clone(&peers) });
        if self.told.as_ref() != Some(&peers) {
            (self.report)(Report::Sessions(Arc::clone(&peers)));
            self.told = Some(peers);
        }
    }

    /// The sessions, and what BFD says of them; none if BIRD does not answer.
    fn ask_sessions(&mut self) -> Option<(status::Sessions, status::Alive)> {
        let bird = self.bird.as_mut()?;
        let sessions = bird.ask("show protocols all");
        let alive = sessions.is_ok().then(|| bird.ask("show bfd sessions"));
        match (sessions, alive) {
            (Ok(sessions), Some(Ok(alive))) => {
                Some((status::sessions(&sessions), status::bfd(&alive)))
            }
            // The configuration has no BFD.
            (Ok(sessions), Some(Err(Error::Refused { .. }))) => {
                Some((status::sessions(&sessions), status::Alive::new()))
            }
            (Err(error), _) | (_, Some(Err(error))) => {
                self.lose(&error);
                None
            }
            (Ok(_), None) => None,
        }
    }
}
