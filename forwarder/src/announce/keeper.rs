//! One look at the node, and what becomes of the interface.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_api::{AnnouncingState, Happening};
use guideway_core::stats::{Counter, Reader};
use guideway_management::daemon::{Announcing, Daemon};
use guideway_netlink::{self as netlink, Requests};
use tracing::warn;

use super::device::{Error, Interface};
use super::guard::{Guard, period};
use super::links::HasLink;

/// `announce.stall` where the configuration has no `[announce]` any more, which takes a restart and so does not happen.
const STALL: Duration = Duration::from_millis(500);

/// The kernel's error for a device that is not there.
const NODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// Keeps the interface as the node is.
pub(super) struct Keeper {
    daemon: Arc<Daemon>,
    shown: Arc<Announcing>,
    workers: Vec<Reader>,
    requests: Requests,
    /// None before it is opened, after it had to be closed, and after somebody removed it.
    interface: Option<Interface>,
    guard: Guard,
    has_link: HasLink,
    last: Instant,
    /// Packets that interfaces before this one dropped.
    dropped_before: u64,
    /// Whether the last look failed, which is said once.
    has_failed: bool,
}

impl Keeper {
    /// Opens the interface of a node whose workers forward.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(super) fn open(
        daemon: Arc<Daemon>,
        shown: Arc<Announcing>,
        workers: Vec<Reader>,
        has_link: HasLink,
    ) -> Result<Keeper, Error> {
        let requests = Requests::open().map_err(|error| Error::Set {
            name: shown.interface().to_owned(),
            what: "reach the kernel",
            error,
        })?;
        let mut keeper = Keeper {
            daemon,
            shown,
            workers,
            requests,
            interface: None,
            guard: Guard::default(),
            has_link,
            last: Instant::now(),
            dropped_before: 0,
            has_failed: false,
        };
        keeper.interface = Some(Interface::make(&mut keeper.requests, keeper.shown.interface())?);
        let judged = keeper.judge_again();
        keeper.follow(judged)?;
        Ok(keeper)
    }

    /// Looks at the node. Returns the time until the next look.
    pub(super) fn look(&mut self) -> Duration {
        let judged = self.judge_again();
        // Whoever removed it wants the addresses withdrawn.
        if self.shown.state() != AnnouncingState::Removed {
            let outcome = match judged {
                AnnouncingState::Up => self.find().and_then(|()| self.follow(judged)),
                // What has to be withdrawn is withdrawn, whatever else fails, and first.
                judged => {
                    let followed = self.follow(judged);
                    self.find().and(followed)
                }
            };
            if let Err(error) = &outcome
                && !self.has_failed
            {
                warn!("{error}");
            }
            self.has_failed = outcome.is_err();
        }
        period(self.stall())
    }

    /// Sets the interface down and removes it.
    pub(super) fn close(&mut self) {
        if let Some(interface) = self.interface.take() {
            // Removal takes the kernel longer, and has the same effect if this fails.
            let _ = interface.set_down(&mut self.requests);
        }
        self.shown.set_state(AnnouncingState::Stopping);
    }

    fn stall(&self) -> Duration {
        let published = self.daemon.published().load_full();
        published.configuration.announce.as_ref().map_or(STALL, |announce| announce.stall)
    }

    fn judge_again(&mut self) -> AnnouncingState {
        let now = Instant::now();
        let passed = now.duration_since(self.last);
        self.last = now;
        let stall = self.stall();
        let rounds = self.workers.iter().map(|stats| stats.counter(Counter::Polls));
        let has_link = self.has_link.now().unwrap_or(false);
        self.guard.judge(rounds, has_link, passed, stall)
    }

    /// Finds out what others did to the interface, and takes the packets that it has.
    fn find(&mut self) -> Result<(), Error> {
        let Some(interface) = &mut self.interface else { return Ok(()) };
        let name = self.shown.interface().to_owned();
        let seen = interface.seen(&mut self.requests);
        let seen = seen.map_err(|error| Error::Set { name, what: "look at it", error })?;
        let Some(seen) = seen else {
            self.interface = None;
            self.show(AnnouncingState::Removed);
            return Ok(());
        };
        let dropped = interface.drain(seen.send_drops);
        self.shown.set_dropped(self.dropped_before + dropped);
        if !seen.is_up && self.shown.state() == AnnouncingState::Up {
            self.show(AnnouncingState::Removed);
            // Not for good: what follows sets it up.
            self.shown.set_state(AnnouncingState::Starting);
        }
        Ok(())
    }

    /// Brings the interface in line with what was judged.
    fn follow(&mut self, judged: AnnouncingState) -> Result<(), Error> {
        if self.shown.state() == AnnouncingState::Removed {
            return Ok(());
        }
        if judged == AnnouncingState::Up {
            self.up()?;
        } else {
            self.down();
        }
        self.show(judged);
        Ok(())
    }

    fn up(&mut self) -> Result<(), Error> {
        if self.shown.state() == AnnouncingState::Up {
            return Ok(());
        }
        let interface = match &mut self.interface {
            Some(interface) => interface,
            none => none.insert(Interface::make(&mut self.requests, self.shown.interface())?),
        };
        interface.set_up(&mut self.requests)
    }

    /// Sets the interface down at each look: somebody may have set it up meanwhile. Closes it if that fails, since what
    /// has to be withdrawn is withdrawn.
    fn down(&mut self) {
        let Some(interface) = &self.interface else { return };
        if let Err(error) = interface.set_down(&mut self.requests) {
            if matches!(&error, netlink::Error::Refused(refused) if refused.errno == NODEV) {
                // Somebody else removed it, as the next look at it shows.
                return;
            }
            warn!(
                "interface {}: removed, since it cannot be set down: {error}",
                self.shown.interface()
            );
            self.interface = None;
            self.dropped_before = self.shown.dropped();
        }
    }

    /// Shows the state, and records that addresses can be announced, or no longer.
    fn show(&self, state: AnnouncingState) {
        let before = self.shown.set_state(state.clone());
        if before == state {
            return;
        }
        let interface = self.shown.interface().to_owned();
        self.daemon.events().record(match state {
            AnnouncingState::Up => Happening::AnnouncingBegan { interface },
            state => Happening::AnnouncingEnded { interface, state },
        });
    }
}
