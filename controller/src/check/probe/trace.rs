//! How far a probe has come. What is known outlives a probe that runs out of time.

use std::time::{Duration, Instant, SystemTime};

use guideway_api::CheckCode;

use super::outcome::{Outcome, Steps};

/// What a probe is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Socket,
    Connect,
    Tls,
    Send,
    Receive,
    Response,
    Body,
    Echo,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Socket => "socket",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Send => "send",
            Stage::Receive => "receive",
            Stage::Response => "response",
            Stage::Body => "body",
            Stage::Echo => "echo",
        }
    }
}

/// How a probe ends: in one word, and why if it fails.
#[derive(Debug)]
pub(super) struct Verdict {
    code: CheckCode,
    detail: String,
}

impl Verdict {
    pub(super) fn success(code: CheckCode) -> Verdict {
        Verdict { code, detail: String::new() }
    }

    pub(super) fn failure(code: CheckCode, detail: impl Into<String>) -> Verdict {
        Verdict { code, detail: detail.into() }
    }
}

/// A probe under way.
pub(super) struct Trace<'a, S> {
    begin: Instant,
    steps: &'a mut S,
    stage: Stage,
    /// The HTTP status, if one came.
    pub(super) status: Option<u16>,
    /// The end of the server's certificate.
    pub(super) certificate_ends: Option<SystemTime>,
    /// Bytes of the answer that have come.
    pub(super) received: usize,
}

impl<'a, S: Steps> Trace<'a, S> {
    pub(super) fn new(steps: &'a mut S) -> Trace<'a, S> {
        Trace {
            begin: Instant::now(),
            steps,
            stage: Stage::Socket,
            status: None,
            certificate_ends: None,
            received: 0,
        }
    }

    /// The next stage begins.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The stage has ended well.
    pub(super) fn done(&mut self, detail: impl FnOnce() -> String) {
        self.steps.step(self.stage.name(), self.begin.elapsed(), detail);
    }

    /// How a probe ends whose time is over.
    pub(super) fn out_of_time(&self, timeout: Duration) -> Verdict {
        let limit = humantime::format_duration(timeout);
        let bytes = self.received;
        match self.stage {
            Stage::Socket | Stage::Connect => {
                Verdict::failure(CheckCode::L4Tout, format!("no connection within {limit}"))
            }
            Stage::Echo => {
                Verdict::failure(CheckCode::L4Tout, format!("no echo reply within {limit}"))
            }
            Stage::Tls => {
                Verdict::failure(CheckCode::L6Tout, format!("no TLS session within {limit}"))
            }
            Stage::Send => Verdict::failure(
                CheckCode::L7Tout,
                format!("the server did not take what is sent within {limit}"),
            ),
            Stage::Receive if bytes == 0 => {
                Verdict::failure(CheckCode::L7Tout, format!("no answer within {limit}"))
            }
            Stage::Receive => Verdict::failure(
                CheckCode::L7Tout,
                format!("{bytes} bytes within {limit}, without what is expected"),
            ),
            Stage::Response => {
                Verdict::failure(CheckCode::L7Tout, format!("no response within {limit}"))
            }
            Stage::Body => Verdict::failure(
                CheckCode::L7Tout,
                format!("the response's body was not whole within {limit}: {bytes} bytes came"),
            ),
        }
    }

    /// The probe has ended.
    pub(super) fn end(self, verdict: Verdict) -> Outcome {
        let latency = self.begin.elapsed();
        let Verdict { code, detail } = verdict;
        if !code.is_success() {
            self.steps.step(self.stage.name(), latency, || detail.clone());
        }
        Outcome {
            code,
            status: self.status,
            detail,
            latency,
            certificate_ends: self.certificate_ends,
        }
    }
}
