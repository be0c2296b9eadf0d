//! The daemon's side of the control protocol: answers requests, applies configurations.
//!
//! It knows workers and ports only by what [`Worker`] and [`Port`] let it ask, so that it needs no
//! DPDK and tests need no device.

mod flows;
mod listing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guideway_api as api;
use guideway_api::{ErrorKind, Request, Response};
use parking_lot::Mutex;

use super::config::{self, Configuration};
use super::publication::{Progress, Published, Publisher};
use crate::balancer::Verdict;
use crate::balancer::scan::Scan;
use crate::stats::{Event, Reader, Scalar, Traffic};

/// How long an apply waits for the workers, which take tables up between two bursts.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Mistakes that an answer lists.
const MAX_DETAILS: usize = 1000;

/// A worker, as the control plane sees it.
pub struct Worker {
    /// What it counts.
    pub stats: Reader,
    /// The CPU that it is pinned to.
    pub cpu: Option<u16>,
    /// The queues that it polls, `port:queue`.
    pub queues: Vec<String>,
    /// Entries of its flow table.
    pub flow_capacity: u64,
    /// Has it carry out a listing; none if it does not answer.
    pub scan: Box<dyn Fn(Scan) -> Option<Scan> + Send + Sync>,
}

/// A port, as the control plane sees it.
pub struct Port {
    /// The DPDK driver.
    pub driver: String,
    /// The device's own MAC address.
    pub device_mac: [u8; 6],
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// How packets reach their worker, and why so.
    pub steering: String,
    /// Asks the device for its link, in words, and its counters.
    pub probe: Box<dyn Fn() -> (String, api::PortCounters) + Send + Sync>,
}

/// What answers requests.
pub struct Daemon {
    started: Instant,
    path: PathBuf,
    workers: Vec<Worker>,
    ports: Vec<Port>,
    /// What is counted off the workers.
    others: Vec<Reader>,
    running: Mutex<Running>,
}

/// What is in force.
struct Running {
    publisher: Publisher,
    configuration: Configuration,
    text: String,
    published: Published,
    /// What a number had counted when its present owner got it.
    service_base: HashMap<u32, Traffic>,
    backend_base: HashMap<u32, Traffic>,
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
        let running = Running {
            publisher,
            configuration,
            text,
            published,
            service_base: HashMap::new(),
            backend_base: HashMap::new(),
        };
        Daemon {
            started: Instant::now(),
            path,
            workers,
            ports,
            others: Vec::new(),
            running: Mutex::new(running),
        }
    }

    /// Adds what something else than a worker counts to the sums of [`Daemon::stats`].
    #[must_use]
    pub fn with_counters(mut self, counters: Reader) -> Daemon {
        self.others.push(counters);
        self
    }

    /// Carries out a request.
    pub fn answer(&self, request: Request) -> Response {
        match request {
            Request::Status {} => Response::Status(self.status()),
            Request::ServiceList {} => Response::Services(self.services()),
            Request::BackendList {} => Response::Backends(self.backends()),
            Request::WorkerList {} => Response::Workers(self.worker_list()),
            Request::PortList {} => Response::Ports(self.port_list()),
            Request::Stats {} => Response::Stats(self.stats()),
            Request::ConfigShow {} => {
                let running = self.running.lock();
                Response::Config {
                    text: running.text.clone(),
                    generation: running.published.generation,
                }
            }
            Request::ConfigCheck { text } => match self.check(&self.running.lock(), &text) {
                Ok(parsed) => Response::Checked { warnings: warnings(&parsed) },
                Err(error) => Response::Error(error),
            },
            Request::ConfigApply { text } => self.apply(text),
            Request::ConfigReload {} => match std::fs::read_to_string(&self.path) {
                Ok(text) => self.apply(text),
                Err(error) => Response::Error(api::Error::new(
                    ErrorKind::Rejected,
                    format!("cannot read {}: {error}", self.path.display()),
                )),
            },
            Request::FlowList(filter) => match self.flows(&filter) {
                Ok(flows) => Response::Flows(flows),
                Err(error) => Response::Error(error),
            },
        }
    }

    /// All counters, summed over the workers.
    pub fn stats(&self) -> api::Stats {
        summary(self.workers.iter().map(|w| &w.stats).chain(&self.others))
    }

    fn check(&self, running: &Running, text: &str) -> Result<config::Parsed, api::Error> {
        let parsed = config::parse(text).map_err(|mistakes| api::Error {
            kind: ErrorKind::Rejected,
            message: "the configuration has mistakes; nothing has changed".to_owned(),
            details: listed(mistakes.iter()),
        })?;
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

    fn apply(&self, text: String) -> Response {
        let mut guard = self.running.lock();
        let running = &mut *guard;
        let parsed = match self.check(running, &text) {
            Ok(parsed) => parsed,
            Err(error) => return Response::Error(error),
        };
        let warnings = warnings(&parsed);
        let configuration = parsed.configuration;
        let published = match running.publisher.publish(&configuration, self.progress()) {
            Ok(published) => published,
            Err(error) => {
                return Response::Error(api::Error::new(ErrorKind::Failed, error.to_string()));
            }
        };
        for id in &published.new_services {
            let base = self.sum(|stats| stats.service(id.0 as usize));
            running.service_base.insert(id.0, base);
        }
        for id in &published.new_backends {
            let base = self.sum(|stats| stats.backend(id.index()));
            running.backend_base.insert(id.get(), base);
        }
        let generation = published.generation;
        running.configuration = configuration;
        running.text = text;
        running.published = published;
        drop(guard);
        if !self.wait_for(generation) {
            return Response::Error(api::Error::new(
                ErrorKind::Failed,
                format!(
                    "generation {generation} is published, but not every worker runs it after {} s",
                    IN_FORCE.as_secs()
                ),
            ));
        }
        self.running.lock().publisher.release();
        Response::Applied { generation, warnings }
    }

    fn wait_for(&self, generation: u64) -> bool {
        let deadline = Instant::now() + IN_FORCE;
        while self.progress().generation < generation {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn progress(&self) -> Progress {
        let least = |scalar| self.workers.iter().map(|w| w.stats.scalar(scalar)).min().unwrap_or(0);
        Progress { generation: least(Scalar::Generation), swept: least(Scalar::SweptGeneration) }
    }

    fn sum(&self, of: impl Fn(&Reader) -> Traffic) -> Traffic {
        self.workers.iter().map(|w| of(&w.stats)).fold(Traffic::default(), |a, b| a + b)
    }
}

/// All counters of some workers, summed. Verdicts are read before what was received, so that their sum
/// is never ahead of it.
pub fn summary<'a>(workers: impl Iterator<Item = &'a Reader> + Clone) -> api::Stats {
    let sum = |of: &dyn Fn(&Reader) -> u64| workers.clone().map(of).sum();
    let verdicts = Verdict::all()
        .map(|verdict| (verdict.name().to_owned(), sum(&|stats| stats.verdict(verdict))))
        .collect();
    let events = Event::all()
        .map(|event| (event.name().to_owned(), sum(&|stats| stats.event(event))))
        .collect();
    api::Stats {
        received: sum(&|stats| stats.scalar(Scalar::Received)),
        transmitted: sum(&|stats| stats.scalar(Scalar::Transmitted)),
        verdicts,
        events,
    }
}

fn warnings(parsed: &config::Parsed) -> Vec<String> {
    listed(parsed.warnings.iter())
}

/// A line for each, up to [`MAX_DETAILS`], and one that says how many more there are.
fn listed<'a>(mistakes: impl ExactSizeIterator<Item = &'a config::Mistake>) -> Vec<String> {
    let more = mistakes.len().saturating_sub(MAX_DETAILS);
    let mut lines: Vec<String> = mistakes.take(MAX_DETAILS).map(ToString::to_string).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
