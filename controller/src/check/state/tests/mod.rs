//! Known sequences for each rule, and a model of all of them.

mod against;
mod edits;
mod model;
mod panics;
mod reloads;
mod results;
mod site;
mod speed;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use guideway_api::{CheckCode, CheckRow, CheckState, SetState};
use guideway_chassis::wall::Wall;

use self::site::{Site, member};
use crate::check::*;

const START: u64 = 1_700_000_000_000;

fn result(code: CheckCode) -> ProbeResult {
    let (status, detail) = match code {
        CheckCode::L7Sts => (Some(503), "the response's status is not expected"),
        code if code.is_success() => (None, ""),
        _ => (None, "it failed"),
    };
    ProbeResult { code, status, detail: detail.into(), latency: Duration::from_micros(12_345) }
}

/// A success, a sign to drain, a failure, the node's own error.
fn code(letter: char) -> CheckCode {
    match letter {
        's' => CheckCode::L7Ok,
        'd' => CheckCode::L7OkC,
        'f' => CheckCode::L7Sts,
        'e' => CheckCode::SockErr,
        other => panic!("{other}"),
    }
}

/// The states of one site, with a clock.
struct Rig {
    site: Site,
    states: States,
    start: Instant,
    now: Duration,
}

impl Rig {
    fn new(site: Site) -> Rig {
        let mut rig = Rig::empty(site);
        rig.reload();
        rig
    }

    fn empty(site: Site) -> Rig {
        Rig { site, states: States::new(), start: Instant::now(), now: Duration::ZERO }
    }

    /// A controller that starts while backends are set like this.
    fn beside(site: Site, earlier: &[(&str, SetState)]) -> Rig {
        let mut rig = Rig::empty(site);
        let earlier = earlier.iter().map(|&(backend, state)| {
            (member("p", backend), Wanted { state, reason: "check old: it was so".into() })
        });
        let earlier: BTreeMap<_, _> = earlier.collect();
        let plan = rig.site.plan();
        rig.states.configure(&plan, Some(&earlier), rig.steady(), rig.wall());
        rig
    }

    fn steady(&self) -> Instant {
        self.start + self.now
    }

    fn wall(&self) -> Wall {
        Wall(START).after(self.now)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn reload(&mut self) -> Vec<Change> {
        self.states.configure(&self.site.plan(), None, self.steady(), self.wall())
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Site)) -> Vec<Change> {
        edit(&mut self.site);
        self.reload()
    }

    fn key(&self, last: u8) -> TargetKey {
        self.site.key("p", "web", 80, last)
    }

    /// Results of the first check of backend `last`, by their letters.
    fn results(&mut self, last: u8, letters: &str) -> Vec<Change> {
        let key = self.key(last);
        self.results_of(&key, letters)
    }

    fn results_of(&mut self, key: &TargetKey, letters: &str) -> Vec<Change> {
        let (now, wall) = (self.steady(), self.wall());
        let results = letters.chars().map(|letter| result(code(letter)));
        results.flat_map(|result| self.states.result(key, result, now, wall)).collect()
    }

    fn all(&mut self, letters: &str) -> Vec<Change> {
        let keys: Vec<_> = self.site.plan().targets.into_keys().collect();
        keys.iter().flat_map(|key| self.results_of(key, letters)).collect()
    }

    fn row(&self, last: u8) -> CheckRow {
        let member = member("p", &format!("b{last}"));
        self.states.row(&self.key(last), &member).unwrap()
    }

    fn state(&self, last: u8) -> CheckState {
        self.row(last).state
    }

    /// What is wanted of the backends of pool `p`: a letter for each, `.` for nothing.
    fn wanted(&self) -> String {
        let backends = self.site.pools["p"].backends.keys();
        let letters =
            backends.map(|backend| match self.states.wanted().get(&member("p", backend)) {
                None => '.',
                Some(Wanted { state: SetState::Draining, .. }) => 'd',
                Some(Wanted { state: SetState::Down, .. }) => 'D',
                Some(other) => panic!("{other:?}"),
            });
        letters.collect()
    }

    fn reason(&self, last: u8) -> String {
        self.states.wanted()[&member("p", &format!("b{last}"))].reason.to_string()
    }
}

/// A figure, which `--nocapture` shows.
#[expect(clippy::print_stdout, reason = "figures of a test")]
fn figure(text: &str) {
    println!("{text}");
}

/// The letters of a state: unknown, up, draining, down.
fn letter(state: CheckState) -> char {
    match state {
        CheckState::Unknown => '?',
        CheckState::Up => 'u',
        CheckState::Draining => 'g',
        CheckState::Down => 'D',
    }
}

/// The panics among changes: `P` that began, `C` that ended.
fn panics(changes: &[Change]) -> String {
    let letters = changes.iter().filter_map(|change| match change {
        Change::Panic { .. } => Some('P'),
        Change::Calm { .. } => Some('C'),
        _ => None,
    });
    letters.collect()
}
