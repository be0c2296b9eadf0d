//! Checks for tests, and how they are run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_api::CheckStep;
use guideway_config::{Check, CheckHttp, CheckKind, CheckTls, Exchange, InitialState};
use guideway_controller::check::To;
use guideway_controller::check::probe::{Outcome, Prepared, Way, probe};
use tokio::runtime::Runtime;

/// Long enough for a peer on this machine, however busy it is.
pub(crate) const LONG: Duration = Duration::from_secs(5);
/// Long enough for the part of an answer that does come.
pub(crate) const AWHILE: Duration = Duration::from_secs(1);
/// For peers that do not answer.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// By how much a probe may end after its timeout.
const LATE: Duration = Duration::from_millis(50);

pub(crate) fn check(kind: CheckKind, timeout: Duration) -> Check {
    let interval = Duration::from_secs(10);
    Check {
        name: "test".to_owned(),
        kind,
        via: None,
        address: None,
        port: None,
        size: None,
        interval,
        fast_interval: interval,
        down_interval: interval,
        timeout,
        rise: 2,
        fall: 3,
        jitter: 10,
        spread: interval,
        initial_state: InitialState::Unknown,
        log_failures: false,
    }
}

pub(crate) fn exchange(send: Option<&str>, expect: Option<&str>) -> Exchange {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Exchange { send: send.map(bytes), expect: expect.map(bytes) }
}

pub(crate) fn tcp(send: Option<&str>, expect: Option<&str>) -> CheckKind {
    CheckKind::Tcp(exchange(send, expect))
}

/// As the file's defaults are.
pub(crate) fn request() -> CheckHttp {
    CheckHttp {
        tls: None,
        method: "GET".to_owned(),
        path: "/".to_owned(),
        host: None,
        headers: Vec::new(),
        statuses: vec![200..=399],
        expect: None,
        body_limit: 65_536,
        drain_signs: Vec::new(),
    }
}

pub(crate) fn https() -> CheckHttp {
    CheckHttp { tls: Some(CheckTls::default()), ..request() }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// How a probe ended, and its steps.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) steps: Vec<CheckStep>,
}

impl Run {
    /// The code, and the words.
    pub(crate) fn said(&self) -> (&'static str, &str) {
        (self.outcome.code.name(), &self.outcome.detail)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.outcome.code.name()
    }

    pub(crate) fn step_names(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.step.as_str()).collect()
    }
}

/// Probes once, and holds the probe to its timeout and its words.
///
/// A thread that does not run for a while ends nothing in time. So the measure is a timer beside the probe.
pub(crate) fn run_by(check: Check, way: Way) -> Run {
    let timeout = check.timeout;
    let prepared = Prepared::new(Arc::new(check)).unwrap();
    let runtime = runtime();
    let mut steps = Vec::new();
    let (outcome, ended, timer) = runtime.block_on(async {
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            Instant::now()
        });
        let begin = Instant::now();
        let outcome = probe(&prepared, &way, &mut steps).await;
        let ended = Instant::now();
        if begin.elapsed() < timeout {
            timer.abort();
        }
        (outcome, ended, timer.await.ok())
    });
    if let Some(timer) = timer {
        assert!(ended <= timer + LATE, "{:?} too late: {outcome:?}", ended - timer);
    }
    assert_eq!(outcome.code.is_success(), outcome.detail.is_empty(), "{outcome:?}");
    if let Some(last) = steps.last() {
        assert!(outcome.code.is_success() || last.detail == outcome.detail, "{steps:?}");
    }
    assert!(steps.is_sorted_by_key(|step| step.at_us), "{steps:?}");
    Run { outcome, steps }
}

pub(crate) fn run(check: Check, to: SocketAddr) -> Run {
    run_by(check, Way { to: To::Port(to), source: None })
}
