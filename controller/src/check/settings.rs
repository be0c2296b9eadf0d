//! The thread `settings`: keeps the backends' states and the pins in the forwarder as the checks want them.
//!
//! A forwarder that starts has no pins, and the states that were stored; what an earlier run of the controller has left may be
//! out of date. So with each new process of the forwarder, with each configuration and every minute, the thread
//! reads what is set and changes the difference. In between it sends only what differs from what it has sent before.
//!
//! Only settings whose reason says that they are of a check are the controller's own. It does not touch those of others.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guideway_api::{
    BackendChange, BackendOrder, ErrorKind, MAX_CHANGES, Pin, Request, Response, Source,
};
use guideway_client::{Client, Error};
use parking_lot::{Condvar, Mutex};

use super::state::Wanted;
use super::target::Member;
use crate::forwarder::{connect, unexpected};

/// How often everything is read without a cause.
const SAFETY: Duration = Duration::from_secs(60);

/// From one attempt to the next, while something could not be set.
const RETRY: Duration = Duration::from_millis(200);

/// How long an answer may take: 65,535 backends with their settings.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the thread reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// What the checks of an earlier run have set. Reported once, before anything is set.
    Found(BTreeMap<Member, Wanted>),
    /// All wishes up to this one are in force in this process of the forwarder.
    InForce { process: i32, wish: u64 },
}

/// The running thread. Dropping the handle ends it, and leaves the forwarder as it is.
#[derive(Debug)]
pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    bell: Condvar,
}

/// What is wanted and has not been taken yet.
#[derive(Debug, Default)]
struct Wishes {
    /// Counts up with each wish.
    number: u64,
    pins: Option<Arc<BTreeMap<SocketAddr, Member>>>,
    states: BTreeMap<Member, Option<Wanted>>,
    /// The configuration has changed.
    is_reread: bool,
    is_over: bool,
}

/// Starts the thread.
///
/// # Errors
/// If the operating system refuses a thread.
pub(super) fn start(
    socket: PathBuf,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<Handle> {
    let shared = Arc::<Shared>::default();
    let mut work = Work {
        socket,
        report,
        shared: Arc::clone(&shared),
        connection: None,
        is_found: false,
        wanted: BTreeMap::new(),
        pins: None,
        set: BTreeMap::new(),
        set_pins: None,
        differing: BTreeSet::new(),
        must_read: true,
        read: Instant::now(),
        complained: String::new(),
    };
    let thread = thread::Builder::new().name("settings".into()).spawn(move || work.run())?;
    Ok(Handle { shared, thread: Some(thread) })
}

impl Handle {
    /// Wants these states, and none of those backends that have none, and returns the wish's number. Backends that are
    /// not named stay as they were wanted.
    pub(super) fn want_states(&self, states: Vec<(Member, Option<Wanted>)>) -> u64 {
        self.wish(|wishes| wishes.states.extend(states))
    }

    /// Wants these pins and no others, and these states as [`Handle::want_states`] does: at once, since what is not wanted by the
    /// time that there are pins is unset.
    pub(super) fn want(
        &self,
        pins: Arc<BTreeMap<SocketAddr, Member>>,
        states: Vec<(Member, Option<Wanted>)>,
    ) -> u64 {
        self.wish(|wishes| {
            wishes.pins = Some(pins);
            wishes.states.extend(states);
            wishes.is_reread = true;
        })
    }

    fn wish(&self, wish: impl FnOnce(&mut Wishes)) -> u64 {
        let mut wishes = self.shared.wishes.lock();
        wish(&mut wishes);
        wishes.number += 1;
        self.shared.bell.notify_one();
        wishes.number
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.wish(|wishes| wishes.is_over = true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that sets states of backends panicked");
        }
    }
}

struct Work<R> {
    socket: PathBuf,
    report: R,
    shared: Arc<Shared>,
    connection: Option<(Client, i32)>,
    /// Whether [`Report::Found`] was reported.
    is_found: bool,
    wanted: BTreeMap<Member, Wanted>,
    /// None before the first wish.
    pins: Option<Arc<BTreeMap<SocketAddr, Member>>>,
    /// What the forwarder has of the checks, as far as that is known.
    set: BTreeMap<Member, Wanted>,
    /// The same of pins; none if that is not known.
    set_pins: Option<Arc<BTreeMap<SocketAddr, Member>>>,
    /// Backends that may be set otherwise than wanted.
    differing: BTreeSet<Member>,
    must_read: bool,
    read: Instant,
    complained: String,
}

impl<R: Fn(Report)> Work<R> {
    fn run(&mut self) {
        let mut pause = Duration::ZERO;
        let mut told = None;
        while let Some(number) = self.take(pause) {
            if self.read.elapsed() >= SAFETY {
                self.must_read = true;
            }
            match self.settle() {
                Ok(None) => pause = RETRY,
                Ok(Some(process)) => {
                    pause = SAFETY;
                    self.complained.clear();
                    if told.replace((process, number)) != Some((process, number)) {
                        (self.report)(Report::InForce { process, wish: number });
                    }
                }
                Err(error) => {
                    pause = RETRY;
                    self.fail(&error);
                }
            }
        }
    }

    /// Waits for wishes, but no longer than this, and takes them. Returns the number of the last one; none at the end.
    fn take(&mut self, pause: Duration) -> Option<u64> {
        let until = Instant::now() + pause;
        let mut wishes = self.shared.wishes.lock();
        let is_new = |wishes: &Wishes| {
            wishes.is_over || wishes.is_reread || wishes.pins.is_some() || !wishes.states.is_empty()
        };
        while !is_new(&wishes) {
            if self.shared.bell.wait_until(&mut wishes, until).timed_out() {
                break;
            }
        }
        if wishes.is_over {
            return None;
        }
        self.must_read |= std::mem::take(&mut wishes.is_reread);
        self.pins = wishes.pins.take().or(self.pins.take());
        for (member, wanted) in std::mem::take(&mut wishes.states) {
            match wanted {
                Some(wanted) => _ = self.wanted.insert(member.clone(), wanted),
                None => _ = self.wanted.remove(&member),
            }
            self.differing.insert(member);
        }
        Some(wishes.number)
    }

    /// Brings the forwarder in line. Returns the number of its process; none if there is nothing to do yet.
    fn settle(&mut self) -> Result<Option<i32>, Error> {
        let (mut client, process) = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.socket, TIMEOUT)?;
                // Perhaps it is another process.
                (self.must_read, self.set_pins) = (true, None);
                connection
            }
        };
        if self.must_read {
            self.read(&mut client)?;
        }
        let Some(pins) = self.pins.clone() else {
            self.connection = Some((client, process));
            return Ok(None);
        };
        // Before states: a probe of a backend without a pin fails.
        self.set_pins(&mut client, &pins)?;
        self.set_states(&mut client)?;
        self.connection = Some((client, process));
        Ok(Some(process))
    }

    /// Reads what is set.
    fn read(&mut self, client: &mut Client) -> Result<(), Error> {
        let Response::Backends(backends) = client.send(&Request::BackendList {})? else {
            return Err(unexpected());
        };
        self.set.clear();
        let mut known = BTreeSet::new();
        for backend in backends {
            let member = Member { pool: backend.pool.into(), backend: backend.name.into() };
            let own = backend.settings.into_iter().find_map(|setting| {
                let reason = setting.reason.filter(|_| setting.source == Source::Controller)?;
                let state = setting.state.filter(|_| Wanted::is_own(&reason))?;
                Some(Wanted { state, reason: reason.into() })
            });
            if let Some(own) = own {
                self.set.insert(member.clone(), own);
            }
            known.insert(member);
        }
        if !self.is_found {
            self.is_found = true;
            (self.report)(Report::Found(self.set.clone()));
        }
        (self.must_read, self.read) = (false, Instant::now());
        // The forwarder may have gone on to a configuration that the checks have yet to follow.
        let differs = |member: &&Member| self.set.get(*member) != self.wanted.get(*member);
        let members = self.wanted.keys().chain(self.set.keys());
        self.differing =
            members.filter(|member| known.contains(member)).filter(differs).cloned().collect();
        Ok(())
    }

    fn set_pins(
        &mut self,
        client: &mut Client,
        pins: &Arc<BTreeMap<SocketAddr, Member>>,
    ) -> Result<(), Error> {
        if self.set_pins.as_ref() == Some(pins) {
            return Ok(());
        }
        if pins.is_empty() && self.set_pins.is_none() {
            // Pins of an earlier run do no harm: nothing is sent from their ports.
            return Ok(());
        }
        let known = self.set_pins.take();
        let before = known.as_deref();
        let is_set = |(source, member): &(&SocketAddr, &Member)| {
            before.and_then(|before| before.get(source)) == Some(member)
        };
        let new: Vec<Pin> = pins
            .iter()
            .filter(|pin| !is_set(pin))
            .map(|(&source, member)| Pin {
                source,
                pool: member.pool.to_string(),
                backend: member.backend.to_string(),
            })
            .collect();
        let gone = before.into_iter().flat_map(|before| before.keys());
        let mut removed: Vec<SocketAddr> =
            gone.filter(|source| !pins.contains_key(source)).copied().collect();
        // Of a process that is not known, all other pins go with the first request.
        let mut only = before.is_none();
        let mut new = new.chunks(MAX_CHANGES);
        loop {
            let pins = new.next().unwrap_or_default().to_vec();
            if pins.is_empty() && removed.is_empty() && !only {
                break;
            }
            let rest = removed.split_off(removed.len().min(MAX_CHANGES - pins.len()));
            let request = Request::PinSet { pins, removed, only };
            let Response::PinsSet { .. } = client.send(&request)? else {
                return Err(unexpected());
            };
            (removed, only) = (rest, false);
        }
        self.set_pins = Some(Arc::clone(pins));
        Ok(())
    }

    fn set_states(&mut self, client: &mut Client) -> Result<(), Error> {
        while !self.differing.is_empty() {
            let members: Vec<Member> = self.differing.iter().take(MAX_CHANGES).cloned().collect();
            let mut changes = Vec::new();
            for member in &members {
                let (set, reason) = match (self.wanted.get(member), self.set.get(member)) {
                    (wanted, set) if wanted == set => continue,
                    (Some(Wanted { state, reason }), _) => {
                        (BackendOrder::State(*state), Some(reason.to_string()))
                    }
                    (None, _) => (BackendOrder::UnsetState, None),
                };
                changes.push(BackendChange {
                    pool: Some(member.pool.to_string()),
                    backend: Some(member.backend.to_string()),
                    address: None,
                    set,
                    reason,
                });
            }
            if !changes.is_empty() {
                let (source, reason, for_seconds) = (Source::Controller, None, None);
                let request = Request::BackendSet { changes, source, reason, for_seconds };
                let Response::BackendsSet { .. } = client.send(&request)? else {
                    return Err(unexpected());
                };
            }
            for member in members {
                match self.wanted.get(&member) {
                    Some(wanted) => _ = self.set.insert(member.clone(), wanted.clone()),
                    None => _ = self.set.remove(&member),
                }
                self.differing.remove(&member);
            }
        }
        Ok(())
    }

    /// Takes note that something could not be set. It is tried again.
    fn fail(&mut self, error: &Error) {
        // What is set now is not known: the connection is gone, or the backend is.
        self.must_read = true;
        let is_usual = match error {
            Error::Unreachable { .. } | Error::NoResponse { .. } => true,
            // A reload has removed a backend, which the checks will hear of.
            Error::Refused(refusal) => refusal.kind == ErrorKind::NotFound,
            _ => false,
        };
        let words = error.to_string();
        if self.complained != words {
            match is_usual {
                true => tracing::debug!("cannot set what checks want: {words}"),
                false => tracing::error!("cannot set what checks want, and try again: {words}"),
            }
            self.complained = words;
        }
    }
}
