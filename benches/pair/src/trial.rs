//! One trial: traffic of one rate for some time, and the packets that came back.

use std::fmt;

use anyhow::{Context, Result};
use guideway::dpdk::clock::tsc;
use guideway::dpdk::queue::{RxQueue, TxQueue};
use guideway::dpdk::{BURST, Burst, Mempool};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::packet::{self, Content, LENGTH};

/// After the last packet is sent: seconds without a packet that end the wait for the rest.
const SILENCE: f64 = 0.02;
/// Seconds of traffic that the generator makes up for at the most, if it did not run for some time. It skips
/// older packets, because they would be one long burst, which is another test.
const LAG: f64 = 0.0005;
/// Significant digits of latencies.
const DIGITS: u8 = 3;
/// The longest latency recorded, in seconds.
const LONGEST: f64 = 10.0;

/// A device, and the offset of the IP packet in frames that come back through it.
pub(crate) struct Line {
    pub(crate) receive: RxQueue,
    pub(crate) transmit: TxQueue,
    pub(crate) inner: usize,
}

/// The parameters of a trial.
pub(crate) struct Trial {
    /// The trial's number. Packets with another number are late packets of an earlier trial.
    pub(crate) serial: u16,
    /// Packets per second.
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
    pub(crate) flows: u16,
    /// Ticks of the CPU's counter per second.
    pub(crate) hz: u64,
}

/// The result of a trial.
pub(crate) struct Outcome {
    /// Packets offered to the device.
    offered: u32,
    /// Packets of them that the device did not accept.
    refused: u64,
    /// Packets that came back correct.
    received: u64,
    /// Sum of their numbers modulo 2^64. Compared with the sum of all numbers, it shows whether a packet came
    /// twice and another not at all.
    sum: u64,
    /// Other packets that came back.
    strange: u64,
    /// Ticks from the first packet sent to the last.
    seconds: f64,
    /// Ticks per microsecond.
    ticks: f64,
    latency: Histogram<u64>,
}

impl Trial {
    /// Sends and receives until all packets have come back, or no more come.
    pub(crate) fn run(&self, line: &mut Line, pool: &Mempool) -> Result<Outcome> {
        let hz = self.hz as f64;
        let longest = ticks(LONGEST * hz);
        let latency = Histogram::new_with_max(longest, DIGITS).context("the histogram")?;
        let (offered, refused, received, sum, strange) = (0, 0, 0, 0, 0);
        let (seconds, ticks_per_us) = (0.0, hz / 1e6);
        let mut outcome = Outcome {
            offered,
            refused,
            received,
            sum,
            strange,
            seconds,
            ticks: ticks_per_us,
            latency,
        };
        let mut burst = Burst::new();
        let per_tick = self.rate / hz;
        let length = ticks(self.seconds * hz);
        let lag = self.rate * LAG;
        let mut flow = 0;
        // Packets due by now, without those skipped.
        let mut skipped = 0.0;
        let begin = tsc();
        let mut now = begin;
        while now - begin < length {
            let due = (now - begin) as f64 * per_tick - skipped - f64::from(outcome.offered);
            if due > lag + BURST as f64 {
                skipped += due - lag;
            }
            if due >= 1.0 {
                self.send(line, pool, &mut burst, due, &mut flow, &mut outcome);
            }
            self.receive(line, &mut burst, &mut outcome);
            now = tsc();
        }
        outcome.seconds = (now - begin) as f64 / hz;
        let silence = ticks(SILENCE * hz);
        let mut heard = now;
        while now - heard < silence && outcome.received < u64::from(outcome.offered) {
            if self.receive(line, &mut burst, &mut outcome) > 0 {
                heard = now;
            }
            now = tsc();
        }
        Ok(outcome)
    }

    #[inline]
    fn send(
        &self,
        line: &mut Line,
        pool: &Mempool,
        burst: &mut Burst,
        due: f64,
        flow: &mut u16,
        outcome: &mut Outcome,
    ) {
        burst.clear();
        let wanted = ticks(due.min(BURST as f64));
        let count = pool.allocate(burst, usize::try_from(wanted).unwrap_or(BURST));
        let time = tsc();
        for mbuf in burst.iter_mut() {
            let content = Content { time, trial: self.serial, number: outcome.offered };
            let Some(frame) = mbuf.append(LENGTH).and_then(|bytes| bytes.first_chunk_mut()) else {
                continue;
            };
            packet::write(frame, *flow, content);
            *flow = if *flow + 1 == self.flows { 0 } else { *flow + 1 };
            outcome.offered += 1;
        }
        let taken = line.transmit.send(burst);
        outcome.refused += (count - taken) as u64;
        burst.clear();
    }

    #[inline]
    fn receive(&self, line: &mut Line, burst: &mut Burst, outcome: &mut Outcome) -> usize {
        let count = line.receive.receive(burst);
        if count > 0 {
            let now = tsc();
            for mbuf in burst.iter() {
                match packet::read(mbuf.bytes(), line.inner) {
                    Some(content) if content.trial == self.serial => {
                        outcome.received += 1;
                        outcome.sum = outcome.sum.wrapping_add(content.number.into());
                        outcome.latency.saturating_record(now.saturating_sub(content.time));
                    }
                    // A packet of an earlier trial, which counted it as lost.
                    Some(_) => {}
                    None => outcome.strange += 1,
                }
            }
            burst.clear();
        }
        count
    }
}

/// Rounds a non-negative number to whole ticks or packets.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and that is meant"
)]
fn ticks(number: f64) -> u64 {
    number as u64
}

impl Outcome {
    /// Packets that did not come back.
    fn lost(&self) -> u64 {
        u64::from(self.offered).saturating_sub(self.received)
    }

    /// Whether each packet came back exactly once.
    fn is_whole(&self) -> bool {
        let count = u64::from(self.offered);
        let sum = count * count.saturating_sub(1) / 2;
        self.received == count && self.sum == sum && self.strange == 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile: f64| self.latency.value_at_quantile(quantile) as f64 / self.ticks;
        let object = json!({
            "offered": self.offered,
            "refused": self.refused,
            "received": self.received,
            "lost": self.lost(),
            "strange": self.strange,
            "whole": self.is_whole(),
            "rate": f64::from(self.offered) / self.seconds,
            "median_us": at(0.5),
            "p99_us": at(0.99),
            "p999_us": at(0.999),
            "max_us": self.latency.max() as f64 / self.ticks,
        });
        write!(f, "{object}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(offered: u32, numbers: &[u64]) -> Outcome {
        let mut latency = Histogram::new_with_max(1000, DIGITS).unwrap();
        latency.record_n(20, numbers.len() as u64).unwrap();
        Outcome {
            offered,
            refused: 0,
            received: numbers.len() as u64,
            sum: numbers.iter().sum(),
            strange: 0,
            seconds: 2.0,
            ticks: 2.0,
            latency,
        }
    }

    #[test]
    fn whole_is_each_packet_once() {
        assert!(outcome(4, &[3, 1, 0, 2]).is_whole());
        assert!(!outcome(4, &[3, 1, 0]).is_whole());
        assert!(!outcome(4, &[3, 1, 0, 3]).is_whole(), "one twice, one not at all");
        assert!(!Outcome { strange: 1, ..outcome(2, &[0, 1]) }.is_whole());
        assert_eq!(outcome(4, &[3, 1, 0]).lost(), 1);
    }

    #[test]
    fn an_outcome_tells_rate_and_latency() {
        let printed: serde_json::Value =
            serde_json::from_str(&outcome(4, &[0, 1, 2, 3]).to_string()).unwrap();
        assert_eq!(
            (printed["rate"].as_f64(), printed["median_us"].as_f64()),
            (Some(2.0), Some(10.0))
        );
        assert_eq!((printed["lost"].as_u64(), printed["whole"].as_bool()), (Some(0), Some(true)));
    }
}
