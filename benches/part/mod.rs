//! A part of the benchmark, in Rust: measures its cases in turns until each spread is small, and prints the
//! object that `benches/report.py` reads.
#![allow(
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "a module of several benchmarks, each with its needs"
)]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The result of a part so far.
pub struct Part {
    name: &'static str,
    load: f64,
    tables: Vec<Value>,
    claims: Vec<Value>,
}

impl Part {
    pub fn new(name: &'static str) -> Part {
        Part { name, load: load(), tables: Vec::new(), claims: Vec::new() }
    }

    pub fn table(
        &mut self,
        (name, title): (&str, &str),
        columns: &[&str],
        rows: Vec<Vec<Value>>,
        note: &str,
    ) {
        self.tables.push(json!({
            "name": name, "title": title, "columns": columns, "rows": rows, "note": note,
        }));
    }

    /// Adds a claim that `measured` is at most `target`.
    pub fn at_most(&mut self, claim: &str, target: f64, unit: &str, measured: f64, spread: f64) {
        let met = measured <= target;
        self.claim(claim, ("at most", target, unit), (measured, spread), met);
    }

    /// Adds a claim that `measured` is at least `target`.
    pub fn at_least(&mut self, claim: &str, target: f64, unit: &str, measured: f64, spread: f64) {
        let met = measured >= target;
        self.claim(claim, ("at least", target, unit), (measured, spread), met);
    }

    fn claim(
        &mut self,
        claim: &str,
        (bound, target, unit): (&str, f64, &str),
        (measured, spread): (f64, f64),
        met: bool,
    ) {
        self.claims.push(json!({
            "claim": claim, "bound": bound, "target": target, "unit": unit,
            "measured": measured, "spread": spread, "met": met,
        }));
    }

    /// Prints the object.
    #[expect(clippy::print_stdout, reason = "the object is the program's purpose")]
    pub fn print(self) {
        let Part { name, load: before, tables, claims } = self;
        let machine = json!({ "cpu": cpu() });
        println!(
            "{}",
            json!({
                "part": name, "load": [before, load()], "machine": machine,
                "tables": tables, "claims": claims,
            })
        );
    }
}

/// Prints what is being measured, on stderr.
pub fn progress(what: &str) {
    eprintln!("  {what}");
}

fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// The CPU, with its generation by CPUID: the name in a virtual machine often hides that.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let fields = text.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.trim() == name).map(|(_, value)| value).next()
    };
    let [name, family, model] =
        ["model name", "cpu family", "model"].map(|name| field(name).unwrap_or("unknown"));
    let cpus = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{name} (family {family}, model {model}), {cpus} CPUs")
}

/// Times of one case, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Half the interquartile range over the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0 / self.median()
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of the times"
        )]
        let index = ((sorted.len() - 1) as f64 * part).round() as usize;
        sorted[index]
    }
}

/// How many rounds to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Least number of rounds over all cases.
    pub rounds: usize,
    /// Rounds continue while a case has a wider spread.
    pub spread: f64,
    /// No round starts after this time.
    pub limit: Duration,
}

/// Runs `round` repeatedly. It adds one time to each case; the times of its first run are not used.
pub fn repeat<const N: usize>(
    effort: Effort,
    mut round: impl FnMut(&mut [Times; N]),
) -> [Times; N] {
    round(&mut std::array::from_fn(|_| Times::default()));
    let mut times: [Times; N] = std::array::from_fn(|_| Times::default());
    let start = Instant::now();
    for done in 1.. {
        round(&mut times);
        let widest = times.iter().map(Times::spread).fold(0.0, f64::max);
        if done % 25 == 0 {
            eprintln!("round {done}: widest spread {:.1} %", 100.0 * widest);
        }
        let enough = done >= effort.rounds && widest <= effort.spread;
        if enough || start.elapsed() > effort.limit {
            break;
        }
    }
    times
}

/// Runs `work`. Returns how long it took, and its result, so that the caller drops the result untimed.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = std::hint::black_box(work());
    (start.elapsed(), result)
}

/// A number with its digits in groups of three.
pub fn grouped(number: u32) -> String {
    match (number / 1000, number % 1000) {
        (0, below) => below.to_string(),
        (thousands, below) => format!("{},{below:03}", grouped(thousands)),
    }
}

/// Milliseconds with three digits, for a table.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        _ if ms < 1.0 => format!("{ms:.3} ms"),
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

pub fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}
