//! Watches the links of the ports, on a thread of its own.
//!
//! DPDK's drivers for kernel interfaces (af_packet, af_xdp, pcap) report a link that is always up.
//! The watch therefore asks the kernel, by [`netlink`], about the interface behind each port that
//! has one. Other devices interrupt when their link changes. Devices that do not interrupt are
//! asked every [`PERIOD`]. The watch logs each change, and counts ports that go down.
//!
//! A driver stays bound to the interface that it was started with. If that interface is removed,
//! the port receives nothing until the process is restarted, even if an interface of the same name
//! appears again.

mod netlink;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::{error, info, warn};

use crate::dpdk::port::{Link, Port, Started};
use guideway_core::stats::{self, Event, Reader, Writer};

use netlink::{Message, Received, Socket};

/// How often DPDK is asked for the links.
const PERIOD: Duration = Duration::from_millis(250);

/// The state of a port, which the watch writes and others read.
#[derive(Clone, Debug)]
pub(super) struct Interface(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// The state of the kernel interface behind the port.
    state: State,
    /// When the link last changed, or else when the port was started.
    changed: Instant,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// There is no interface, or its state is not known yet.
    #[default]
    Unknown,
    Up {
        name: String,
    },
    Down {
        name: String,
        obstacle: &'static str,
    },
    Removed {
        name: String,
    },
}

impl State {
    /// Why no frames can pass, if the interface is the reason.
    fn obstacle(&self) -> Option<String> {
        match self {
            State::Unknown | State::Up { .. } => None,
            State::Down { name, obstacle } => Some(format!("interface {name}: {obstacle}")),
            State::Removed { name } => {
                Some(format!("interface {name} was removed: restart guideway"))
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            State::Unknown => "of the port",
            State::Up { name } | State::Down { name, .. } | State::Removed { name } => name,
        }
    }
}

impl Default for Interface {
    fn default() -> Interface {
        Interface(Arc::new(Mutex::new(Known { state: State::Unknown, changed: Instant::now() })))
    }
}

impl Interface {
    /// The link in words: DPDK's report, unless the kernel reports an obstacle.
    pub(super) fn describe(&self, link: Link) -> String {
        match self.0.lock().state.obstacle() {
            Some(obstacle) => format!("down, {obstacle}"),
            None => link.to_string(),
        }
    }

    /// How long the link has not changed.
    pub(super) fn unchanged(&self) -> Duration {
        self.0.lock().changed.elapsed()
    }
}

/// A port to watch.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) port: Weak<Port<Started>>,
    /// Readable when the device has interrupted because its link changed.
    pub(super) changes: Option<OwnedFd>,
    /// The index of the kernel interface behind it.
    pub(super) index: Option<u32>,
    pub(super) interface: Interface,
}

/// The running watch.
pub(super) struct Watch {
    thread: JoinHandle<()>,
    stop: Arc<OwnedFd>,
}

impl Watch {
    /// Watches these ports. Also returns the counters of the watch.
    pub(super) fn start(ports: Vec<Watched>) -> io::Result<(Watch, Reader)> {
        let (writer, reader) = stats::channel(0, 0);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let socket = Socket::open()
            .inspect_err(|error| warn!("cannot watch the kernel's interfaces: {error}"))
            .ok();
        let up = vec![true; ports.len()];
        let mut watcher = Watcher { ports, up, socket, counters: writer };
        let stopped = stop.clone();
        let thread =
            thread::Builder::new().name("links".into()).spawn(move || watcher.run(&stopped))?;
        Ok((Watch { thread, stop }, reader))
    }

    /// Ends the watch. Call this before the ports are closed.
    pub(super) fn stop(self) {
        // An eventfd accepts this at once. If the thread has ended, nobody reads it.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if self.thread.join().is_err() {
            error!("the watch of the links panicked");
        }
    }
}

struct Watcher {
    ports: Vec<Watched>,
    /// Whether each port was up at the last report.
    up: Vec<bool>,
    socket: Option<Socket>,
    counters: Writer,
}

impl Watcher {
    fn run(&mut self, stop: &OwnedFd) {
        self.query_all();
        loop {
            self.receive();
            (0..self.ports.len()).for_each(|port| self.report(port));
            let changes = self.ports.iter().filter_map(|port| port.changes.as_ref());
            let mut events = vec![PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
            events.extend(self.socket.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
            events.extend(changes.clone().map(|change| PollFd::new(change, PollFlags::IN)));
            let period = Timespec::try_from(PERIOD).ok();
            let waited = poll(&mut events, period.as_ref());
            if events.first().is_some_and(|stop| !stop.revents().is_empty()) {
                return;
            }
            for change in changes {
                // Fails for a descriptor without an event.
                let _ = rustix::io::read(change, &mut [0; 8]);
            }
            if waited.is_err() {
                // A signal interrupted the call. Any other error must not make a loop that never
                // sleeps.
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Asks the kernel about the interface of each port. The port's number is the sequence number
    /// of the query.
    fn query_all(&mut self) {
        let Some(socket) = &self.socket else { return };
        for (sequence, port) in (0..).zip(&self.ports) {
            let result = port.index.map(|index| socket.query(index, sequence));
            if let Some(Err(error)) = result {
                warn!("port \"{}\": cannot ask for its interface: {error}", port.name);
            }
        }
    }

    /// Handles all messages that wait.
    fn receive(&mut self) {
        let mut lost = false;
        while let Some(socket) = &mut self.socket {
            match socket.receive() {
                Ok(Received::Messages(messages)) => {
                    messages.into_iter().for_each(|message| self.handle(message));
                }
                // The kernel also drops replies until the socket has been emptied.
                Ok(Received::Lost) => lost = true,
                Ok(Received::Nothing) if lost => {
                    lost = false;
                    self.query_all();
                }
                Ok(Received::Nothing) => return,
                Err(error) => {
                    warn!("the kernel's interfaces are no longer watched: {error}");
                    self.socket = None;
                }
            }
        }
    }

    fn handle(&mut self, message: Message) {
        for port in 0..self.ports.len() {
            let watched = &self.ports[port];
            let mut known = watched.interface.0.lock();
            let next = match (&message, &known.state) {
                (Message::Link { name: new, .. }, State::Removed { name }) => {
                    if new == name {
                        error!(
                            "port \"{}\": there is an interface {name} again, but not the one that \
                             the port was started with: restart guideway to use it",
                            watched.name
                        );
                    }
                    continue;
                }
                (Message::Link { index, flags, name }, _) if watched.index == Some(*index) => {
                    let name = name.clone();
                    match flags.obstacle() {
                        Some(obstacle) => State::Down { name, obstacle },
                        None => State::Up { name },
                    }
                }
                (Message::Removed { index }, state) if watched.index == Some(*index) => {
                    State::Removed { name: state.name().to_owned() }
                }
                (Message::Absent { sequence }, state) if usize::try_from(*sequence) == Ok(port) => {
                    State::Removed { name: state.name().to_owned() }
                }
                _ => continue,
            };
            let removed = matches!(next, State::Removed { .. })
                && !matches!(known.state, State::Removed { .. });
            known.state = next;
            drop(known);
            if removed {
                // A removal is worse than a port that is down: log it even if the port was down
                // before.
                error!(
                    "port \"{}\": its interface was removed; no packet passes until guideway is \
                     restarted",
                    watched.name
                );
            }
            self.report(port);
        }
    }

    /// Logs and counts a change of a port's link since the last report.
    fn report(&mut self, port: usize) {
        let watched = &self.ports[port];
        let Some(device) = watched.port.upgrade() else { return };
        let link = device.link();
        let mut known = watched.interface.0.lock();
        let up = link.up && known.state.obstacle().is_none();
        if up == self.up[port] {
            return;
        }
        self.up[port] = up;
        known.changed = Instant::now();
        drop(known);
        let described = watched.interface.describe(link);
        if up {
            info!("port \"{}\": link {described}", watched.name);
        } else {
            warn!("port \"{}\": link {described}", watched.name);
            self.counters.event(Event::LinkDown, 1);
        }
    }
}
