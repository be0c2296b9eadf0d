//! Part `figures` of the benchmark: figures 11 and 12 of the Maglev paper (Eisenbud et al., NSDI 2016,
//! section 5.3), with Guideway's tables in place of Maglev's, beside ring hashing and rendezvous hashing.
//!
//! As in the paper there are 1,000 backends, and each method fills a table. The results are each backend's
//! number of slots, and how many slots change when k random backends are removed, on average over 200 draws.
//! Unlike the paper, this part also shows the balance after the removal. It uses no clock, and all random
//! numbers follow from fixed seeds, so every run has the same result.
//!
//! The plots go to `docs/figures`.

mod hashing;
#[path = "../part/mod.rs"]
mod part;
mod plot;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use hashing::{BACKENDS, Maglev, Method, Rendezvous, Ring, VIRTUAL_NODES, mix};
use part::{Part, grouped, percent};
use plot::{Bars, Line, Lines};

const SIZES: [u32; 2] = [65_537, 655_373];

/// Numbers of backends to remove.
const REMOVED: [usize; 11] = [1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100];

/// Draws for each number of backends, as in the paper.
const DRAWINGS: u64 = 200;

/// Limits that Maglev tables of these sizes stay well below.
const MOST_NEEDLESS: f64 = 0.05;

/// By how many percent backends must be overprovisioned according to the paper, by method and size. Maglev is
/// missing: the paper calls its balance almost perfect.
const PAPER: [[&str; 2]; 3] = [["", ""], ["29.7 %", "10.3 %"], ["49.5 %", "12.3 %"]];

/// The results of one method and one size of table.
struct Case {
    name: String,
    paper: &'static str,
    size: u32,
    whole: Shares,
    /// The results after each number of [`REMOVED`].
    after: Vec<After>,
}

/// The smallest and the largest share of a backend, relative to the average.
#[derive(Clone, Copy)]
struct Shares {
    least: f64,
    most: f64,
}

/// The change of a table, on average over the draws.
#[derive(Clone, Copy, Default)]
struct After {
    /// Fraction of slots that have another backend.
    changed: f64,
    /// Fraction of slots that changed although their backend stayed.
    needless: f64,
    overprovisioning: f64,
}

fn main() -> Result<()> {
    let mut part = Part::new("figures");
    let mut cases = Vec::new();
    for (at, size) in SIZES.into_iter().enumerate() {
        cases.push(case(PAPER[0][at], size, &Maglev::new(size))?);
        cases.push(case(PAPER[1][at], size, &Ring::new(size))?);
        cases.push(case(PAPER[2][at], size, &Rendezvous::new(size))?);
    }
    balance(&mut part, &cases);
    removal(&mut part, &cases);
    draw(&cases)?;
    part.print();
    Ok(())
}

fn case<M: Method>(paper: &'static str, size: u32, method: &M) -> Result<Case> {
    let name = M::NAME.to_owned();
    eprint!("{name}, {} slots:", grouped(size));
    let before = method.table(&[true; BACKENDS]);
    let whole = shares(&before, BACKENDS);
    let mut after = Vec::new();
    for removed in REMOVED {
        let mut sum = After::default();
        for drawing in 0..DRAWINGS {
            let staying = staying(removed, drawing);
            let table = method.table(&staying);
            let changed = |needless: bool| {
                let pairs = before.iter().zip(&table);
                let changed =
                    pairs.filter(|&(b, a)| a != b && (!needless || staying[usize::from(*b)]));
                changed.count() as f64 / f64::from(size)
            };
            sum.changed += changed(false) / DRAWINGS as f64;
            sum.needless += changed(true) / DRAWINGS as f64;
            let most = shares(&table, BACKENDS - removed).most;
            sum.overprovisioning += (most - 1.0) / DRAWINGS as f64;
        }
        eprint!(" {removed}");
        after.push(sum);
    }
    eprintln!(" backends removed");
    let case = Case { name, paper, size, whole, after };
    case.check(M::MOVES_NEEDLESSLY)?;
    Ok(case)
}

impl Case {
    fn label(&self) -> String {
        format!("{}, {} slots", self.name, grouped(self.size))
    }

    /// Checks properties that hold for any seeds.
    fn check(&self, moves_needlessly: bool) -> Result<()> {
        let needless = self.after.iter().map(|after| after.needless);
        if !moves_needlessly {
            ensure!(needless.sum::<f64>() == 0.0, "{} moved slots needlessly", self.label());
            return Ok(());
        }
        let slot = BACKENDS as f64 / f64::from(self.size);
        let Shares { least, most } = self.whole;
        ensure!(
            most < 1.0 + slot && least > 1.0 - slot,
            "{}: shares from {least} to {most}, more than a slot ({slot}) from the average",
            self.label()
        );
        let changed = self.after.iter().map(|after| after.changed);
        ensure!(changed.is_sorted(), "{}: more backends went, and less changed", self.label());
        for (removed, after) in REMOVED.iter().zip(&self.after) {
            ensure!(
                after.needless < MOST_NEEDLESS,
                "{}: {} of the slots changed needlessly when {removed} backends went",
                self.label(),
                after.needless
            );
        }
        Ok(())
    }
}

/// Which backends stay in a draw.
fn staying(removed: usize, drawing: u64) -> [bool; BACKENDS] {
    let mut staying = [true; BACKENDS];
    let mut left = removed;
    for draw in 0.. {
        let random = mix(mix(drawing << 32 | removed as u64) ^ draw);
        #[expect(clippy::cast_possible_truncation, reason = "one of a thousand")]
        let backend = &mut staying[(random % BACKENDS as u64) as usize];
        left -= usize::from(std::mem::take(backend));
        if left == 0 {
            break;
        }
    }
    staying
}

/// The shares of the backends in a table in which `backends` of them have slots.
fn shares(table: &[u16], backends: usize) -> Shares {
    let mut slots = [0u32; BACKENDS];
    for &backend in table {
        slots[usize::from(backend)] += 1;
    }
    slots.sort_unstable();
    let average = table.len() as f64 / backends as f64;
    let share = |slots: u32| f64::from(slots) / average;
    Shares { least: share(slots[BACKENDS - backends]), most: share(slots[BACKENDS - 1]) }
}

fn balance(part: &mut Part, cases: &[Case]) {
    let rows = cases.iter().map(|case| {
        vec![
            json!(case.name),
            json!(grouped(case.size)),
            json!(percent(case.whole.least)),
            json!(percent(case.whole.most)),
            json!(percent(case.whole.most - 1.0)),
            json!(case.paper),
        ]
    });
    part.table(
        ("balance", "Figure 11: shares of 1,000 backends, of the average"),
        &["hashing", "slots", "least", "most", "overprovisioning", "in the paper"],
        rows.collect(),
        "Overprovisioning: what a backend must be able to take beyond the average. One table each, so that some \
         of what ring and rendezvous hashing show is luck.",
    );
}

fn removal(part: &mut Part, cases: &[Case]) {
    let cell = |part: f64| json!(format!("{:.2} %", 100.0 * part));
    let maglev = || cases.iter().filter(|case| case.name == Maglev::NAME);
    let mut columns = vec!["removed".to_owned(), "ring, rendezvous".to_owned()];
    columns.extend(maglev().flat_map(|case| [case.label(), "of backends that stay".to_owned()]));
    let rows = REMOVED.iter().enumerate().map(|(at, &removed)| {
        let of_case = |case: &Case| [cell(case.after[at].changed), cell(case.after[at].needless)];
        let must = cell(removed as f64 / BACKENDS as f64);
        [json!(removed), must].into_iter().chain(maglev().flat_map(of_case)).collect()
    });
    part.table(
        ("disruption", "Figure 12: slots that change when some of 1,000 backends go"),
        &columns.iter().map(String::as_str).collect::<Vec<_>>(),
        rows.collect(),
        "By ring and rendezvous hashing only the slots of those that go change; a table must change as much.",
    );

    let columns = std::iter::once("removed".to_owned()).chain(cases.iter().map(Case::label));
    let columns: Vec<String> = columns.collect();
    let rows = REMOVED.iter().enumerate().map(|(at, removed)| {
        let cells = cases.iter().map(|case| cell(case.after[at].overprovisioning));
        std::iter::once(json!(removed)).chain(cells).collect()
    });
    part.table(
        ("balance-after", "Overprovisioning when some of 1,000 backends have gone"),
        &columns.iter().map(String::as_str).collect::<Vec<_>>(),
        rows.collect(),
        "The most that a backend has, beyond the average of those that stay.",
    );
}

fn draw(cases: &[Case]) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/figures");
    std::fs::create_dir_all(&folder)?;
    let write = |name: &str, svg: String| {
        let file = folder.join(name);
        std::fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))
    };
    let bars = cases.iter().map(|case| (case.label(), case.whole.least, case.whole.most));
    write(
        "balance.svg",
        Bars {
            title: "Shares of 1,000 backends, least to most",
            x: "slots of a backend, in percent of the average",
            bars: bars.collect(),
        }
        .svg(),
    )?;
    let lines = |of: fn(&After) -> f64| {
        let line = |case: &Case| Line {
            label: case.label(),
            points: REMOVED
                .iter()
                .map(|&removed| removed as f64)
                .zip(case.after.iter().map(of))
                .collect(),
        };
        cases.iter().map(line).collect::<Vec<_>>()
    };
    let mut changed = lines(|after| after.changed);
    // Ring and rendezvous hashing change only the slots of removed backends, in tables of any size.
    changed.retain(|line| line.label.starts_with(Maglev::NAME));
    let must = REMOVED.map(|removed| (removed as f64, removed as f64 / BACKENDS as f64));
    changed.push(Line { label: "the least: ring, rendezvous".to_owned(), points: must.to_vec() });
    write(
        "disruption.svg",
        Lines {
            title: "Slots that change when some of 1,000 backends go",
            x: "removed backends",
            y: "changed slots",
            lines: changed,
        }
        .svg(),
    )?;
    write(
        "overprovisioning.svg",
        Lines {
            title: "Overprovisioning when some of 1,000 backends have gone",
            x: "removed backends",
            y: "most beyond the average",
            lines: lines(|after| after.overprovisioning),
        }
        .svg(),
    )?;
    eprintln!(
        "plots in {} ({VIRTUAL_NODES} points on the ring for each backend)",
        folder.display()
    );
    Ok(())
}
