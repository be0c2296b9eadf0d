//! Watches the links of the ports, on a thread of its own.
//!
//! DPDK's drivers for kernel interfaces (af_packet, af_xdp, pcap) report a link that is always up.
//! The watch therefore asks the kernel, by [`netlink`], about the interface behind each port that
//! has one. Other devices interrupt when their link changes. Devices that do not interrupt are
//! asked every [`PERIOD`]. The watch records each change, and counts ports that go down.
//!
//! The port's own interface has the port's link as its carrier. A [`Keeper`] sees to that, to its
//! addresses and its MAC address when a configuration is published, and hears if somebody renames or
//! removes it. The interface of probes is kept here too.
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

use arc_swap::ArcSwap;
use guideway_api as api;
use guideway_api::{Happening, InterfaceState};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::{error, warn};

use crate::dpdk::port::{Link, Port, Started};
use crate::kernel::Keeper;
use crate::probing;
use guideway_core::stats::{self, Event, Reader, Writer};

use guideway_chassis::event::Recorder;
use guideway_management::manager::{Change, Changes, Published};
use guideway_netlink::Requests;

use netlink::{Message, Received, Socket};

/// How often DPDK is asked for the links.
const PERIOD: Duration = Duration::from_millis(250);

/// The state of a port, which the watch writes and others read.
#[derive(Clone, Debug)]
pub(super) struct Interface(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// The kernel interface behind the port. `None` if there is none, or its state is not known yet.
    interface: Option<api::Interface>,
    /// When the link last changed, or else when the port was started.
    changed: Instant,
}

impl Default for Interface {
    fn default() -> Interface {
        Interface(Arc::new(Mutex::new(Known { interface: None, changed: Instant::now() })))
    }
}

impl Interface {
    /// The port's link: DPDK's report, unless the kernel reports an obstacle.
    pub(super) fn link(&self, reported: Link) -> api::Link {
        let interface = self.0.lock().interface.clone();
        let up = reported.up && interface.as_ref().is_none_or(|i| i.state == InterfaceState::Up);
        let duplex = if reported.full_duplex { api::Duplex::Full } else { api::Duplex::Half };
        api::Link {
            up,
            speed_mbps: reported.speed_mbps.filter(|_| up),
            duplex: up.then_some(duplex),
            interface,
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
    /// Keeps the port's own interface, if it has one.
    pub(super) keeper: Option<Keeper>,
}

/// The running watch.
pub(super) struct Watch {
    thread: JoinHandle<()>,
    stop: Arc<OwnedFd>,
}

impl Watch {
    /// Watches these ports, and keeps their interfaces as they and the `published` configuration are. Also
    /// returns the counters of the watch.
    pub(super) fn start(
        (ports, probes): (Vec<Watched>, Option<probing::Keeper>),
        published: Arc<ArcSwap<Published>>,
        changes: Changes,
        events: Recorder,
    ) -> io::Result<(Watch, Reader)> {
        let (writer, reader) = stats::channel(0, 0);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let socket = Socket::open()
            .inspect_err(|error| warn!("cannot watch the kernel's interfaces: {error}"))
            .ok();
        let up = vec![true; ports.len()];
        let requests = ports.iter().any(|port| port.keeper.is_some()).then(Requests::open);
        let requests = requests.transpose().unwrap_or_else(|error| {
            warn!("the ports' interfaces do not follow the ports: {error}");
            None
        });
        let generation = published.load().generation;
        let mut watcher = Watcher {
            ports,
            probes,
            up,
            socket,
            requests,
            published,
            changes,
            generation,
            counters: writer,
            events,
        };
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
    /// Keeps the interface of probes.
    probes: Option<probing::Keeper>,
    /// Whether each port was up at the last report.
    up: Vec<bool>,
    socket: Option<Socket>,
    /// For changes of the ports' interfaces; `None` if there is none.
    requests: Option<Requests>,
    published: Arc<ArcSwap<Published>>,
    /// Where changes of links go.
    changes: Changes,
    /// The generation that the interfaces are in line with.
    generation: u64,
    counters: Writer,
    events: Recorder,
}

impl Watcher {
    fn run(&mut self, stop: &OwnedFd) {
        self.query_all();
        loop {
            self.receive();
            (0..self.ports.len()).for_each(|port| self.report(port));
            self.configure();
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

    /// Asks the kernel about the interface behind each port, and about the port's own. The sequence
    /// number of a query is twice the port's number, and one more for the port's own interface.
    fn query_all(&mut self) {
        let Some(socket) = &self.socket else { return };
        for (sequence, port) in (0..).step_by(2).zip(&self.ports) {
            let own = port.keeper.as_ref().map(Keeper::index);
            for (sequence, index) in [(sequence, port.index), (sequence + 1, own)] {
                if let Some(Err(error)) = index.map(|index| socket.query(index, sequence)) {
                    warn!("port \"{}\": cannot ask for its interface: {error}", port.name);
                }
            }
        }
    }

    /// Brings the ports' interfaces in line with a configuration that was published since.
    fn configure(&mut self) {
        let Some(requests) = &mut self.requests else { return };
        let published = self.published.load();
        if published.generation == self.generation {
            if let Some(probes) = &mut self.probes {
                probes.look(requests);
            }
            return;
        }
        self.generation = published.generation;
        for (watched, port) in self.ports.iter_mut().zip(&published.configuration.ports) {
            if let Some(keeper) = &mut watched.keeper {
                keeper.configure(requests, port);
            }
        }
        if let Some(probes) = &mut self.probes {
            probes.configure(requests, &published.configuration);
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
        for (port, watched) in self.ports.iter_mut().enumerate() {
            let Some(keeper) = &mut watched.keeper else { continue };
            match &message {
                Message::Link { index, name, .. } if *index == keeper.index() => keeper.found(name),
                Message::Removed { index } if *index == keeper.index() => keeper.removed(),
                Message::Absent { sequence } if of_interface(*sequence) == Some(port) => {
                    keeper.removed();
                }
                _ => {}
            }
        }
        for port in 0..self.ports.len() {
            let watched = &self.ports[port];
            let mut known = watched.interface.0.lock();
            let last = known.interface.as_ref();
            let was_removed = last.is_some_and(|last| last.state == InterfaceState::Removed);
            let last_name = last.and_then(|last| last.name.clone());
            let next = match &message {
                Message::Link { name, .. } if was_removed => {
                    if last_name.as_ref() == Some(name) {
                        error!(
                            "port \"{}\": there is an interface {name} again, but not the one that \
                             the port was started with: restart guideway to use it",
                            watched.name
                        );
                    }
                    continue;
                }
                Message::Link { index, flags, name } if watched.index == Some(*index) => {
                    api::Interface { name: Some(name.clone()), state: flags.state() }
                }
                Message::Removed { index } if watched.index == Some(*index) => {
                    api::Interface { name: last_name, state: InterfaceState::Removed }
                }
                Message::Absent { sequence } if behind_port(*sequence) == Some(port) => {
                    api::Interface { name: last_name, state: InterfaceState::Removed }
                }
                _ => continue,
            };
            let removed = next.state == InterfaceState::Removed && !was_removed;
            let interface = next.name.clone().unwrap_or_default();
            known.interface = Some(next);
            drop(known);
            if removed {
                // A removal is worse than a port that is down: record it even if the port was down
                // before.
                let port = watched.name.clone();
                let words = format!(
                    "port \"{port}\": its interface was removed; no packet passes until guideway is \
                     restarted"
                );
                self.events.explain(Happening::InterfaceRemoved { port, interface }, &words);
            }
            self.report(port);
        }
    }

    /// Records and counts a change of a port's link since the last report.
    fn report(&mut self, port: usize) {
        let watched = &mut self.ports[port];
        let Some(device) = watched.port.upgrade() else { return };
        let reported = device.link();
        let link = watched.interface.link(reported);
        if let (Some(keeper), Some(requests)) = (&mut watched.keeper, &mut self.requests) {
            keeper.set_carrier(requests, link.up);
        }
        if link.up == self.up[port] {
            return;
        }
        self.up[port] = link.up;
        // Nobody waits for the outcome.
        self.changes.send(Change::Link { port, is_up: link.up });
        watched.interface.0.lock().changed = Instant::now();
        let port = watched.name.clone();
        if link.up {
            let words = format!("port \"{port}\": link {reported}");
            self.events.explain(Happening::LinkUp { port }, &words);
        } else {
            self.counters.event(Event::LinkDown, 1);
            let obstacle = obstacle(link.interface.as_ref());
            let words = format!("port \"{port}\": link down{obstacle}");
            self.events.explain(Happening::LinkDown { port }, &words);
        }
    }
}

/// The port about whose device the query with this sequence number was.
fn behind_port(sequence: u32) -> Option<usize> {
    sequence.is_multiple_of(2).then_some(sequence as usize / 2)
}

/// The port about whose own interface the query with this sequence number was.
fn of_interface(sequence: u32) -> Option<usize> {
    (!sequence.is_multiple_of(2)).then_some(sequence as usize / 2)
}

/// The end of a line in the log: how the interface keeps frames from passing.
fn obstacle(interface: Option<&api::Interface>) -> String {
    let Some(api::Interface { name, state }) = interface else { return String::new() };
    let obstacle = match state {
        InterfaceState::Up => return String::new(),
        InterfaceState::SetDown => ": set down",
        InterfaceState::NoCarrier => ": no carrier",
        InterfaceState::NotOperational => ": not operational",
        InterfaceState::Removed => " was removed: restart guideway",
    };
    format!(", interface {}{obstacle}", name.as_deref().unwrap_or("of the port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_an_obstacle_takes_the_link_down() {
        let reported = Link { up: true, speed_mbps: Some(10_000), full_duplex: true };
        let behind = |state| {
            let interface = Interface::default();
            interface.0.lock().interface =
                Some(api::Interface { name: Some("eth0".into()), state });
            let link = interface.link(reported);
            (link.up, link.speed_mbps, link.duplex, obstacle(link.interface.as_ref()))
        };
        let up = (true, Some(10_000), Some(api::Duplex::Full), String::new());
        assert_eq!(behind(InterfaceState::Up), up);
        for (state, words) in [
            (InterfaceState::SetDown, ", interface eth0: set down"),
            (InterfaceState::NoCarrier, ", interface eth0: no carrier"),
            (InterfaceState::NotOperational, ", interface eth0: not operational"),
            (InterfaceState::Removed, ", interface eth0 was removed: restart guideway"),
        ] {
            assert_eq!(behind(state), (false, None, None, words.to_owned()));
        }
        let unknown = Interface::default();
        assert!(unknown.link(reported).up && unknown.link(reported).interface.is_none());
        assert_eq!(unknown.link(Link::default()), api::Link::default());
    }
}
