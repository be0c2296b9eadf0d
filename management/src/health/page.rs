//! `/healthz` and `/readyz`: what was found, as JSON.
//!
//! | page | 200 if | for |
//! |---|---|---|
//! | `/healthz` | nothing is wrong | alarms |
//! | `/readyz` | the node forwards | whoever sends it traffic |
//!
//! A node with a port down or late tables is not well, and still forwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use guideway_api::AnnouncingState;
use serde::Serialize;

use super::round::Findings;
use super::{LATE, STALLED};
use crate::daemon::Daemon;
use guideway_chassis::http::{Answer, Metrics, Pages};

/// Findings that are older say nothing.
const STALE: Duration = Duration::from_secs(1);

/// What was found last. Any thread may read it.
#[derive(Debug, Default)]
pub struct Health(ArcSwapOption<Findings>);

impl Health {
    pub(crate) fn found(&self, findings: Findings) {
        self.0.store(Some(Arc::new(findings)));
    }

    /// The time since a worker's last round, to a tenth of a second. `None` without such a worker, or if nothing was
    /// found yet. Where nothing is looked at any more the age grows on.
    pub fn heartbeat_age(&self, worker: usize, now: Instant) -> Option<Duration> {
        let found = self.0.load();
        let found = found.as_ref()?;
        Some(*found.heartbeats.get(worker)? + found.unseen(now))
    }

    /// How long the oldest tables wait that some worker has not loaded; 0 if none wait. `None` if nothing was found yet.
    pub fn waiting(&self, now: Instant) -> Option<Duration> {
        let found = self.0.load();
        let found = found.as_ref()?;
        Some(found.waiting.map_or(Duration::ZERO, |(_, age)| age + found.unseen(now)))
    }

    /// The pages of a daemon whose health this is.
    pub fn pages(self: &Arc<Health>, daemon: &Arc<Daemon>, metrics: Metrics) -> Pages {
        let of = |page: fn(&Daemon, Option<&Findings>, Instant) -> Answer| {
            let (daemon, health) = (Arc::clone(daemon), Arc::clone(self));
            Arc::new(move || page(&daemon, health.0.load().as_deref(), Instant::now()))
        };
        let published = daemon.published();
        Pages {
            node: Arc::new(move || published.load().configuration.node.name.clone()),
            metrics: Some(metrics),
            healthz: of(|daemon, found, now| healthz(&facts(daemon), found, now)),
            readyz: of(|daemon, found, now| readyz(&facts(daemon), found, now)),
        }
    }
}

impl Findings {
    /// The time for which nothing was looked at, if that is long.
    fn unseen(&self, now: Instant) -> Duration {
        Some(now.saturating_duration_since(self.at)).filter(|&age| age > STALE).unwrap_or_default()
    }
}

/// What a daemon is at when nothing is known of its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It starts its devices and workers.
    Starting,
    /// It finishes the packets that it has.
    Stopping,
}

impl Stage {
    fn reason(self) -> Reason {
        let message = match self {
            Stage::Starting => "starting",
            Stage::Stopping => "stopping",
        };
        Reason::new("daemon", "guideway", message)
    }

    /// The pages at this stage, of a node with this name.
    pub fn pages(self, node: &str) -> Pages {
        let node = node.to_owned();
        let page = |status| {
            let reasons = vec![self.reason()];
            let page =
                Page { status, reasons, generation: None, uptime_seconds: None, workers: None };
            move || page.answer(false)
        };
        Pages {
            node: Arc::new(move || node.clone()),
            metrics: None,
            healthz: Arc::new(page(FAILING)),
            readyz: Arc::new(page(NOT_READY)),
        }
    }
}

const FAILING: &str = "failing";
const NOT_READY: &str = "not_ready";

/// A page. What is not known is left out.
#[derive(Debug, Serialize)]
struct Page {
    status: &'static str,
    reasons: Vec<Reason>,
    /// The generation that every worker runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<usize>,
}

impl Page {
    /// The answer of a daemon that runs.
    fn of([well, ill]: [&'static str; 2], reasons: Vec<Reason>, facts: &Facts) -> Answer {
        let is_well = reasons.is_empty();
        let page = Page {
            status: if is_well { well } else { ill },
            reasons,
            generation: Some(facts.in_force),
            uptime_seconds: Some(facts.uptime.as_secs()),
            workers: Some(facts.workers),
        };
        page.answer(is_well)
    }

    fn answer(&self, is_well: bool) -> Answer {
        let mut body = serde_json::to_vec(self).unwrap_or_default();
        body.push(b'\n');
        Answer { is_well, body: body.into() }
    }
}

/// Why a node is not well, or not ready.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Reason {
    check: &'static str,
    subject: String,
    message: String,
}

impl Reason {
    fn new(check: &'static str, subject: impl ToString, message: impl ToString) -> Reason {
        Reason { check, subject: subject.to_string(), message: message.to_string() }
    }
}

/// What a page has from the daemon itself.
#[derive(Clone, Debug)]
struct Facts {
    is_managed: bool,
    /// All addresses are withdrawn, and the daemon forwards for some time before it stops.
    lingers: bool,
    /// The generation that every worker runs; 0 if one runs none yet.
    in_force: u64,
    uptime: Duration,
    workers: usize,
    ports: Vec<String>,
    /// The pools of packet buffers, and how many each has.
    buffers: Vec<(String, u32)>,
}

fn facts(daemon: &Daemon) -> Facts {
    let overview = daemon.overview();
    let ports = &overview.published.load().configuration.ports;
    Facts {
        is_managed: daemon.is_managed(),
        lingers: daemon.announcing().is_some_and(|of| of.state() == AnnouncingState::Stopping),
        in_force: overview.progress().generation,
        uptime: overview.started.elapsed(),
        workers: overview.workers.len(),
        ports: ports.iter().map(|port| port.name.clone()).collect(),
        buffers: daemon.buffers().iter().map(|pool| (pool.name.clone(), pool.total)).collect(),
    }
}

fn healthz(facts: &Facts, found: Option<&Findings>, now: Instant) -> Answer {
    let reasons = basics(facts, found, now).unwrap_or_else(|found| {
        let mut reasons = stalled(found);
        for (name, is_up) in facts.ports.iter().zip(&found.ports) {
            if !is_up {
                reasons.push(Reason::new("port", name, "link down"));
            }
        }
        if let Some((generation, age)) = found.waiting
            && age >= LATE
        {
            let message = format!(
                "generation {generation} was published {} s ago, and some worker does not run it",
                age.as_secs()
            );
            reasons.push(Reason::new("configuration", "workers", message));
        }
        for ((name, total), low) in facts.buffers.iter().zip(&found.low) {
            if let Some(free) = low {
                let message = format!("{free} of {total} packet buffers are free");
                reasons.push(Reason::new("buffers", name, message));
            }
        }
        if !facts.is_managed {
            reasons.push(Reason::new("manager", "manager", "no change can be carried out"));
        }
        reasons
    });
    Page::of(["ok", FAILING], reasons, facts)
}

fn readyz(facts: &Facts, found: Option<&Findings>, now: Instant) -> Answer {
    let reasons = basics(facts, found, now).unwrap_or_else(|found| {
        let mut reasons = stalled(found);
        if facts.lingers {
            reasons.insert(0, Stage::Stopping.reason());
        }
        if !found.ports.contains(&true) {
            reasons.push(Reason::new("port", "all", "no port is up"));
        }
        reasons
    });
    Page::of(["ready", NOT_READY], reasons, facts)
}

/// Why there is nothing more to be said, or else what was found.
fn basics<'f>(
    facts: &Facts,
    found: Option<&'f Findings>,
    now: Instant,
) -> Result<Vec<Reason>, &'f Findings> {
    match found.filter(|_| facts.in_force > 0) {
        None => Ok(vec![Stage::Starting.reason()]),
        Some(found) => match now.saturating_duration_since(found.at) {
            age if age > STALE => {
                let message = format!("nothing was looked at for {} ms", age.as_millis());
                Ok(vec![Reason::new("health", "thread", message)])
            }
            _ => Err(found),
        },
    }
}

/// The workers without a fresh heartbeat.
fn stalled(found: &Findings) -> Vec<Reason> {
    let ages = found.heartbeats.iter().enumerate().filter(|&(_, age)| *age >= STALLED);
    ages.map(|(worker, age)| {
        let message = format!("no round for {} ms", age.as_millis());
        Reason::new("worker", worker, message)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            is_managed: true,
            lingers: false,
            in_force: 3,
            uptime: Duration::from_millis(12_900),
            workers: 2,
            ports: vec!["edge0".into(), "edge1".into()],
            buffers: vec![("packets".into(), 1000)],
        }
    }

    fn found(at: Instant) -> Findings {
        Findings {
            at,
            heartbeats: vec![Duration::ZERO, Duration::from_millis(900)],
            ports: vec![true, true],
            low: vec![None],
            waiting: Some((4, Duration::from_millis(4900))),
        }
    }

    /// The statuses of both pages and their reasons.
    fn pages(facts: &Facts, found: Option<&Findings>, now: Instant) -> [(bool, Vec<String>); 2] {
        [healthz(facts, found, now), readyz(facts, found, now)].map(|answer| {
            let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let word =
                |reason: &serde_json::Value, key: &str| reason[key].as_str().unwrap().to_owned();
            let reasons = page["reasons"].as_array().unwrap().iter().map(|reason| {
                let keys = ["check", "subject", "message"];
                keys.map(|key| word(reason, key)).join("/")
            });
            (answer.is_well, reasons.collect())
        })
    }

    #[test]
    fn ages_grow_on_where_nothing_is_looked_at() {
        let (health, now) = (Health::default(), Instant::now());
        assert_eq!((health.heartbeat_age(0, now), health.waiting(now)), (None, None));
        health.found(found(now));
        let after = |ms| now + Duration::from_millis(ms);
        let ages = |ms| (health.heartbeat_age(0, after(ms)), health.waiting(after(ms)));
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(ages(1000), (ms(0), ms(4900)), "a look may be late");
        assert_eq!(ages(60_000), (ms(60_000), ms(64_900)));
        assert_eq!(health.heartbeat_age(2, now), None, "there are two workers");
        health.found(Findings { waiting: None, ..found(now) });
        assert_eq!(ages(60_000).1, ms(0));
    }

    #[test]
    fn a_node_that_is_well_says_so() {
        let now = Instant::now();
        let answer = healthz(&facts(), Some(&found(now)), now);
        assert!(answer.is_well);
        assert_eq!(
            answer.body,
            "{\"status\":\"ok\",\"reasons\":[],\"generation\":3,\"uptime_seconds\":12,\"workers\":2}\n"
        );
        let answer = readyz(&facts(), Some(&found(now)), now);
        assert!(answer.is_well);
        assert_eq!(
            answer.body,
            "{\"status\":\"ready\",\"reasons\":[],\"generation\":3,\"uptime_seconds\":12,\"workers\":2}\n"
        );
    }

    #[test]
    fn each_failure_is_a_reason_and_only_some_keep_traffic_away() {
        let now = Instant::now();
        let well = (true, Vec::new());
        let ill = |reason: &str| (false, vec![reason.to_owned()]);
        let after = |change: &dyn Fn(&mut Findings)| {
            let mut found = found(now);
            change(&mut found);
            pages(&facts(), Some(&found), now)
        };
        let stalled = "worker/1/no round for 1000 ms";
        assert_eq!(
            after(&|found| found.heartbeats[1] = Duration::from_secs(1)),
            [ill(stalled), ill(stalled)]
        );
        assert_eq!(
            after(&|found| found.ports[1] = false),
            [ill("port/edge1/link down"), well.clone()]
        );
        let both = ["port/edge0/link down", "port/edge1/link down"].map(str::to_owned).into();
        assert_eq!(
            after(&|found| found.ports = vec![false, false]),
            [(false, both), ill("port/all/no port is up")]
        );
        assert_eq!(
            after(&|found| found.waiting = Some((4, LATE))),
            [
                ill("configuration/workers/generation 4 was published 5 s ago, and some worker \
                     does not run it"),
                well.clone()
            ]
        );
        assert_eq!(
            after(&|found| found.low[0] = Some(7)),
            [ill("buffers/packets/7 of 1000 packet buffers are free"), well.clone()]
        );
        let unmanaged = Facts { is_managed: false, ..facts() };
        assert_eq!(
            pages(&unmanaged, Some(&found(now)), now),
            [ill("manager/manager/no change can be carried out"), well.clone()]
        );
        let lingering = Facts { lingers: true, ..facts() };
        let stopping = ill("daemon/guideway/stopping");
        assert_eq!(pages(&lingering, Some(&found(now)), now), [well, stopping]);
    }

    #[test]
    fn a_daemon_that_starts_or_stops_is_neither_well_nor_ready() {
        let now = Instant::now();
        let ill = |reason: &str| (false, vec![reason.to_owned()]);
        let starts = ill("daemon/guideway/starting");
        assert_eq!(pages(&facts(), None, now), [starts.clone(), starts.clone()]);
        let early = Facts { in_force: 0, ..facts() };
        assert_eq!(pages(&early, Some(&found(now)), now), [starts.clone(), starts]);
        for (stage, word) in [(Stage::Starting, "starting"), (Stage::Stopping, "stopping")] {
            let pages = stage.pages("lb1");
            assert_eq!((pages.node)(), "lb1");
            assert!(pages.metrics.is_none());
            for (page, status) in [(&pages.healthz, "failing"), (&pages.readyz, "not_ready")] {
                let answer = page();
                let expected = format!(
                    "{{\"status\":\"{status}\",\"reasons\":[{{\"check\":\"daemon\",\
                     \"subject\":\"guideway\",\"message\":\"{word}\"}}]}}\n"
                );
                assert_eq!((answer.is_well, answer.body), (false, expected.into()));
            }
        }
    }

    #[test]
    fn old_findings_say_nothing() {
        let now = Instant::now();
        let at = |age| pages(&facts(), Some(&found(now)), now + Duration::from_millis(age));
        assert!(at(1000)[0].0);
        let stale = (false, vec!["health/thread/nothing was looked at for 1001 ms".to_owned()]);
        assert_eq!(at(1001), [stale.clone(), stale]);
    }
}
