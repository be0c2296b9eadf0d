//! Ring steering: what a packet costs that one worker polls and another owns, both workers' work added, beside a packet
//! that stays with the worker that polls it.
//!
//! The same two threads measure all cases in turn, round by round. A worker's work is the ticks of the CPU's counter
//! from before it takes a burst until after that is freed or passed on. Polls that find nothing are not counted, nor
//! is the writing of headers, which a NIC does, nor what interrupts a worker. The ring between the two never overflows, except where the owner is
//! stopped.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use anyhow::{Context, Result, anyhow, ensure};
use cost::part::{Part, progress};
use cost::sample::Measured;
use cost::stage;
use guideway::dpdk::clock::tsc_hz;
use guideway::dpdk::{BURST, Eal, Mempool, lcore, ring};
use guideway::worker::{OwnerOutput, Owners, RingQueue};
use guideway_core::balancer::passed::Passed;
use serde_json::{Value, json};

use crate::poller::{ALL_FLOWS, Poller, Work};

const ROUNDS: usize = 41;
const BURSTS: usize = 2000;
/// Size of a ring between two workers, as in an appliance.
const RING: u32 = 1024;
/// Workers of [`Step::Many`].
const MANY: usize = 16;
/// Packets that may wait in a ring so that another burst fits.
const WAITING: u64 = RING as u64 - 1 - BURST as u64;

/// What both workers do at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// One worker, the first or the second, polls packets that stay with it. The other rests.
    Stay(usize),
    /// The first worker polls all packets, and the second owns them.
    Pass,
    /// The first worker polls all packets, and each owns the half.
    Half,
    /// The first worker polls all packets, and owns those of one worker among [`MANY`]. The second owns all others: it has
    /// the rings of all other workers.
    Many,
    /// As [`Step::Pass`], but the second worker is stopped and its ring full.
    Stopped,
    /// The second worker takes what has waited in its ring.
    Resume,
}

const STEPS: [Step; 7] =
    [Step::Stay(0), Step::Stay(1), Step::Pass, Step::Half, Step::Many, Step::Stopped, Step::Resume];

/// What a worker did in each step of a round.
type Round = [Work; STEPS.len()];

/// Where the workers meet.
struct Meeting {
    /// Both begin a step together.
    barrier: Barrier,
    /// Packets that the second worker has taken in this step.
    taken: Line<AtomicU64>,
    /// The first worker has passed its last packet of this step.
    ended: Line<AtomicBool>,
}

/// A value that shares no cache line, nor one that CPUs fetch with it.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// Measures, and adds the claim.
pub(crate) fn measure(part: &mut Part, eal: &Eal, pool: &Mempool) -> Result<()> {
    progress("ring steering");
    let cpus = stage::cpus()?;
    ensure!(cpus.len() >= 2, "ring steering wants two CPUs, and there is one");
    let meeting = Arc::new(Meeting {
        barrier: Barrier::new(2),
        taken: Line::default(),
        ended: Line::default(),
    });
    let poller = |name: &str| Poller::new(eal, pool, name, None);
    let pair = |name: &str, workers, own| -> Result<(Poller, Owner)> {
        let (owners, rings) = owners(eal, pool, name, workers, own)?;
        let polls = Poller::new(eal, pool, &format!("{name}-polls"), Some(owners))?;
        Ok((polls, Owner { poller: poller(&format!("{name}-owns"))?, rings }))
    };
    // Of one owner are all packets.
    let (pass, pass_owner) = pair("pass", 1, None)?;
    let (half, half_owner) = pair("half", 2, Some(0))?;
    let (many, many_owner) = pair("many", MANY, Some(0))?;
    let mut first = First { stay: poller("stay0")?, pass, half, many, failure: None };
    let mut second = Second {
        stay: poller("stay1")?,
        pass: pass_owner,
        half: half_owner,
        many: many_owner,
        failure: None,
    };
    let other = Arc::clone(&meeting);
    let first = lcore::spawn(eal, "first", Some(cpus[0]), move || {
        let rounds = rounds(|step, bursts| first.step(step, bursts, &meeting));
        first.failure.map_or(Ok((rounds, first.pass.dropped())), Err)
    });
    let second = lcore::spawn(eal, "second", Some(cpus[1]), move || {
        let rounds = rounds(|step, bursts| second.step(step, bursts, &other));
        second.failure.map_or(Ok((rounds, second.pass.poller.hits())), Err)
    });
    let panicked = |_| anyhow!("a worker panicked");
    let (first, second) = (first?.join().map_err(panicked)?, second?.join().map_err(panicked)?);
    let (first, dropped) = first.context("the first worker")?;
    let (second, hits) = second.context("the second worker")?;
    check(&first, &second, dropped, hits)?;
    report(part, &first, &second, tsc_hz(eal) as f64 / 1e9);
    Ok(())
}

/// The rings to the workers among which flows are divided, of which the polling worker may be one.
fn owners(
    eal: &Eal,
    pool: &Mempool,
    name: &str,
    workers: usize,
    own: Option<usize>,
) -> Result<(Owners, Vec<ring::Receiver<Passed>>)> {
    let (mut outputs, mut rings) = (Vec::new(), Vec::new());
    for worker in 0..workers {
        if own == Some(worker) {
            outputs.push(None);
            continue;
        }
        let (to, from) = ring::channel_with_notes(eal, &format!("{name}{worker}"), RING, None)?;
        outputs.push(Some(OwnerOutput::new(RingQueue::new(to, false))));
        rings.push(from);
    }
    Ok((Owners { pool: pool.clone(), outputs }, rings))
}

/// Begins all flows, makes them known, and measures. Returns the measured rounds.
fn rounds(mut step: impl FnMut(Step, Bursts) -> Work) -> Vec<Round> {
    for bursts in [Bursts::Begin, Bursts::Confirm] {
        for of in [Step::Stay(0), Step::Stay(1), Step::Pass, Step::Half, Step::Many] {
            step(of, bursts);
        }
    }
    (0..ROUNDS).map(|_| STEPS.map(|of| step(of, Bursts::Measure))).collect()
}

/// What is polled in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bursts {
    /// A SYN of each flow.
    Begin,
    /// A segment of each flow.
    Confirm,
    /// Segments of many flows.
    Measure,
}

impl Bursts {
    fn count(self) -> usize {
        match self {
            Bursts::Begin | Bursts::Confirm => ALL_FLOWS,
            Bursts::Measure => BURSTS,
        }
    }
}

/// The worker that polls for both.
struct First {
    stay: Poller,
    pass: Poller,
    half: Poller,
    many: Poller,
    failure: Option<anyhow::Error>,
}

impl First {
    fn step(&mut self, step: Step, bursts: Bursts, meeting: &Meeting) -> Work {
        meeting.ended.0.store(false, Ordering::Relaxed);
        meeting.barrier.wait();
        let work = match step {
            Step::Stay(0) => poll(&mut self.stay, bursts, u64::MAX, meeting),
            Step::Pass => poll(&mut self.pass, bursts, WAITING, meeting),
            Step::Half => poll(&mut self.half, bursts, WAITING, meeting),
            Step::Many => poll(&mut self.many, bursts, WAITING, meeting),
            Step::Stopped => poll(&mut self.pass, bursts, u64::MAX, meeting),
            Step::Stay(_) | Step::Resume => Ok(Work::default()),
        };
        meeting.ended.0.store(true, Ordering::Release);
        meeting.barrier.wait();
        kept(&mut self.failure, work)
    }
}

/// The worker that owns what the first passes on.
struct Second {
    stay: Poller,
    pass: Owner,
    half: Owner,
    many: Owner,
    failure: Option<anyhow::Error>,
}

/// A worker that owns flows, and the rings by which their packets come.
struct Owner {
    poller: Poller,
    rings: Vec<ring::Receiver<Passed>>,
}

impl Second {
    fn step(&mut self, step: Step, bursts: Bursts, meeting: &Meeting) -> Work {
        meeting.taken.0.store(0, Ordering::Relaxed);
        meeting.barrier.wait();
        let work = match step {
            Step::Stay(1) => poll(&mut self.stay, bursts, u64::MAX, meeting),
            Step::Pass | Step::Resume => Ok(take(&mut self.pass, meeting)),
            Step::Half => Ok(take(&mut self.half, meeting)),
            Step::Many => Ok(take(&mut self.many, meeting)),
            Step::Stay(_) | Step::Stopped => Ok(Work::default()),
        };
        meeting.barrier.wait();
        kept(&mut self.failure, work)
    }
}

/// The work, or none after a failure. Both workers go through all steps, so that neither waits for ever.
fn kept(failure: &mut Option<anyhow::Error>, work: Result<Work>) -> Work {
    work.unwrap_or_else(|error| {
        failure.get_or_insert(error);
        Work::default()
    })
}

/// Polls so many bursts, each when at most `waiting` packets wait at the other worker.
fn poll(poller: &mut Poller, bursts: Bursts, waiting: u64, meeting: &Meeting) -> Result<Work> {
    poller.begin_flows(bursts == Bursts::Begin);
    let (mut work, mut passed) = (Work::default(), 0);
    for _ in 0..bursts.count() {
        while passed - meeting.taken.0.load(Ordering::Acquire).min(passed) > waiting {
            hint::spin_loop();
        }
        let (done, sent) = poller.poll()?;
        work.add(done);
        passed += done.packets - sent;
    }
    Ok(work)
}

/// Takes what the first worker passes on, until it has passed its last packet.
fn take(owner: &mut Owner, meeting: &Meeting) -> Work {
    let mut work = Work::default();
    loop {
        let has_ended = meeting.ended.0.load(Ordering::Acquire);
        let before = work.packets;
        for ring in &mut owner.rings {
            work.add(owner.poller.take_passed(ring));
        }
        if work.packets > before {
            meeting.taken.0.store(work.packets, Ordering::Release);
        } else if has_ended {
            return work;
        }
    }
}

/// The place of a step in a round.
fn place(step: Step) -> usize {
    STEPS.iter().position(|&of| of == step).unwrap_or(0)
}

/// Fails if packets were lost where they must not be, or were not of known flows.
fn check(first: &[Round], second: &[Round], dropped: u64, hits: u64) -> Result<()> {
    let sum = |rounds: &[Round], step| -> u64 {
        rounds.iter().map(|round| round[place(step)].packets).sum()
    };
    let (passed, resumed) = (sum(second, Step::Pass), sum(second, Step::Resume));
    ensure!(passed == sum(first, Step::Pass), "{passed} packets arrived of those passed on");
    let lost = sum(first, Step::Stopped) - resumed;
    ensure!(dropped == lost, "{dropped} packets are counted as dropped, and {lost} are missing");
    ensure!(hits * 100 >= passed * 99, "{hits} of {passed} packets were of known flows");
    Ok(())
}

/// The nanoseconds that one worker has spent in a step, for each packet that is polled in it.
fn spent(worker: &[Round], polling: &[Round], step: Step, ticks_per_ns: f64) -> Vec<f64> {
    let each = worker.iter().zip(polling);
    each.map(|(worker, polling)| {
        let packets = polling[place(step)].packets.max(1);
        worker[place(step)].ticks as f64 / packets as f64 / ticks_per_ns
    })
    .collect()
}

/// Adds the table and the claim.
fn report(part: &mut Part, first: &[Round], second: &[Round], ticks_per_ns: f64) {
    let sums = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
    let alone = |worker, step| spent(worker, worker, step, ticks_per_ns);
    // The two CPUs may differ in speed.
    let both = sums(&alone(first, Step::Stay(0)), &alone(second, Step::Stay(1)));
    let stay: Vec<f64> = both.iter().map(|both| both / 2.0).collect();
    let over_stay = |cost: &[f64]| -> Measured {
        Measured::of(&cost.iter().zip(&stay).map(|(cost, stay)| cost / stay).collect::<Vec<_>>())
    };
    let row = |what: &str, polling: &[f64], owning: &[f64]| -> Vec<Value> {
        let both = sums(polling, owning);
        let sum = Measured::of(&both);
        let ratio = format!("{:.2}", over_stay(&both).median);
        vec![
            json!(what),
            json!(Measured::of(polling).ns()),
            json!(Measured::of(owning).ns()),
            json!(sum.ns()),
            json!(sum.percent()),
            json!(ratio),
        ]
    };
    let mut rows = vec![row("stays with the worker that polls it", &stay, &vec![0.0; ROUNDS])];
    for (what, step) in [
        ("is another worker's", Step::Pass),
        ("is either worker's, half and half", Step::Half),
        ("is that of any of 16 workers", Step::Many),
        ("is that of a worker that has stopped", Step::Stopped),
    ] {
        let (polling, owning) = (alone(first, step), spent(second, first, step, ticks_per_ns));
        rows.push(row(what, &polling, &owning));
        if step == Step::Pass {
            let Measured { median, spread } = over_stay(&sums(&polling, &owning));
            let claim = "A packet that another worker owns over one that stays";
            part.at_most(claim, 1.8, "", median, spread);
        }
    }
    let columns = ["a packet", "polling", "owning", "both", "spread", "over one that stays"];
    let note = "With taking the buffer from the pool and freeing it. Each worker has 65,536 flows.";
    part.table(("steering", "Ring steering, TCP hits"), &columns, rows, note);
}
