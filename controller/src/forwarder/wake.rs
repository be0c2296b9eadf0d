//! Waking a thread that waits for its next turn.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Wakes one thread.
#[derive(Debug)]
pub(super) struct Wake {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    is_rung: bool,
    is_over: bool,
    stall: Duration,
}

impl Wake {
    pub(super) fn new(stall: Duration) -> Wake {
        let state = State { is_rung: false, is_over: false, stall };
        Wake { state: Mutex::new(state), bell: Condvar::new() }
    }

    pub(super) fn ring(&self) {
        self.state.lock().is_rung = true;
        self.bell.notify_one();
    }

    pub(super) fn end(&self) {
        self.state.lock().is_over = true;
        self.bell.notify_one();
    }

    pub(super) fn set_stall(&self, stall: Duration) {
        self.state.lock().stall = stall;
    }

    /// How long the forwarder may be silent.
    pub(super) fn stall(&self) -> Duration {
        self.state.lock().stall
    }

    /// Waits for the bell, but no longer than this. False if the thread is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while !state.is_rung && !state.is_over {
            if self.bell.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.is_rung = false;
        !state.is_over
    }
}
