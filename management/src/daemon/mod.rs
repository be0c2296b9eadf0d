//! The daemon's side of the control protocol: it carries out requests and applies configurations.
//!
//! The daemon reaches workers and ports only through [`Worker`] and [`Port`], so that it needs no DPDK
//! and tests need no device.

mod convert;
mod flows;
mod listing;
mod overview;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guideway_api as api;
use guideway_api::{ErrorKind, Request, Response};
use parking_lot::{Mutex, MutexGuard};

use overview::{Overview, Running};
pub use overview::{Port, PortState, Worker};
use parser::Parser;

use super::publication::{Published, Publisher};
use guideway_config as config;
use guideway_config::{Configuration, Source};
use guideway_core::balancer::Verdict;
use guideway_core::stats::{Counter, Event, Reader};

/// How long an apply waits until every worker runs the new tables. Workers load tables between bursts.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Carries out requests.
pub struct Daemon {
    overview: Overview,
    /// Counters of other threads than the workers.
    others: Vec<Reader>,
    /// Locked before [`Overview::running`], and for long: by a check, and by an apply until it has
    /// published.
    changes: Mutex<Changes>,
    is_stopping: AtomicBool,
}

/// What puts a configuration in force. Only one configuration is read and parsed at a time. That bounds the
/// memory that clients can claim, and a reload never replaces a newer text with an older one.
struct Changes {
    publisher: Publisher,
    source: Source,
    parser: Parser,
}

impl Daemon {
    /// A daemon for what `publisher` has just published from `text`, the contents of `path`.
    pub fn new(
        path: PathBuf,
        text: String,
        configuration: Configuration,
        publisher: Publisher,
        published: Published,
        workers: Vec<Worker>,
        ports: Vec<Port>,
    ) -> Daemon {
        let source = Source::new(path.clone());
        let running = Running {
            configuration,
            text,
            published,
            service_base: HashMap::new(),
            backend_base: HashMap::new(),
        };
        Daemon {
            overview: Overview {
                started: Instant::now(),
                path,
                workers,
                ports,
                running: Mutex::new(running),
            },
            others: Vec::new(),
            changes: Mutex::new(Changes { publisher, source, parser: Parser::default() }),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Abandons every waiting check, apply and reload, and refuses later ones.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Adds the counters of another thread than a worker to the sums of [`Daemon::stats`].
    #[must_use]
    pub fn with_counters(mut self, counters: Reader) -> Daemon {
        self.others.push(counters);
        self
    }

    /// Carries out a request.
    pub fn handle(&self, request: Request) -> Response {
        match request {
            Request::Status {} => Response::Status(self.overview.status()),
            Request::ServiceList {} => Response::Services(self.overview.services()),
            Request::BackendList {} => Response::Backends(self.overview.backends()),
            Request::WorkerList {} => Response::Workers(self.overview.worker_list()),
            Request::PortList {} => Response::Ports(self.overview.port_list()),
            Request::PortStats { extended } => {
                Response::PortStats(self.overview.port_stats(extended))
            }
            Request::Stats {} => Response::Stats(self.stats()),
            Request::ConfigShow {} => {
                let running = self.overview.running.lock();
                Response::Config {
                    text: running.text.clone(),
                    generation: running.published.generation,
                }
            }
            Request::ConfigCheck { text } => match self.check(&mut self.changes.lock(), &text) {
                Ok(parsed) => Response::Checked { warnings: lines(&parsed.warnings) },
                Err(error) => Response::Error(error),
            },
            Request::ConfigApply { text } => self.apply(self.changes.lock(), text),
            Request::ConfigReload {} => {
                let mut changes = self.changes.lock();
                match changes.source.read(|| self.is_stopping()) {
                    Ok(text) => self.apply(changes, text),
                    Err(error) => Response::Error(api::Error::new(
                        ErrorKind::Rejected,
                        format!("cannot read {}: {error}", self.overview.path.display()),
                    )),
                }
            }
            Request::FlowList(filter) => match self.overview.flows(&filter) {
                Ok(flows) => Response::Flows(flows),
                Err(error) => Response::Error(error),
            },
        }
    }

    /// All counters, summed over the workers.
    pub fn stats(&self) -> api::Stats {
        summary(self.overview.workers.iter().map(|w| &w.stats).chain(&self.others))
    }

    /// Parses a text and compares it with what is in force.
    fn check(&self, changes: &mut Changes, text: &str) -> Result<config::Parsed, api::Error> {
        if self.is_stopping() {
            return Err(api::Error::new(ErrorKind::Failed, "the daemon is stopping"));
        }
        let parsed = changes.parser.parse(text).map_err(|mistakes| api::Error {
            kind: ErrorKind::Rejected,
            message: "the configuration has mistakes; nothing has changed".to_owned(),
            details: details(&mistakes),
        })?;
        let running = self.overview.running.lock();
        let fixed = running.configuration.restart_only_differences(&parsed.configuration);
        if !fixed.is_empty() {
            return Err(api::Error {
                kind: ErrorKind::Rejected,
                message: "these keys need a restart to change; nothing has changed".to_owned(),
                details: fixed,
            });
        }
        Ok(parsed)
    }

    fn apply(&self, mut changes: MutexGuard<'_, Changes>, text: String) -> Response {
        let parsed = match self.check(&mut changes, &text) {
            Ok(parsed) => parsed,
            Err(error) => return Response::Error(error),
        };
        let warnings = lines(&parsed.warnings);
        let configuration = parsed.configuration;
        let published = match changes.publisher.publish(&configuration, self.overview.progress()) {
            Ok(published) => published,
            Err(error) => {
                return Response::Error(api::Error::new(ErrorKind::Failed, error.to_string()));
            }
        };
        let generation = published.generation;
        let mut running = self.overview.running.lock();
        for id in &published.new_services {
            let base = self.overview.sum(|stats| stats.service(id.0 as usize));
            running.service_base.insert(id.0, base);
        }
        for id in &published.new_backends {
            let base = self.overview.sum(|stats| stats.backend(id.index()));
            running.backend_base.insert(id.get(), base);
        }
        running.configuration = configuration;
        running.text = text;
        running.published = published;
        drop(running);
        drop(changes);
        if !self.wait_for(generation) {
            return Response::Error(api::Error::new(
                ErrorKind::Failed,
                format!(
                    "generation {generation} is published, but not every worker runs it after {} s",
                    IN_FORCE.as_secs()
                ),
            ));
        }
        self.changes.lock().publisher.release();
        Response::Applied { generation, warnings }
    }

    fn wait_for(&self, generation: u64) -> bool {
        let deadline = Instant::now() + IN_FORCE;
        while self.overview.progress().generation < generation {
            if Instant::now() > deadline || self.is_stopping() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
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
