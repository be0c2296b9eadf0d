//! The thread `routes`: what the kernel tells becomes changes of the state.
//!
//! It sleeps until the kernel tells something. Then it waits for a moment, because changes come in bursts, takes note of
//! everything, asks anew about the destinations that are concerned, and sends the manager one batch. While that is
//! being published, and for at least as long as the last round took, the socket's buffer holds what comes meanwhile.
//! So asking and publishing take at most half of one CPU's time in a storm of messages, and the last message counts.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use guideway_api::Happening;
use guideway_config::{Configuration, Mac};
use rustc_hash::FxHashSet;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::destinations::Destinations;
use super::limit::NewsLimit;
use super::managed::{Key, Managed};
use super::mirror::{Effect, Mirror, PortInterface};
use super::resolver::resolve;
use super::view::{Health, Neighbor, NeighborState, RouteView, View, format_mac};
use crate::manager::{Change, Changes, Published};
use crate::routing::{Batch, Link, Routing};
use guideway_chassis::event::Recorder;
use guideway_netlink::{Error, Requests, Watch};

/// How long the thread waits for more after the first message.
const GATHERING: Duration = Duration::from_millis(2);
/// The least time between two rounds.
const PAUSE: Duration = Duration::from_millis(5);
/// How often the thread looks whether another configuration was published.
const PUBLISHED: Duration = Duration::from_millis(50);
/// The least time between two readings of everything.
const READING: Duration = Duration::from_millis(500);
/// The least time between two views.
const VIEW: Duration = Duration::from_millis(200);
/// How long the thread waits before it opens sockets anew. The time doubles.
const REOPENING: Duration = Duration::from_secs(1);
/// The longest such time.
const REOPENING_AT_MOST: Duration = Duration::from_secs(60);
/// The least time between two messages in the log about refusals.
const LOGGING: Duration = Duration::from_secs(10);
/// The most datagrams that are taken note of in one round.
const DATAGRAMS: usize = 20_000;

/// How the thread works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The bytes of the buffer for what the kernel tells; by default 16 MiB.
    pub receive_buffer: Option<usize>,
    /// Does without managed entries of neighbours, as with kernels that refuse them.
    pub probes: bool,
}

/// The running thread. Dropping the handle stops it, and removes the entries that it made in the kernel's tables. It must
/// be dropped before the manager's handle, since the thread waits for the manager.
#[derive(Debug)]
pub struct Handle {
    view: Arc<ArcSwap<View>>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Follows the kernel's routes, neighbours and addresses. The sockets belong to the network namespace of the caller.
/// A failure is logged, and tried again: static routing goes on.
///
/// # Errors
/// If the operating system refuses a thread or an eventfd.
pub fn start(
    ports: Vec<PortInterface>,
    changes: Changes,
    published: Arc<ArcSwap<Published>>,
    options: Options,
    events: Recorder,
) -> io::Result<Handle> {
    let view = Arc::new(ArcSwap::from_pointee(View::default()));
    let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let mut work = Work {
        mirror: Mirror::new(ports),
        destinations: Destinations::default(),
        managed: Managed::new(options.probes),
        in_use: FxHashSet::default(),
        news: News::default(),
        gone: Vec::new(),
        configuration: None,
        generation: 0,
        changes,
        published,
        view: Arc::clone(&view),
        viewed: None,
        health: Health::default(),
        logged: None,
        stop: Arc::clone(&stop),
        options,
        events,
        news_limit: NewsLimit::default(),
    };
    let thread = thread::Builder::new().name("routes".into()).spawn(move || work.run())?;
    Ok(Handle { view, stop, thread: Some(thread) })
}

impl Handle {
    /// What listings show.
    pub fn view(&self) -> &Arc<ArcSwap<View>> {
        &self.view
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Fails only if the counter would overflow.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that follows the kernel's routes panicked");
        }
    }
}

/// Both sockets.
struct Sockets {
    watch: Watch,
    requests: Requests,
}

/// What the thread has.
struct Work {
    mirror: Mirror,
    destinations: Destinations,
    managed: Managed,
    /// The neighbours in use.
    in_use: FxHashSet<Key>,
    news: News,
    /// Destinations that are no longer asked about.
    gone: Vec<IpAddr>,
    /// The configuration that the destinations are of.
    configuration: Option<Arc<Configuration>>,
    /// The generation that the neighbours in use are of.
    generation: u64,
    changes: Changes,
    published: Arc<ArcSwap<Published>>,
    view: Arc<ArcSwap<View>>,
    viewed: Option<Instant>,
    health: Health,
    logged: Option<Instant>,
    stop: Arc<OwnedFd>,
    options: Options,
    events: Recorder,
    news_limit: NewsLimit,
}

impl Work {
    /// Works until the stop. Opens the sockets anew when they fail.
    fn run(&mut self) {
        let mut pause = REOPENING;
        loop {
            let begin = Instant::now();
            let outcome = self.open().and_then(|mut sockets| self.follow(&mut sockets));
            let Err(error) = outcome else { return };
            self.health.is_running = false;
            self.count(error.to_string(), 1);
            tracing::warn!(
                %error,
                "cannot follow the kernel's routes and neighbors; what is known of them stays in force"
            );
            self.show();
            if begin.elapsed() > REOPENING_AT_MOST {
                pause = REOPENING;
            }
            if self.sleep(pause) {
                return;
            }
            pause = (pause * 2).min(REOPENING_AT_MOST);
        }
    }

    fn open(&self) -> Result<Sockets, Error> {
        let watch = match self.options.receive_buffer {
            Some(bytes) => Watch::with_buffer(bytes)?,
            None => Watch::open()?,
        };
        Ok(Sockets { watch, requests: Requests::open()? })
    }

    /// Follows the kernel until the stop.
    fn follow(&mut self, sockets: &mut Sockets) -> Result<(), Error> {
        let mut must_read = true;
        let mut next_reading = Instant::now();
        let before = (self.health.skipped, self.health.overruns);
        loop {
            let begin = Instant::now();
            let outcome = sockets.watch.receive(DATAGRAMS, |told| {
                let effect = self.mirror.take(told);
                self.news.take(effect, &self.mirror, &mut self.destinations, &mut self.managed);
            });
            match outcome {
                Ok(_) => (),
                Err(Error::Overrun) => {
                    must_read = true;
                    self.news.is_view_old = true;
                    self.health.overruns += 1;
                }
                Err(error) => return Err(error),
            }
            if must_read {
                sockets.watch.discard(DATAGRAMS)?;
            }
            if must_read && begin >= next_reading {
                self.read(sockets)?;
                (must_read, next_reading) = (false, Instant::now() + READING);
                if self.health.overruns > before.1 {
                    tracing::warn!(
                        overruns = self.health.overruns,
                        "the kernel told more than could be read; all was read again"
                    );
                }
            }
            let skipped = before.0 + sockets.watch.skipped() + sockets.requests.skipped();
            self.health.skipped = skipped;
            let expiry = self.expire();
            let begin = Instant::now();
            let has_failed = !self.round(sockets)?;
            let now = Instant::now();
            if self.news.is_view_old && self.viewed.is_none_or(|viewed| viewed + VIEW <= now) {
                self.show();
            }
            // As long as it took, so that others have their turn.
            let rest = if has_failed { REOPENING } else { (now - begin).max(PAUSE) };
            if self.sleep(rest) {
                return self.managed.clear(&mut sockets.requests, &self.mirror);
            }
            let mut until = Instant::now() + PUBLISHED;
            let reading = must_read.then_some(next_reading);
            for deadline in [expiry, self.managed.next(), reading].into_iter().flatten() {
                until = until.min(deadline);
            }
            if self.wait(&sockets.watch, until) {
                return self.managed.clear(&mut sockets.requests, &self.mirror);
            }
        }
    }

    /// Reads everything.
    fn read(&mut self, sockets: &mut Sockets) -> Result<(), Error> {
        self.mirror.read(&mut sockets.requests)?;
        self.destinations.touch_all();
        self.news.has_new_addresses = true;
        self.news.is_view_old = true;
        self.news.touched.extend(&self.in_use);
        for &(link, address) in &self.in_use {
            let known = self.mirror.known(link, address);
            if known.is_none_or(|known| !known.entry.is_managed) {
                self.managed.renew((link, address), Instant::now());
            }
        }
        self.health.is_running = true;
        Ok(())
    }

    fn expire(&mut self) -> Option<Instant> {
        let (expired, next) = self.mirror.expire(Instant::now());
        self.news.touched.extend(expired);
        next
    }

    /// Publishes what is new, and enters and removes neighbours. Returns false if what is new could not be published.
    fn round(&mut self, sockets: &mut Sockets) -> Result<bool, Error> {
        let published = self.published.load_full();
        self.take_configuration(&published);
        let mut batch = Batch::default();
        if self.news.has_new_addresses {
            let local = self.mirror.local();
            batch.local = (*local != *published.routing.local()).then_some(local);
        }
        self.ask(&mut sockets.requests, &mut batch)?;
        let mut routing = published.routing.clone();
        let is_another = routing.apply(&batch);
        if self.news.has_moved || is_another || published.generation != self.generation {
            self.find_neighbors(&routing);
            self.news.has_moved = false;
        }
        self.add_neighbors(&routing, &mut batch);
        let has_news = is_another || !batch.neighbors.is_empty();
        let happenings = self.compare_neighbors(&published, &batch);
        let sent = has_news.then(|| self.changes.send(Change::Kernel(batch)).turn());
        // While the manager compiles.
        let outcome = self.managed.work(&mut sockets.requests, &self.mirror, Instant::now())?;
        if let Some(last) = outcome.last {
            self.refused(last, outcome.refusals);
        }
        // Not what the batch below becomes: another change may be published with it, such as a link that is back.
        self.generation = published.generation;
        if let Some(turn) = sent {
            turn.wait();
            self.news.is_view_old = true;
        }
        if has_news && self.published.load().generation == published.generation {
            // The manager failed, or it stops. The next round sends all of it again.
            self.destinations.forget_answers();
            self.news.touched.extend(&self.in_use);
            self.news.has_new_addresses = true;
            return Ok(false);
        }
        let happenings = self.news_limit.pass(happenings, Instant::now());
        happenings.into_iter().for_each(|happening| self.events.record(happening));
        self.news.has_new_addresses = false;
        self.gone.clear();
        Ok(true)
    }

    /// What a batch changes for neighbours in use, compared with what is published.
    fn compare_neighbors(&self, published: &Published, batch: &Batch) -> Vec<Happening> {
        let compare = |&(link, address, mac): &(Link, IpAddr, Option<Mac>)| {
            // One that is no longer in use is not lost.
            if !self.in_use.contains(&(link, address)) {
                return None;
            }
            let port = published.configuration.ports.get(link.port)?.name.clone();
            let vlan = link.vlan;
            match (published.routing.learnt(link, address), mac) {
                (None, Some(mac)) => {
                    let mac = format_mac(mac);
                    Some(Happening::NeighborResolved { port, vlan, address, mac })
                }
                (Some(from), Some(to)) => {
                    let (from, to) = (format_mac(from), format_mac(to));
                    Some(Happening::NeighborMoved { port, vlan, address, from, to })
                }
                (Some(_), None) => Some(Happening::NeighborLost { port, vlan, address }),
                (None, None) => None,
            }
        };
        batch.neighbors.iter().filter_map(compare).collect()
    }

    /// Takes the destinations of another configuration.
    fn take_configuration(&mut self, published: &Published) {
        let is_same = |before: &Arc<_>| Arc::ptr_eq(before, &published.configuration);
        if self.configuration.as_ref().is_some_and(is_same) {
            return;
        }
        let source = |of: &Configuration| (of.node.tunnel_source_v4, of.node.tunnel_source_v6);
        let before = self.configuration.replace(Arc::clone(&published.configuration));
        if before.is_some_and(|before| source(&before) != source(&published.configuration)) {
            self.destinations.touch_all();
        }
        self.gone.extend(self.destinations.set(&published.configuration));
        self.news.has_moved = true;
    }

    /// Asks about the destinations that are concerned.
    fn ask(&mut self, requests: &mut Requests, batch: &mut Batch) -> Result<(), Error> {
        batch.routes.extend(self.gone.iter().map(|&gone| (gone, None)));
        if !self.destinations.are_due() {
            return Ok(());
        }
        let due = self.destinations.take_due();
        let node = self.configuration.as_ref().map(|configuration| &configuration.node);
        let v4 = node.and_then(|node| node.tunnel_source_v4).map(|v4| IpAddr::from(v4.addr()));
        let v6 = node.and_then(|node| node.tunnel_source_v6).map(IpAddr::from);
        let [v4, v6] = [v4, v6].map(|source| source.filter(|&source| self.mirror.is_local(source)));
        let source_of = |to: IpAddr| if to.is_ipv4() { v4 } else { v6 };
        let routes = resolve(requests, &self.mirror, &due, source_of)?;
        for (to, route) in due.into_iter().zip(routes) {
            if self.destinations.answer(to, &route) {
                batch.routes.push((to, Some(route)));
            }
        }
        Ok(())
    }

    /// Finds the neighbours in use: next hops on a link of the kernel without a static MAC address.
    fn find_neighbors(&mut self, routing: &Routing) {
        let hops = self.destinations.iter().filter_map(|to| routing.way(to).ok());
        let mut in_use: FxHashSet<Key> = hops.map(|hop| (hop.link(), hop.address)).collect();
        in_use.retain(|&(link, address)| {
            !routing.is_static(address) && self.mirror.index_of(link).is_some()
        });
        self.news.touched.extend(self.in_use.symmetric_difference(&in_use));
        self.managed.want(&in_use, Instant::now());
        self.in_use = in_use;
    }

    /// Adds the neighbours that are others to a batch.
    fn add_neighbors(&mut self, routing: &Routing, batch: &mut Batch) {
        let now = Instant::now();
        for (link, address) in self.news.touched.drain() {
            let known =
                self.mirror.known(link, address).filter(|_| self.in_use.contains(&(link, address)));
            let mac = known.and_then(|known| known.mac(now));
            if routing.clone().learn(link, address, mac) {
                batch.neighbors.push((link, address, mac));
            }
        }
    }

    /// Counts refusals, and logs one now and then.
    fn refused(&mut self, why: String, count: u64) {
        let now = Instant::now();
        if self.logged.is_none_or(|logged| logged + LOGGING <= now) {
            self.logged = Some(now);
            tracing::warn!(refusals = count, "the kernel refuses entries of neighbors: {why}");
        }
        self.count(why, count);
    }

    /// Counts requests that failed.
    fn count(&mut self, why: String, count: u64) {
        self.health.errors += count;
        self.health.last_error = Some(why);
        self.news.is_view_old = true;
    }

    /// Publishes a view.
    fn show(&mut self) {
        let neighbor = |&(link, address): &(Link, IpAddr)| {
            let known = self.mirror.known(link, address);
            Neighbor {
                link,
                address,
                mac: known.and_then(|known| known.mac(Instant::now())),
                state: known.map_or(NeighborState::Missing, |known| known.entry.state),
                is_managed: known.is_some_and(|known| known.entry.is_managed),
                since: known.map_or_else(std::time::SystemTime::now, |known| known.since),
            }
        };
        let mut neighbors: Vec<Neighbor> = self.in_use.iter().map(neighbor).collect();
        neighbors.sort_unstable_by_key(|neighbor| (neighbor.link, neighbor.address));
        let route = |(to, (route, since)): (IpAddr, &(Arc<_>, _))| {
            (to, RouteView { route: Arc::clone(route), since: *since })
        };
        self.view.store(Arc::new(View {
            health: self.health.clone(),
            interfaces: self.mirror.interfaces(),
            neighbors,
            routes: self.destinations.answers().map(route).collect(),
            local: self.mirror.local(),
        }));
        self.news.is_view_old = false;
        self.viewed = Some(Instant::now());
    }

    /// Sleeps. Returns whether the stop came.
    fn sleep(&self, time: Duration) -> bool {
        let mut events = [PollFd::from_borrowed_fd(self.stop.as_fd(), PollFlags::IN)];
        let _ = poll(&mut events, Timespec::try_from(time).ok().as_ref());
        !events[0].revents().is_empty()
    }

    /// Waits until the kernel tells something, and then for a moment. Returns whether the stop came.
    fn wait(&self, watch: &Watch, until: Instant) -> bool {
        let time = until.saturating_duration_since(Instant::now());
        let fds = [self.stop.as_fd(), watch.as_fd()];
        let mut events = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        let _ = poll(&mut events, Timespec::try_from(time).ok().as_ref());
        let [stop, told] = events.map(|event| !event.revents().is_empty());
        stop || told && self.sleep(GATHERING)
    }
}

/// What the messages of the kernel concern.
#[derive(Debug, Default)]
struct News {
    /// Neighbours that may be others.
    touched: FxHashSet<Key>,
    /// Whether neighbours may be in use that were not, or the other way round.
    has_moved: bool,
    has_new_addresses: bool,
    is_view_old: bool,
}

impl News {
    fn take(
        &mut self,
        effect: Effect,
        mirror: &Mirror,
        destinations: &mut Destinations,
        managed: &mut Managed,
    ) {
        match effect {
            Effect::None => return,
            Effect::Prefix(prefix) => return destinations.touch(prefix),
            Effect::Routes => destinations.touch_all(),
            Effect::Addresses => {
                destinations.touch_all();
                self.has_new_addresses = true;
            }
            Effect::Device(index) => {
                destinations.touch_all();
                self.has_new_addresses = true;
                self.has_moved = true;
                if let Some(link) = mirror.link_of(index)
                    && mirror.device(index).is_some_and(|device| device.is_up && device.has_carrier)
                {
                    managed.renew_all(link, Instant::now());
                }
            }
            Effect::Neighbor { link, address, is_weak } => {
                self.touched.insert((link, address));
                if is_weak {
                    managed.renew((link, address), Instant::now());
                }
            }
        }
        self.is_view_old = true;
    }
}
