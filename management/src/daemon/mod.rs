//! The daemon's side of the control protocol: it carries out requests and applies configurations.
//!
//! The daemon reaches workers and ports only through [`Worker`] and [`Port`], so that it needs no DPDK
//! and tests need no device.

mod announcing;
mod applies;
mod audit;
mod backends;
mod convert;
mod differences;
mod flows;
mod listing;
mod network;
mod overview;
mod parser;
mod pins;
mod probing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use guideway_api as api;
use guideway_api::{ChangeOutcome, ErrorKind, Happening, Request, Response};
use parking_lot::Mutex;

pub use announcing::Announcing;
pub(crate) use applies::{Applies, ApplyResult};
pub(crate) use network::NeighborKey;
pub(crate) use overview::Overview;
pub use overview::{
    Buffers, Interface, InterfaceCounters, InterfaceState, Port, PortState, Worker,
};
use parser::{Done, Parser, Purpose, Refusal, Ticket};
pub use probing::Probing;

use super::kernel::{self, View};
use super::manager::{self, Changes, Handle, Limits, Manager, Published, Replaced};
use guideway_chassis::event::{Level, Recorder};
use guideway_config as config;
use guideway_config::Source;
use guideway_core::balancer::Verdict;
use guideway_core::stats::{Counter, Event, Reader};

/// Carries out requests.
pub struct Daemon {
    overview: Overview,
    /// Counters of other threads than the workers.
    others: Vec<Reader>,
    /// The configuration file. Locked while it is read and until its text has its place in the parser's order, so
    /// that a reload never replaces a newer text with an older one.
    source: Mutex<Source>,
    is_stopping: Arc<AtomicBool>,
    applies: Applies,
    events: Recorder,
    level: Level,
    /// `log.level` of the configuration that was looked at last.
    configured_level: Mutex<config::LogLevel>,
    /// Before the manager: its thread sends changes until it ends.
    kernel: Mutex<Option<kernel::Handle>>,
    /// Before the manager, for the same reason.
    parser: Parser,
    manager: Handle,
}

impl Daemon {
    /// A daemon for what `manager` has published, read from the file at `path`. It records by `events`, and sets the
    /// `level` of the log.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn new(
        path: PathBuf,
        manager: Manager,
        workers: Vec<Worker>,
        ports: Vec<Port>,
        (events, level): (Recorder, Level),
    ) -> Daemon {
        Daemon::with_limits(path, manager, (workers, ports), (events, level), Limits::default())
    }

    fn with_limits(
        path: PathBuf,
        manager: Manager,
        (workers, ports): (Vec<Worker>, Vec<Port>),
        (events, level): (Recorder, Level),
        limits: Limits,
    ) -> Daemon {
        let published = Arc::clone(manager.published());
        let configured_level = Mutex::new(published.load().configuration.log.level);
        let manager = manager.with_events(events.clone());
        let (timings, is_stored) = (manager.timings().clone(), manager.is_stored());
        let manager =
            manager.start(workers.iter().map(|worker| worker.stats.clone()).collect(), limits);
        let is_stopping = Arc::new(AtomicBool::new(false));
        Daemon {
            source: Mutex::new(Source::new(path.clone())),
            overview: Overview {
                started: Instant::now(),
                path,
                workers,
                ports,
                buffers: Vec::new(),
                published,
                restarts: Arc::clone(manager.restarts()),
                is_stored,
                timings,
                view: Arc::default(),
                announcing: None,
                probing: Arc::default(),
            },
            kernel: Mutex::default(),
            applies: Applies::default(),
            events,
            level,
            configured_level,
            others: Vec::new(),
            parser: Parser::start(manager.changes().clone(), Arc::clone(&is_stopping)),
            is_stopping,
            manager,
        }
    }

    /// Abandons every waiting check, apply and reload, refuses later ones, and follows the kernel no longer.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let kernel = self.kernel.lock().take();
        drop(kernel);
        self.manager.stop();
    }

    /// Whether the daemon stops.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// The oldest generation that a worker runs, once every worker runs one.
    pub fn in_force(&self) -> Option<u64> {
        Some(self.overview.progress().generation).filter(|&generation| generation > 0)
    }

    /// Whether the manager can carry out changes.
    pub fn is_managed(&self) -> bool {
        self.manager.is_running()
    }

    /// Adds the counters of another thread than a worker to the sums of [`Daemon::stats`].
    #[must_use]
    pub fn with_counters(mut self, counters: Reader) -> Daemon {
        self.others.push(counters);
        self
    }

    /// Adds the pools of packet buffers.
    #[must_use]
    pub fn with_buffers(mut self, buffers: Vec<Buffers>) -> Daemon {
        self.overview.buffers = buffers;
        self
    }

    /// Shows what becomes of the packets of the node's probes.
    #[must_use]
    pub fn with_probing(mut self, probing: Arc<Probing>) -> Daemon {
        self.overview.probing = probing;
        self
    }

    /// Adds the interface of the virtual addresses, which its keeper tells about.
    #[must_use]
    pub fn with_announcing(mut self, announcing: Arc<Announcing>) -> Daemon {
        self.overview.announcing = Some(announcing);
        self
    }

    /// Follows the kernel's routes, neighbours and addresses from now on, for these interfaces. Listings show them.
    ///
    /// # Errors
    /// If the operating system refuses a thread or an eventfd.
    pub fn follow_kernel(&mut self, interfaces: Vec<kernel::PortInterface>) -> io::Result<()> {
        let changes = self.manager.changes().clone();
        let (published, options) = (self.published(), kernel::Options::default());
        let handle = kernel::start(interfaces, changes, published, options, self.events.clone())?;
        self.overview.view = Arc::clone(handle.view());
        *self.kernel.lock() = Some(handle);
        Ok(())
    }

    /// The way for changes to the manager.
    pub fn changes(&self) -> &Changes {
        self.manager.changes()
    }

    /// What was published last.
    pub fn published(&self) -> Arc<ArcSwap<Published>> {
        Arc::clone(&self.overview.published)
    }

    /// The pools of packet buffers.
    pub fn buffers(&self) -> &[Buffers] {
        &self.overview.buffers
    }

    /// The interface of the virtual addresses; none without `[announce]`.
    pub fn announcing(&self) -> Option<&Arc<Announcing>> {
        self.overview.announcing.as_ref()
    }

    /// What becomes of the packets of the node's probes.
    pub fn probing(&self) -> &Probing {
        &self.overview.probing
    }

    /// Whether each port can send and receive.
    pub fn ports_up(&self) -> impl Iterator<Item = bool> {
        self.overview.ports.iter().map(|port| (port.is_up)())
    }

    /// What the kernel says; empty if nothing follows it.
    pub fn view(&self) -> Arc<ArcSwap<View>> {
        Arc::clone(&self.overview.view)
    }

    /// Records what happens.
    pub fn events(&self) -> &Recorder {
        &self.events
    }

    /// Carries out a request.
    pub fn handle(&self, request: Request) -> Response {
        match request {
            Request::Status {} => Response::Status(self.overview.status()),
            Request::ServiceList {} => Response::Services(self.overview.services()),
            Request::BackendList {} => Response::Backends(self.overview.backends()),
            Request::BackendSet { changes, source, reason, for_seconds } => {
                self.set_backends(&changes, source, reason, for_seconds).response
            }
            Request::WorkerList {} => Response::Workers(self.overview.worker_list()),
            Request::PortList {} => Response::Ports(self.overview.port_list()),
            Request::PortStats { extended } => {
                Response::PortStats(self.overview.port_stats(extended))
            }
            Request::Stats {} => Response::Stats(self.stats()),
            Request::ConfigShow {} => {
                let published = self.overview.published.load_full();
                Response::Config {
                    text: published.text.to_string(),
                    generation: published.generation,
                }
            }
            Request::ConfigCheck { text } => self
                .outcome(self.parser.submit(text, Purpose::Check), &mut None)
                .unwrap_or_else(|unapplied| Response::Error(unapplied.error)),
            Request::ConfigApply { text, .. } => self.apply_text(text).response,
            Request::ConfigReload { .. } => self.apply_file().response,
            Request::FlowList(filter) => match self.overview.flows(&filter) {
                Ok(flows) => Response::Flows(flows),
                Err(error) => Response::Error(error),
            },
            Request::InterfaceList {} => Response::Interfaces(self.overview.interfaces()),
            Request::NeighborList {} => Response::Neighbors(self.overview.neighbors()),
            Request::RouteShow { backend, pool } => {
                match self.overview.route(&backend, pool.as_deref()) {
                    Ok(route) => Response::Route(route),
                    Err(error) => Response::Error(error),
                }
            }
            Request::PuntList {} => Response::Punts(self.overview.punts()),
            Request::PinSet { pins, removed, only } => self.set_pins(pins, removed, only),
            Request::PinList {} => Response::Pins(self.pins()),
            Request::LogLevel { level, .. } => {
                let level = match level {
                    Some(level) => self.level.set(level),
                    None => self.level.now(),
                };
                Response::LogLevel { level }
            }
            Request::VipList {}
            | Request::VipSet { .. }
            | Request::NodeShow {}
            | Request::NodeSet { .. }
            | Request::BgpList {}
            | Request::BgpShow { .. }
            | Request::CheckList {}
            | Request::CheckShow { .. }
            | Request::CheckRun { .. }
            | Request::Monitor { .. }
            | Request::Hello { .. } => {
                let message = "this daemon does not carry it out";
                Response::Error(api::Error::new(ErrorKind::Failed, message))
            }
        }
    }

    /// All counters, summed over the workers.
    pub fn stats(&self) -> api::Stats {
        summary(self.readers())
    }

    /// The counters that [`Daemon::stats`] sums.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &Reader> + Clone {
        self.overview.workers.iter().map(|worker| &worker.stats).chain(&self.others)
    }

    /// What became of applies and reloads.
    pub(crate) fn applies(&self) -> &Applies {
        &self.applies
    }

    /// What listings show.
    pub(crate) fn overview(&self) -> &Overview {
        &self.overview
    }

    /// Puts a text in force.
    fn apply_text(&self, text: String) -> Answered {
        self.apply(Ok(self.parser.submit(text, Purpose::Apply)))
    }

    /// Puts the configuration file in force.
    fn apply_file(&self) -> Answered {
        self.apply(self.reload())
    }

    /// Reads the configuration file and gives its text a place in the order.
    fn reload(&self) -> Result<Ticket, api::Error> {
        let mut source = self.source.lock();
        let text = source.read(|| self.is_stopping()).map_err(|error| {
            let path = self.overview.path.display();
            api::Error::new(ErrorKind::Rejected, format!("cannot read {path}: {error}"))
        })?;
        Ok(self.parser.submit(text, Purpose::Apply))
    }

    /// Waits until a text is in force, and records what became of it.
    fn apply(&self, ticket: Result<Ticket, api::Error>) -> Answered {
        let mut replaced = None;
        let outcome = ticket.map(|ticket| self.outcome(ticket, &mut replaced));
        let (response, outcome) = match outcome {
            Ok(Ok(response)) => (Ok(response), ChangeOutcome::Applied),
            Ok(Err(Unapplied { error, is_published: true })) => (Err(error), ChangeOutcome::Late),
            Ok(Err(Unapplied { error, .. })) | Err(error) => (Err(error), ChangeOutcome::Refused),
        };
        self.applies.count(&response, outcome);
        match &response {
            Ok(Response::Applied { generation, warnings }) => {
                let (generation, warnings) = (*generation, warnings.len());
                self.events.record(Happening::ConfigApplied { generation, warnings });
            }
            Err(error) if error.kind == ErrorKind::Rejected => {
                self.events.record(Happening::ConfigRefused { error: first(error) });
            }
            // What is published and not in force is the manager's to record.
            _ => {}
        }
        self.set_configured_level();
        let response = response.unwrap_or_else(Response::Error);
        Answered { response, outcome, replaced, words: None }
    }

    /// Sets the level of the log if that of the configuration has changed.
    fn set_configured_level(&self) {
        let mut last = self.configured_level.lock();
        let level = self.overview.published.load().configuration.log.level;
        if *last != level {
            *last = level;
            self.level.set(convert::to_level(level));
        }
    }

    /// Waits for what becomes of a text, and notes what it replaced.
    fn outcome(
        &self,
        ticket: Ticket,
        replaced: &mut Option<Replaced>,
    ) -> Result<Response, Unapplied> {
        match ticket.wait() {
            Ok(Done::Checked(parsed)) => {
                self.check(&parsed)?;
                Ok(Response::Checked { warnings: lines(&parsed.warnings) })
            }
            Ok(Done::Sent(warnings, sent)) => match replacing(&sent, replaced) {
                Ok(generation) => Ok(Response::Applied { generation, warnings: lines(&warnings) }),
                Err(manager::Error::Failed) if self.is_stopping() => Err(stopping().into()),
                Err(error @ manager::Error::Ids(_)) => {
                    self.events.record(Happening::ConfigRefused { error: error.to_string() });
                    Err(refusal(error).into())
                }
                Err(error) => {
                    let is_published = error.is_published();
                    Err(Unapplied { error: refusal(error), is_published })
                }
            },
            Err(Refusal::Stopping) => Err(stopping().into()),
            Err(Refusal::Mistakes(mistakes)) => Err(Unapplied::from(api::Error {
                kind: ErrorKind::Rejected,
                message: "the configuration has mistakes; nothing has changed".to_owned(),
                details: details(&mistakes),
            })),
        }
    }

    /// Compares a configuration that is only checked with what was published last.
    fn check(&self, parsed: &config::Parsed) -> Result<(), api::Error> {
        let published = self.overview.published.load_full();
        let fixed = published.configuration.restart_only_differences(&parsed.configuration);
        match fixed.is_empty() {
            true => Ok(()),
            false => Err(refusal(manager::Error::NeedsRestart(fixed))),
        }
    }
}

/// The answer to a request that changes something.
struct Answered {
    response: Response,
    outcome: ChangeOutcome,
    /// What a configuration replaced that was published.
    replaced: Option<Replaced>,
    /// What the change was about, before and after it, if that is no whole configuration.
    words: Option<(String, String)>,
}

impl Answered {
    fn refused(response: Response) -> Answered {
        Answered { response, outcome: ChangeOutcome::Refused, replaced: None, words: None }
    }
}

/// Waits for the outcome of a change, and notes what it replaced.
fn replacing(sent: &manager::Sent, replaced: &mut Option<Replaced>) -> manager::Outcome {
    let outcome = sent.outcome();
    *replaced = sent.replaced();
    outcome
}

/// Why a text is not in force on every worker.
struct Unapplied {
    error: api::Error,
    /// The text is published, and stays.
    is_published: bool,
}

impl From<api::Error> for Unapplied {
    /// An error of a text that is not published.
    fn from(error: api::Error) -> Unapplied {
        Unapplied { error, is_published: false }
    }
}

/// An error on one line, with the first of its details.
fn first(api::Error { message, details, .. }: &api::Error) -> String {
    match details.as_slice() {
        [] => message.clone(),
        [only] => format!("{message}: {only}"),
        [first, ..] => format!("{message}: {first}; and {} more", details.len() - 1),
    }
}

fn stopping() -> api::Error {
    api::Error::new(ErrorKind::Failed, "the daemon is stopping")
}

/// The manager's error as a client gets it.
fn refusal(error: manager::Error) -> api::Error {
    let message = error.to_string();
    match error {
        manager::Error::NeedsRestart(details) => {
            api::Error { kind: ErrorKind::Rejected, message, details }
        }
        _ => api::Error::new(ErrorKind::Failed, message),
    }
}

/// All counters of some workers, summed. Verdicts are read before the counter of received packets, so that
/// their sum never exceeds it.
pub fn summary<'a>(workers: impl Iterator<Item = &'a Reader> + Clone) -> api::Stats {
    let sum = |of: &dyn Fn(&Reader) -> u64| workers.clone().map(of).sum();
    let verdicts = Verdict::all()
        .map(|verdict| (verdict.name().to_owned(), sum(&|stats| stats.verdict(verdict))))
        .collect();
    let events = Event::ALL
        .iter()
        .copied()
        .map(|event| (event.name().to_owned(), sum(&|stats| stats.event(event))))
        .collect();
    api::Stats {
        received: sum(&|stats| stats.counter(Counter::Received)),
        transmitted: sum(&|stats| stats.counter(Counter::Transmitted)),
        verdicts,
        events,
    }
}

fn lines(mistakes: &[config::Mistake]) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

/// A line for each listed mistake, and one with the number of the others.
fn details(mistakes: &config::Mistakes) -> Vec<String> {
    let mut lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    if mistakes.more() > 0 {
        lines.push(format!("and {} more", mistakes.more()));
    }
    lines
}
