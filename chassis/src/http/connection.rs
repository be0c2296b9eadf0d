//! The connections that are there, and the time that each has.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::bounds::Limits;

/// How often a connection's deadline is looked at. It may move to an earlier time.
const LOOK: Duration = Duration::from_secs(1);

/// The connections. All of them and their tasks are of one thread.
pub(super) struct Connections {
    limits: Limits,
    admitted: Rc<RefCell<Vec<Weak<Admitted>>>>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Connections {
        Connections { limits, admitted: Rc::default() }
    }

    /// Has room for one more, if need be by evicting the one that has waited longest for its client. `None` if none
    /// waits.
    pub(super) fn admit(&self) -> Option<Rc<Admitted>> {
        let all = self.all();
        if all.len() >= self.limits.connections {
            let waiting = all.iter().filter_map(|one| Some((one.waits_since()?, one)));
            let (_, longest) = waiting.min_by_key(|&(since, _)| since)?;
            self.evict(longest);
        }
        let admitted = Rc::new(Admitted {
            limits: self.limits,
            phase: Cell::new(Phase::Header { since: Instant::now() }),
            is_scrape: Cell::new(false),
            task: OnceCell::new(),
        });
        self.admitted.borrow_mut().push(Rc::downgrade(&admitted));
        Some(admitted)
    }

    /// Lets a connection that is being answered hold a page of metrics, if need be by evicting the one that has
    /// held its page longest. Returns whether there was room.
    pub(super) fn admit_scrape(&self, connection: &Admitted) -> bool {
        let all = self.all();
        let scrapes: Vec<_> = all
            .iter()
            .filter(|one| one.is_scrape.get())
            .filter_map(|one| match one.phase.get() {
                Phase::Answer { since, .. } => Some((since, one)),
                _ => None,
            })
            .collect();
        if scrapes.len() >= self.limits.scrapes {
            match scrapes.into_iter().min_by_key(|&(since, _)| since) {
                Some((since, oldest)) if since.elapsed() >= self.limits.scrape => {
                    self.evict(oldest);
                }
                _ => return false,
            }
        }
        connection.is_scrape.set(true);
        true
    }

    fn all(&self) -> Vec<Rc<Admitted>> {
        let mut admitted = self.admitted.borrow_mut();
        admitted.retain(|one| one.strong_count() > 0);
        admitted.iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends the connection's task soon; the connection no longer counts.
    fn evict(&self, connection: &Rc<Admitted>) {
        let is_other = |one: &Weak<Admitted>| !std::ptr::eq(one.as_ptr(), Rc::as_ptr(connection));
        self.admitted.borrow_mut().retain(is_other);
        if let Some(task) = connection.task.get() {
            task.abort();
        }
    }
}

/// What a connection is at.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The last answer is with the client, and nothing has come since.
    Idle { since: Instant },
    /// The header of a request is due.
    Header { since: Instant },
    /// A request is being answered.
    Answer {
        since: Instant,
        /// When the client last took a byte, once the page is made and hyper has it.
        taken: Option<Instant>,
        /// The client has sent something of its next request.
        has_more: bool,
    },
}

/// A connection that was admitted. It counts until it is dropped or evicted.
pub(super) struct Admitted {
    limits: Limits,
    phase: Cell<Phase>,
    /// The answer is a page of metrics.
    is_scrape: Cell<bool>,
    task: OnceCell<AbortHandle>,
}

impl Admitted {
    /// Notes the task that serves the connection.
    pub(super) fn runs_as(&self, task: AbortHandle) {
        // Called once.
        let _ = self.task.set(task);
    }

    /// Serves the connection until its end, or until it has used up its time.
    pub(super) async fn within_time<T>(&self, serving: impl Future<Output = T>) {
        let (mut serving, mut late) = (pin!(serving), pin!(self.late()));
        poll_fn(|cx| match serving.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => late.as_mut().poll(cx),
        })
        .await;
    }

    /// Ends when the connection has used up its time.
    async fn late(&self) {
        loop {
            let (now, deadline) = (Instant::now(), self.deadline());
            if deadline <= now {
                return;
            }
            sleep_until(deadline.min(now + LOOK)).await;
        }
    }

    fn deadline(&self) -> Instant {
        let limits = &self.limits;
        match self.phase.get() {
            Phase::Idle { since } => since + limits.idle,
            Phase::Header { since } => since + limits.header,
            Phase::Answer { since, taken, .. } => {
                let answered = since + limits.answer;
                taken.map_or(answered, |taken| answered.min(taken + limits.progress))
            }
        }
    }

    /// Since when the connection has waited for its client: for the header of a request, or in vain for the client to
    /// take something of its answer. A page that is not made yet is not the client's fault.
    fn waits_since(&self) -> Option<Instant> {
        match self.phase.get() {
            Phase::Idle { since } | Phase::Header { since } => Some(since),
            Phase::Answer { taken, .. } => {
                taken.filter(|taken| taken.elapsed() >= self.limits.stall)
            }
        }
    }

    /// The client has sent something.
    pub(super) fn has_read(&self) {
        match self.phase.get() {
            Phase::Idle { .. } => self.phase.set(Phase::Header { since: Instant::now() }),
            Phase::Header { .. } => {}
            Phase::Answer { since, taken, .. } => {
                self.phase.set(Phase::Answer { since, taken, has_more: true });
            }
        }
    }

    /// The header of a request is there.
    pub(super) fn is_asked(&self) {
        self.phase.set(Phase::Answer { since: Instant::now(), taken: None, has_more: false });
    }

    /// Hyper has the page.
    pub(super) fn has_page(&self) {
        if let Phase::Answer { since, taken: None, has_more } = self.phase.get() {
            self.phase.set(Phase::Answer { since, taken: Some(Instant::now()), has_more });
        }
    }

    /// The client takes something.
    pub(super) fn has_written(&self) {
        if let Phase::Answer { since, taken: Some(_), has_more } = self.phase.get() {
            self.phase.set(Phase::Answer { since, taken: Some(Instant::now()), has_more });
        }
    }

    /// Nothing is left to be written.
    pub(super) fn has_flushed(&self) {
        if let Phase::Answer { taken: Some(_), has_more, .. } = self.phase.get() {
            let since = Instant::now();
            self.is_scrape.set(false);
            self.phase.set(match has_more {
                true => Phase::Header { since },
                false => Phase::Idle { since },
            });
        }
    }
}
