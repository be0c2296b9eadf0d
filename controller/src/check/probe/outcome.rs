//! What a probe says: how it ended, and each step for those who ask.

use std::time::{Duration, SystemTime};

use guideway_api::{CheckCode, CheckStep};

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// In one word.
    pub code: CheckCode,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// What failed and why, in words; empty after a success.
    pub detail: String,
    /// The time from the probe's begin to its end.
    pub latency: Duration,
    /// The end of the server's certificate, if it showed one that could be read.
    pub certificate_ends: Option<SystemTime>,
}

/// Is told the steps of a probe as they end.
///
/// The names are `socket`, `connect`, `tls`, `send`, `receive`, `response`, `body` and `echo`.
pub trait Steps {
    /// A step has ended, that long after the probe's begin. The last step of a probe that fails says why.
    fn step(&mut self, name: &'static str, at: Duration, detail: impl FnOnce() -> String);
}

/// Steps that nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untold;

impl Steps for Untold {
    fn step(&mut self, _: &'static str, _: Duration, _: impl FnOnce() -> String) {}
}

impl Steps for Vec<CheckStep> {
    fn step(&mut self, name: &'static str, at: Duration, detail: impl FnOnce() -> String) {
        let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.push(CheckStep { step: name.to_owned(), at_us, detail: detail() });
    }
}
