//! What a worker does while no packet comes.
//!
//! In every mode a worker keeps polling for [`SPIN_ROUNDS`] empty rounds before it may sleep, so a
//! packet that comes soon after another is always found by polling. The first packet after that
//! waits until the worker wakes up. A worker that sends for the kernel is woken for that too. No sleep
//! is longer than [`LONGEST_SLEEP`], because nothing wakes a worker for its other work: new
//! configurations, flow listings, fragments that expire, the sweep of the flow table, the end.

use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;

use super::io::{Input, InputKind, Relay};
use crate::dpdk::interrupt::RxInterrupts;
use crate::kernel::Doorbell;

/// Empty rounds before the first sleep: from some tens of microseconds to a few hundred, depending
/// on the devices.
const SPIN_ROUNDS: u64 = 1024;
/// Empty rounds after an interrupt before the worker sleeps again: a millisecond or more. The packet
/// that the interrupt announced may become visible late: net_tap counts packets in a signal handler,
/// in whatever thread the kernel wakes for it. An interrupt that announced a packet does not come
/// again, so a worker that slept too early would find that packet only after [`LONGEST_SLEEP`].
const INTERRUPT_SPIN_ROUNDS: u64 = 32 * SPIN_ROUNDS;
/// Empty rounds before a worker without a CPU of its own yields to other threads.
const SHARED_SPIN_ROUNDS: u64 = 64;
/// The first sleep in the mode `Pause`. Each sleep is twice as long as the one before it, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(2);
/// The longest sleep in the mode `Pause`.
const LONGEST_PAUSE: Duration = Duration::from_micros(50);
/// The longest sleep in the mode `Interrupt`.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);
/// The longest sleep in the mode `Interrupt` of a worker with siblings, which may hand exceptions
/// over by a ring: a ring does not interrupt.
const LONGEST_SLEEP_WITH_SIBLINGS: Duration = Duration::from_millis(1);

/// How a worker spends its idle time. Made on the worker's own thread.
#[derive(Debug)]
pub struct Idle {
    mode: Mode,
    asleep: bool,
    /// Empty rounds that are polled through.
    spin_rounds: u64,
}

#[derive(Debug)]
enum Mode {
    Poll,
    Share,
    Pause {
        next: Duration,
    },
    Interrupt {
        interrupts: RxInterrupts,
        /// Rung when the kernel sends.
        doorbell: Option<Arc<Doorbell>>,
        longest: Duration,
        armed: bool,
    },
}

impl Idle {
    /// Polls, and never gives the CPU away.
    pub fn poll() -> Idle {
        Idle { mode: Mode::Poll, asleep: false, spin_rounds: SPIN_ROUNDS }
    }

    /// Polls, and lets other threads have the CPU between two rounds.
    pub fn share() -> Idle {
        Idle { mode: Mode::Share, asleep: false, spin_rounds: SPIN_ROUNDS }
    }

    /// Sleeps for some microseconds at a time.
    pub fn pause() -> Idle {
        // Without this the kernel adds up to 50 microseconds to each sleep. The call cannot fail
        // for 1.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        Idle { mode: Mode::Pause { next: FIRST_PAUSE }, asleep: false, spin_rounds: SPIN_ROUNDS }
    }

    /// Sleeps until a device interrupts, or the doorbell rings.
    ///
    /// # Errors
    /// Why the worker cannot wait for interrupts, for the operator.
    pub fn interrupt(
        inputs: &[Input],
        relays: &[Relay],
        doorbell: Option<Arc<Doorbell>>,
    ) -> Result<Idle, String> {
        let mut queues = Vec::new();
        let mut longest = LONGEST_SLEEP;
        for input in inputs {
            match &input.kind {
                InputKind::Queue { queue, .. } => queues.push(queue),
                InputKind::Ring(_) => return Err("it receives from another worker".to_owned()),
                InputKind::Handoff(_) => longest = LONGEST_SLEEP_WITH_SIBLINGS,
            }
        }
        if !relays.is_empty() {
            return Err("it sends for another worker".to_owned());
        }
        let mut interrupts = RxInterrupts::new(queues).map_err(|error| error.to_string())?;
        if let Some(doorbell) = &doorbell {
            let event = doorbell.as_fd().try_clone_to_owned();
            let added = event.map(|event| interrupts.wake_by(event));
            added.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        }
        Ok(Idle {
            mode: Mode::Interrupt { interrupts, doorbell, longest, armed: false },
            asleep: false,
            spin_rounds: SPIN_ROUNDS,
        })
    }

    /// Ends idling: the last round found a packet.
    #[inline]
    pub(super) fn packet_found(&mut self) {
        if self.asleep {
            self.wake();
        }
    }

    #[cold]
    fn wake(&mut self) {
        self.asleep = false;
        self.spin_rounds = SPIN_ROUNDS;
        match &mut self.mode {
            Mode::Pause { next } => *next = FIRST_PAUSE,
            Mode::Interrupt { interrupts, doorbell, armed, .. } => {
                // Drivers log an error for an interrupt that is not armed.
                if std::mem::take(armed) {
                    interrupts.disarm();
                    doorbell.iter().for_each(|doorbell| doorbell.wake());
                }
            }
            Mode::Poll | Mode::Share => {}
        }
    }

    /// Spends the time after the given number of empty rounds. Returns for how long it slept, unless something
    /// woke it up.
    #[inline]
    pub(super) fn idle(&mut self, rounds: u64) -> Duration {
        if rounds < self.spin_rounds && !matches!(self.mode, Mode::Share) {
            std::hint::spin_loop();
            return Duration::ZERO;
        }
        self.sleep(rounds)
    }

    #[cold]
    fn sleep(&mut self, rounds: u64) -> Duration {
        self.asleep = true;
        match &mut self.mode {
            Mode::Poll => {
                std::hint::spin_loop();
                Duration::ZERO
            }
            Mode::Share => {
                if rounds > SHARED_SPIN_ROUNDS {
                    std::thread::yield_now();
                }
                Duration::ZERO
            }
            Mode::Pause { next } => {
                let pause = *next;
                std::thread::sleep(pause);
                *next = (2 * pause).min(LONGEST_PAUSE);
                pause
            }
            Mode::Interrupt { interrupts, doorbell, longest, armed } => {
                if !*armed {
                    // Arming succeeded at the start, so it succeeds again.
                    let _ = interrupts.arm();
                    doorbell.iter().for_each(|doorbell| doorbell.fall_asleep());
                    *armed = true;
                    // A packet may have come before the interrupt was armed, or before the doorbell
                    // was looked at: one more round shows it.
                    return Duration::ZERO;
                }
                if interrupts.wait(*longest) {
                    interrupts.disarm();
                    doorbell.iter().for_each(|doorbell| doorbell.wake());
                    *armed = false;
                    self.spin_rounds = rounds + INTERRUPT_SPIN_ROUNDS;
                    return Duration::ZERO;
                }
                *longest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn no_mode_sleeps_before_its_spin_rounds_are_over() {
        for mut idle in [Idle::poll(), Idle::pause(), Idle::interrupt(&[], &[], None).unwrap()] {
            for rounds in 1..SPIN_ROUNDS {
                assert_eq!(idle.idle(rounds), Duration::ZERO);
                assert!(!idle.asleep);
            }
        }
    }

    #[test]
    fn pauses_grow_to_their_limit_and_restart_after_a_packet() {
        let mut idle = Idle::pause();
        let slept: Vec<u128> = (0..7).map(|n| idle.idle(SPIN_ROUNDS + n).as_micros()).collect();
        assert_eq!(slept, [2, 4, 8, 16, 32, 50, 50]);
        idle.packet_found();
        assert_eq!(idle.idle(SPIN_ROUNDS), FIRST_PAUSE);
    }

    #[test]
    fn a_wait_for_interrupts_begins_with_one_more_round_and_ends_by_itself() {
        let mut idle = Idle::interrupt(&[], &[], None).unwrap();
        let start = Instant::now();
        assert_eq!(idle.idle(SPIN_ROUNDS), Duration::ZERO);
        assert_eq!(idle.idle(SPIN_ROUNDS + 1), LONGEST_SLEEP);
        assert!(start.elapsed() >= Duration::from_millis(9));
        // Nothing interrupted, so the interrupt is still armed.
        assert_eq!(idle.idle(SPIN_ROUNDS + 2), LONGEST_SLEEP);
        idle.packet_found();
        assert_eq!(idle.idle(SPIN_ROUNDS), Duration::ZERO);
    }

    #[test]
    fn the_doorbell_ends_a_wait_and_is_not_rung_in_vain() {
        let doorbell = Arc::new(Doorbell::new().unwrap());
        let mut idle = Idle::interrupt(&[], &[], Some(Arc::clone(&doorbell))).unwrap();
        for _ in 0..3 {
            doorbell.ring();
            assert_eq!(idle.idle(SPIN_ROUNDS), Duration::ZERO, "it arms");
            assert_eq!(idle.idle(SPIN_ROUNDS), LONGEST_SLEEP, "a ring before that wakes nobody");
            doorbell.ring();
            assert_eq!(idle.idle(SPIN_ROUNDS), Duration::ZERO);
            idle.packet_found();
        }
    }
}
