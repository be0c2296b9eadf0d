//! The thread `checks`: begins probes when they are due, and has their results decide.
//!
//! All probes run on this one thread, by tokio. What they find goes to [`States`]; what follows for backends goes to the
//! thread `settings`, and what has happened to the manager.
//!
//! A forwarder that stands still is found after `announce.stall`. Until then it looks as if backends failed: probes leave through
//! it, or by the interfaces of its ports. So a failure without an answer counts only when it is older than that, and the
//! forwarder well all the time.
//!
//! A thread that does not run in time finds that probes have timed out which were answered. So it notices that it slept for
//! longer than it should have: results of probes that were under way then count for nothing, and states are frozen until it
//! has kept up for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_api::{
    CheckCode, CheckRun, CheckState, CheckStep, CheckVia, Error, ErrorKind, SetState,
};
use guideway_chassis::wall::Wall;
use guideway_config::Configuration;
use ipnet::IpNet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep_until;

use super::command::{Command, Question, Report, Which};
use super::happened::Happened;
use super::held::Held;
use super::icmp;
use super::path::strict_filters;
use super::ports::{Ports, Range};
use super::probe::{Outcome, Prepared, Untold, Way, probe};
use super::schedule::Schedule;
use super::settings;
use super::snapshot::{Snapshot, Tally};
use super::state::{Change, FreezeCause, Pace, ProbeResult, States, Wanted};
use super::target::{Member, Path, Plan, TargetKey};

/// The thread wakes at least so often, and so notices when it was kept from running.
const TICK: Duration = Duration::from_millis(100);

/// Who wakes so much later than he should is late.
const LATE: Duration = Duration::from_millis(500);

/// How long the thread has to keep up until states follow results again.
const CALM: Duration = Duration::from_secs(1);

/// `announce.stall` without `[announce]`.
const STALL: Duration = Duration::from_millis(500);

/// How long a failure waits that may be the forwarder's: until a stall is found, and told.
fn doubt(stall: Duration) -> Duration {
    stall + stall / 2
}

/// How often the thread looks whether the node lets answers pass.
const LOOK: Duration = Duration::from_secs(5);

/// Probes that begin in a turn, so that results do not wait for them.
const AT_ONCE: usize = 64;

/// Commands and results that are taken in a turn.
const TAKEN: usize = 1024;

/// A probe that has ended.
struct Ended {
    key: TargetKey,
    began: Instant,
    outcome: Outcome,
}

/// The thread at work.
pub(super) struct Checker<R> {
    report: R,
    settings: settings::Handle,
    /// Sends the thread itself commands.
    commands: UnboundedSender<Command>,
    /// Hears what routers say of packets through tunnels; none without such probes.
    icmp: Option<icmp::Listener>,
    /// The ports' interfaces by which answers to probes of IPv4 come; none without such probes.
    interfaces: Vec<String>,
    /// When the ways of answers were last looked at.
    looked: Option<Instant>,
    states: States,
    schedule: Schedule,
    ports: Ports,
    plan: Arc<Plan>,
    prepared: BTreeMap<Arc<str>, Rc<Prepared>>,
    tally: Tally,
    /// The configuration that waits until it is known what an earlier run has set.
    waiting: Option<Arc<Configuration>>,
    /// Whether addresses were announced when it came.
    is_running: bool,
    earlier: Option<BTreeMap<Member, Wanted>>,
    is_configured: bool,
    /// Failures that may be the forwarder's, and how long they wait.
    held: Held,
    doubt: Duration,
    /// Targets of which no result has decided since they are known. One that says nothing, because the node itself could not send
    /// the probe, does not keep addresses from being announced.
    unprobed: BTreeSet<TargetKey>,
    /// The last wish of the thread `settings`, and what is in force.
    wish: u64,
    in_force: Option<(i32, u64)>,
    /// The forwarder's process.
    process: Option<i32>,
    ready: Option<i32>,
    /// Probes that began before count for nothing: the thread was kept from running, or the forwarder was not well.
    stalled: Instant,
    /// When it was last late.
    late: Option<Instant>,
    ended: UnboundedSender<Ended>,
    happened: Happened,
}

impl<R: Fn(Report)> Checker<R> {
    pub(super) fn new(
        report: R,
        settings: settings::Handle,
        commands: UnboundedSender<Command>,
    ) -> (Checker<R>, Endings) {
        let (ended, endings) = unbounded_channel();
        let checker = Checker {
            report,
            settings,
            commands,
            icmp: None,
            interfaces: Vec::new(),
            looked: None,
            states: States::new(),
            schedule: Schedule::default(),
            ports: Ports::default(),
            plan: Arc::default(),
            prepared: BTreeMap::new(),
            tally: Tally::default(),
            waiting: None,
            is_running: false,
            earlier: None,
            is_configured: false,
            held: Held::default(),
            doubt: doubt(STALL),
            unprobed: BTreeSet::new(),
            wish: 0,
            in_force: None,
            process: None,
            ready: None,
            stalled: Instant::now(),
            late: None,
            ended,
            happened: Happened::default(),
        };
        (checker, Endings(endings))
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self, mut endings: Endings, mut commands: Commands) {
        let (mut told, mut results) = (Vec::new(), Vec::new());
        let mut expected = Instant::now();
        loop {
            let now = Instant::now();
            self.keep_time(now, expected);
            for ended in results.drain(..) {
                self.take(ended, now);
            }
            for command in told.drain(..) {
                if !self.obey(command, now) {
                    return;
                }
            }
            self.release(now);
            self.begin(now);
            self.look(now);
            self.pass_on();
            let next = self.schedule.next().into_iter().chain(self.held.due());
            let next = next.fold(now + TICK, Instant::min);
            tokio::select! {
                biased;
                count = commands.recv_many(&mut told, TAKEN) => {
                    if count == 0 {
                        return;
                    }
                }
                _ = endings.0.recv_many(&mut results, TAKEN) => {}
                () = sleep_until(next.into()) => {}
            }
            // Whatever has woken it, it should have been awake by then.
            expected = now + TICK;
        }
    }

    /// Notes whether the thread was kept from running.
    fn keep_time(&mut self, now: Instant, expected: Instant) {
        let late = now.saturating_duration_since(expected);
        self.tally.late(late);
        if late >= LATE {
            (self.stalled, self.late) = (now, Some(now));
            self.held.clear();
            let frozen = self.states.freeze(FreezeCause::Late);
            self.note(frozen);
        } else if self.late.is_some_and(|last| now.duration_since(last) >= CALM) {
            self.late = None;
            let resumed = self.states.thaw(FreezeCause::Late);
            self.note(resumed);
        }
    }

    /// Looks from time to time whether the node lets answers pass.
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        self.looked = Some(now);
        let warnings = strict_filters(&self.interfaces);
        for (interface, problem) in &warnings {
            if !self.tally.warnings.contains_key(interface) {
                self.happened.path(interface, problem);
            }
        }
        self.tally.warnings = warnings;
    }

    /// Begins the probes that are due.
    fn begin(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            let Some((key, due)) = self.schedule.begin(now) else { return };
            let late = now.saturating_duration_since(due);
            self.tally.late(late);
            if late >= LATE {
                self.late = Some(now);
                let frozen = self.states.freeze(FreezeCause::Late);
                self.note(frozen);
            }
            let Some((prepared, way)) = self.way(&key) else {
                // The check cannot be carried out, as the log says, which must not keep addresses from being announced.
                self.unprobed.remove(&key);
                if let Some(target) = self.plan.targets.get(&key) {
                    self.schedule.ended(&key, &target.check, target.check.interval, now);
                }
                continue;
            };
            let ended = self.ended.clone();
            tokio::task::spawn_local(async move {
                let outcome = probe(&prepared, &way, &mut Untold).await;
                // Nobody listens any more at the end.
                let _ = ended.send(Ended { key, began: now, outcome });
            });
        }
    }

    /// What a target's next probe needs.
    fn way(&mut self, key: &TargetKey) -> Option<(Rc<Prepared>, Way)> {
        let prepared = Rc::clone(self.prepared.get(&key.check)?);
        let source = match key.path {
            Path::Direct => None,
            // Without a pin it would go nowhere.
            Path::Tunnel(_) => Some(self.ports.turn(key)?),
        };
        Some((prepared, Way { to: key.to, source }))
    }

    /// Takes the result of a probe.
    fn take(&mut self, ended: Ended, now: Instant) {
        let Ended { key, began, outcome } = ended;
        let Some(target) = self.plan.targets.get(&key).cloned() else { return };
        let mut waits = false;
        if began > self.stalled {
            self.tally.count(&key, &outcome);
            if target.check.log_failures && !outcome.code.is_success() {
                self.happened.failed(&key, &target, &outcome);
            }
            let result = result_of(outcome);
            match result.code {
                CheckCode::SockErr => self.follow(&key, result, now),
                CheckCode::L4Tout | CheckCode::L4Con | CheckCode::L6Tout | CheckCode::L7Tout => {
                    self.held.push(now + self.doubt, key.clone(), result);
                    waits = true;
                }
                // The backend has answered, so that the forwarder was well.
                _ => self.answered(&key, result, now),
            }
        }
        let check = &target.check;
        let interval = match self.states.pace(&key) {
            Some(Pace::Fast) => check.fast_interval,
            Some(Pace::Down) => check.down_interval,
            // Before a first failure decides, there is time for another probe.
            _ if waits && self.is_unknown(&key) => check.fast_interval.min(self.doubt / 3),
            _ if waits => check.fast_interval,
            Some(Pace::Normal) | None => check.interval,
        };
        self.schedule.ended(&key, check, interval, now);
    }

    /// Takes a result by an answer of the backend. Failures before it may wait.
    fn answered(&mut self, key: &TargetKey, result: ProbeResult, now: Instant) {
        let is_first = self.is_unknown(key);
        for earlier in self.held.of(key) {
            // Packets to a backend whose next hop the forwarder has yet to find are lost, which must not be what decides.
            if !is_first {
                self.follow(key, earlier, now);
            }
        }
        self.follow(key, result, now);
    }

    fn is_unknown(&self, key: &TargetKey) -> bool {
        self.states.state(key) == Some(CheckState::Unknown)
    }

    /// Has a result decide.
    fn follow(&mut self, key: &TargetKey, result: ProbeResult, now: Instant) {
        self.unprobed.remove(key);
        let changes = self.states.result(key, result, now, Wall::now());
        self.note(changes);
    }

    /// Has the failures decide that are old enough.
    fn release(&mut self, now: Instant) {
        while let Some((key, result)) = self.held.next(now) {
            self.follow(&key, result, now);
        }
    }

    fn note(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.tally.note(&change);
            let down = match &change {
                Change::Calm { pool } => self.down(pool),
                _ => 0,
            };
            self.happened.note(change, self.plan.targets.len(), down);
        }
    }

    /// Backends of a pool that are down.
    fn down(&self, pool: &str) -> usize {
        let of_pool = self.states.wanted().iter().filter(|(member, _)| &*member.pool == pool);
        of_pool.filter(|(_, wanted)| wanted.state == SetState::Down).count()
    }

    /// Carries out a command. False at the end.
    fn obey(&mut self, command: Command, now: Instant) -> bool {
        match command {
            Command::Configure { configuration, is_running } => {
                self.waiting = Some(configuration);
                self.is_running = is_running;
                self.configure(now);
            }
            Command::Forwarder { process, is_well } => {
                self.process = process;
                // What began while it was not well says nothing, even if it ends later.
                self.held.clear();
                self.stalled = now;
                let change = match is_well {
                    true => self.states.thaw(FreezeCause::Forwarder),
                    false => self.states.freeze(FreezeCause::Forwarder),
                };
                self.note(change);
            }
            Command::Settings(settings::Report::Found(found)) => {
                self.earlier = Some(found);
                self.configure(now);
            }
            Command::Settings(settings::Report::InForce { process, wish }) => {
                self.in_force = Some((process, wish));
            }
            Command::Probes { is_ready } => {
                let change = match is_ready {
                    true => self.states.thaw(FreezeCause::Interface),
                    false => self.states.freeze(FreezeCause::Interface),
                };
                self.note(change);
            }
            Command::Icmp { about, words } => self.tally.icmp(about, words),
            Command::Ask(question) => self.answer(question),
            Command::Stop => return false,
        }
        true
    }

    /// Follows a configuration, once it is known what an earlier run has set.
    fn configure(&mut self, now: Instant) {
        if !self.is_configured && self.earlier.is_none() {
            return;
        }
        let Some(configuration) = self.waiting.take() else { return };
        let plan = Arc::new(Plan::of(&configuration));
        let stall = configuration.announce.as_ref().map_or(STALL, |announce| announce.stall);
        self.doubt = doubt(stall);
        self.prepare(&configuration);
        // Backends that an earlier run has checked begin as they are, and not by `initial_state`.
        let earlier = self.earlier.take().filter(|found| self.is_running || !found.is_empty());
        let changes = self.states.configure(&plan, earlier.as_ref(), now, Wall::now());
        self.schedule.configure(&plan, now);
        self.unprobed.retain(|key| plan.targets.contains_key(key));
        let is_new = |key: &&TargetKey| !self.plan.targets.contains_key(*key);
        self.unprobed.extend(plan.targets.keys().filter(is_new).cloned());
        let range = Range::of(&configuration);
        let (pins, short) = self.ports.assign(&plan, &range);
        if short > 0 {
            tracing::error!(
                "probe.source_ports has too few ports: {short} targets of checks have fewer than \
                 probe.ports_each; widen it, or add an address to node.check_source"
            );
        }
        self.watch(&configuration, &plan);
        self.plan = plan;
        self.is_configured = true;
        self.tally.configure(&self.plan);
        self.note(changes);
        self.wish = self.settings.want(pins, self.states.differences());
    }

    /// Has the ways of probes through tunnels watched.
    fn watch(&mut self, configuration: &Configuration, plan: &Plan) {
        let through_tunnels = || plan.targets.keys().filter(|key| key.path != Path::Direct);
        let has_ipv4 = through_tunnels().any(|key| key.to.ip().is_ipv4());
        let ports = configuration.ports.iter().filter(|_| has_ipv4);
        self.interfaces = ports.filter_map(|port| port.interface.clone()).collect();
        self.looked = None;
        let is_used = through_tunnels().next().is_some();
        if !is_used {
            self.icmp = None;
            return;
        }
        if self.icmp.is_none() {
            let commands = self.commands.clone();
            let listener = icmp::listen(move |error| {
                let (about, words) = (error.destination, error.to_string());
                // A thread that has ended wants to know nothing.
                let _ = commands.send(Command::Icmp { about, words });
            });
            match listener {
                Ok(listener) => self.icmp = Some(listener),
                Err(error) => tracing::warn!("cannot hear what routers say of tunnels: {error}"),
            }
        }
        let node = &configuration.node;
        let v4 = node.tunnel_source_v4.map(IpNet::from);
        let v6 = node.tunnel_source_v6.map(|ip| IpNet::from(IpAddr::V6(ip)));
        if let Some(icmp) = &self.icmp {
            icmp.set_sources(&v4.into_iter().chain(v6).collect::<Vec<_>>());
        }
    }

    /// Reads what checks need. What cannot be read is said, and that check has no probes.
    fn prepare(&mut self, configuration: &Configuration) {
        let mut before = std::mem::take(&mut self.prepared);
        for check in &configuration.checks {
            let name: Arc<str> = check.name.as_str().into();
            let known = before.remove(&name).filter(|known| **known.check() == *check);
            let prepared = match known {
                Some(prepared) => Ok(prepared),
                None => Prepared::new(Arc::new(check.clone())).map(Rc::new),
            };
            match prepared {
                Ok(prepared) => _ = self.prepared.insert(name, prepared),
                Err(error) => {
                    tracing::error!("check {name}: {error}; its backends stay as they are");
                }
            }
        }
    }

    /// Tells others what follows.
    fn pass_on(&mut self) {
        let differences = self.states.differences();
        if !differences.is_empty() {
            self.wish = self.settings.want_states(differences);
        }
        let happened = self.happened.take();
        if !happened.is_empty() {
            (self.report)(Report::Happened(happened));
        }
        let Some(process) = self.process.filter(|_| self.is_configured) else { return };
        let is_set = self.in_force == Some((process, self.wish));
        if self.ready != Some(process) && is_set && self.unprobed.is_empty() {
            self.ready = Some(process);
            (self.report)(Report::Ready { process });
        }
    }

    /// Answers a question.
    fn answer(&mut self, question: Question) {
        // Whoever asked may have gone.
        match question {
            Question::List(answer) => {
                let snapshot = Snapshot::of(&self.states, &self.tally, &self.plan);
                let _ = answer.send(snapshot);
            }
            Question::Show { which, answer } => {
                let _ = answer.send(self.find(&which).and_then(|(key, member)| {
                    let details = self.states.details(&key, &member);
                    let mut details = details.ok_or_else(gone)?;
                    details.sources = self.ports.of(&key).to_vec();
                    let next = self.schedule.due(&key);
                    let left = next.map(|next| next.saturating_duration_since(Instant::now()));
                    details.next_ms =
                        left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                    if details.row.via == CheckVia::Tunnel {
                        details.row.icmp = self.tally.icmp_of(key.address);
                    }
                    details.certificate_ends = self.tally.certificate_end_of(&key);
                    Ok(details)
                }));
            }
            Question::Run { which, answer } => match self.find(&which) {
                Ok((key, member)) => self.run_once(key, member, answer),
                Err(error) => _ = answer.send(Err(error)),
            },
        }
    }

    /// Probes once, for somebody who wants to see each step.
    fn run_once(
        &mut self,
        key: TargetKey,
        member: Member,
        answer: crossbeam_channel::Sender<Result<CheckRun, Error>>,
    ) {
        let Some((prepared, way)) = self.way(&key) else {
            let message = format!(
                "check {} has no probes: a file that it names cannot be read, or there is no source port; \
                 the controller's log says which",
                key.check
            );
            let _ = answer.send(Err(Error::new(ErrorKind::Failed, message)));
            return;
        };
        tokio::task::spawn_local(async move {
            let mut steps: Vec<CheckStep> = Vec::new();
            let outcome = probe(&prepared, &way, &mut steps).await;
            let via = match key.path {
                Path::Direct => CheckVia::Direct,
                Path::Tunnel(_) => CheckVia::Tunnel,
            };
            let run = CheckRun {
                check: key.check.to_string(),
                pool: member.pool.to_string(),
                backend: member.backend.to_string(),
                target: key.to.to_string(),
                via,
                steps,
                result: result_of(outcome).listed(Wall::now()),
            };
            let _ = answer.send(Ok(run));
        });
    }

    /// The one target that is meant.
    fn find(&self, which: &Which) -> Result<(TargetKey, Member), Error> {
        let Which { check, backend, pool } = which;
        let not_found = |message| Err(Error::new(ErrorKind::NotFound, message));
        if !self.plan.targets.keys().any(|key| *key.check == **check) {
            let names: BTreeSet<&str> = self.plan.targets.keys().map(|key| &*key.check).collect();
            let names: Vec<_> = names.into_iter().take(20).collect();
            let known = match names.is_empty() {
                true => "no backend is checked".to_owned(),
                false => format!("the checks are {}", names.join(", ")),
            };
            return not_found(format!("there is no check {check:?}; {known}"));
        }
        let found: Vec<_> = self.states.find(check, backend, pool.as_deref()).collect();
        let keys: BTreeSet<&TargetKey> = found.iter().map(|(key, _)| *key).collect();
        match (&found[..], keys.len()) {
            ([], _) => not_found(format!("check {check} has no backend {backend:?}")),
            ([(key, member), ..], 1) => Ok(((*key).clone(), (*member).clone())),
            _ => {
                let pools: BTreeSet<&str> = found.iter().map(|(_, member)| &*member.pool).collect();
                match pools.len() {
                    // Several services have it probed: the first will do.
                    1 => Ok((found[0].0.clone(), found[0].1.clone())),
                    _ => {
                        let pools: Vec<_> = pools.into_iter().collect();
                        let message = format!(
                            "backend {backend:?} is in several pools; name one of {}",
                            pools.join(", ")
                        );
                        Err(Error::new(ErrorKind::BadRequest, message))
                    }
                }
            }
        }
    }
}

fn result_of(outcome: Outcome) -> ProbeResult {
    let Outcome { code, status, detail, latency, .. } = outcome;
    ProbeResult { code, status, detail: detail.into(), latency }
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "the backend has just gone")
}

/// Where probes say that they have ended.
pub(super) struct Endings(UnboundedReceiver<Ended>);

/// What the thread is told.
pub(super) type Commands = UnboundedReceiver<Command>;
