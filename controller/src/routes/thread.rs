//! The thread `routes`: what is wanted and what the kernel tells becomes changes of the kernel's tables.
//!
//! It sleeps until another set of routes is wanted or the kernel tells something that concerns it. For what is wanted, it
//! need not read the table: it knows it. What others change is gathered for a moment, then the table is read and
//! compared. So is it every [`SAFETY`], for no message is sure to come: the kernel removes IPv4 routes without a word when
//! their interface goes, or its last address. If all is as wanted, nothing is sent to the kernel that changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use guideway_netlink::{Error, Refused, Requests, RouteTold, Told, Watch};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::handle::{Handle, Order};
use super::kernel::{self, ENETDOWN, ENODEV, ESRCH, Link};
use super::pace::Pace;
use super::plan::{Place, Plan, Route, in_force, plan};
use super::probes::Keeper;
use super::rules::{self, Rules};
use super::{Report, Wanted};

/// How long the thread waits for more after the kernel's first message.
const GATHERING: Duration = Duration::from_millis(2);
/// How often everything is read without a cause.
const SAFETY: Duration = Duration::from_secs(10);
/// The most time that others get between two rounds.
const REST: Duration = Duration::from_millis(100);
/// How long the thread waits before it opens sockets anew.
const REOPENING: Duration = Duration::from_secs(1);
/// The most datagrams that are taken note of in one round.
const DATAGRAMS: usize = 20_000;

/// How the thread works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The bytes of the buffer for what the kernel tells; by default 16 MiB.
    pub receive_buffer: Option<usize>,
}

/// Starts to keep the kernel's routes, in the network namespace of the caller. Nothing is changed before the first
/// [`Handle::want`], but for rules that somebody removes. Failures are logged, and tried again.
///
/// # Errors
/// If the operating system refuses a thread or an eventfd.
pub fn start(report: impl Fn(Report) + Send + 'static) -> io::Result<Handle> {
    start_with(Options::default(), report)
}

/// Like [`start`], with options.
///
/// # Errors
/// If the operating system refuses a thread or an eventfd.
pub fn start_with(
    options: Options,
    report: impl Fn(Report) + Send + 'static,
) -> io::Result<Handle> {
    let order = Arc::new(Order::new()?);
    let mut work = Work {
        order: Arc::clone(&order),
        options,
        report,
        wanted: None,
        link: None,
        is_up: None,
        installed: BTreeSet::new(),
        told: None,
        has_refused: false,
        rules: Rules::default(),
        probes: Keeper::default(),
        pace: Pace::new(),
        news: News::default(),
    };
    let thread = thread::Builder::new().name("routes".into()).spawn(move || work.run())?;
    Ok(Handle { order, thread: Some(thread) })
}

/// Both sockets.
struct Sockets {
    watch: Watch,
    requests: Requests,
}

/// What has to be looked at.
#[derive(Clone, Copy, Debug, Default)]
struct News {
    /// The interface and the table.
    table: bool,
    /// All tables, since the routes may be in another one, too.
    everywhere: bool,
    /// The rules.
    rules: bool,
    /// The rules and routes of probes.
    probes: bool,
    /// Somebody else is the cause.
    by_others: bool,
    /// The interface was down or gone meanwhile, so that its routes are gone by nobody's order.
    was_down: bool,
}

impl News {
    const ALL: News = News {
        table: true,
        everywhere: true,
        rules: true,
        probes: true,
        by_others: false,
        was_down: false,
    };

    fn any(&self) -> bool {
        self.table || self.everywhere || self.rules || self.probes
    }
}

/// What the thread has.
struct Work<F> {
    order: Arc<Order>,
    options: Options,
    report: F,
    wanted: Option<Wanted>,
    link: Option<Link>,
    /// What was reported of the interface.
    is_up: Option<bool>,
    /// The controller's routes, as far as they are known.
    installed: BTreeSet<Route>,
    /// What was reported of the routes.
    told: Option<Arc<BTreeMap<IpAddr, u32>>>,
    /// Whether refusals were reported.
    has_refused: bool,
    rules: Rules,
    probes: Keeper,
    pace: Pace,
    news: News,
}

impl<F: Fn(Report)> Work<F> {
    /// Works until the end. Opens the sockets anew when they fail.
    fn run(&mut self) {
        loop {
            let outcome = self.open().and_then(|mut sockets| self.follow(&mut sockets));
            let Err(error) = outcome else { return };
            tracing::warn!(%error, "cannot keep the routes of virtual addresses; trying again");
            let until = Instant::now() + REOPENING;
            while !self.order.is_over() && Instant::now() < until {
                self.wait(None, until);
            }
            if self.order.is_over() {
                return;
            }
        }
    }

    fn open(&self) -> Result<Sockets, Error> {
        let watch = match self.options.receive_buffer {
            Some(bytes) => Watch::routing_with_buffer(bytes)?,
            None => Watch::routing()?,
        };
        Ok(Sockets { watch, requests: Requests::open_filtering()? })
    }

    /// Follows wishes and the kernel until the end.
    fn follow(&mut self, sockets: &mut Sockets) -> Result<(), Error> {
        self.news = News::ALL;
        let mut safety = Instant::now() + SAFETY;
        while !self.order.is_over() {
            self.listen(sockets)?;
            let mut is_wish_new = self.take_wish();
            let is_about_probes = self.take_wish_of_probes();
            let begin = Instant::now();
            if begin >= safety {
                self.news.table = true;
                self.news.rules = true;
                self.news.probes = true;
            }
            let pause = self.pace.next().filter(|&next| self.news.by_others && next > begin);
            if self.news.any() && (is_wish_new || is_about_probes || pause.is_none()) {
                let news = std::mem::take(&mut self.news);
                if news.by_others {
                    self.pace.note(begin);
                }
                safety = begin + SAFETY;
                self.read(&mut sockets.requests, news)?;
                // Else that was done, too.
                is_wish_new &= !news.table && !news.everywhere;
            }
            if is_wish_new {
                self.change(&mut sockets.requests, None)?;
            }
            let took = begin.elapsed();
            // As long as it took, so that others have their turn.
            if took > GATHERING {
                thread::sleep(took.min(REST));
            }
            let pause = self.pace.next().filter(|_| self.news.by_others);
            let next = if self.news.any() { pause.unwrap_or(begin) } else { safety };
            if self.wait(Some(&sockets.watch), next.min(safety)) {
                thread::sleep(GATHERING);
            }
        }
        Ok(())
    }

    /// Waits until there is an order, the kernel tells something, or a time comes. Returns whether the kernel told
    /// something.
    fn wait(&self, watch: Option<&Watch>, until: Instant) -> bool {
        let rest = until.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).ok();
        let mut fds = vec![PollFd::new(&self.order.wake, PollFlags::IN)];
        if let Some(watch) = watch {
            fds.push(PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN));
        }
        // A signal ends the wait early, which is no harm.
        let _ = poll(&mut fds, rest.as_ref());
        let has_told = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        // Fails if nobody woke the thread.
        let _ = rustix::io::read(&self.order.wake, &mut [0; 8]);
        has_told
    }

    /// Takes the newest wish, if there is one.
    fn take_wish(&mut self) -> bool {
        let Some(wish) = self.order.take() else { return false };
        let place = |wanted: &Wanted| (wanted.table, wanted.interface.clone());
        if self.wanted.as_ref().map(place) != Some(place(&wish)) {
            self.news.table = true;
            self.news.everywhere = true;
        }
        self.wanted = Some(wish);
        true
    }

    /// Takes the newest wish about probes, if there is one.
    fn take_wish_of_probes(&mut self) -> bool {
        let is_new = self.order.take_probes().is_some_and(|probes| self.probes.want(probes));
        self.news.probes |= is_new;
        is_new
    }

    /// Takes note of what the kernel has told.
    fn listen(&mut self, sockets: &mut Sockets) -> Result<(), Error> {
        let own = sockets.requests.port();
        let mut news = self.news;
        let outcome = sockets.watch.receive(DATAGRAMS, |told| self.take(told, own, &mut news));
        self.news = news;
        match outcome {
            Ok(_) => Ok(()),
            Err(Error::Overrun) => {
                self.news.table = true;
                self.news.rules = true;
                self.news.probes = true;
                self.news.by_others = true;
                sockets.watch.discard(DATAGRAMS)
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, told: Told, own: u32, news: &mut News) {
        use RouteNetlinkMessage as M;
        if self.probes.hear(&told, own) {
            news.probes = true;
            news.by_others = true;
        }
        let Some(wanted) = &self.wanted else {
            news.rules |= matches!(told, Told::Message(M::DelRule(rule)) if rules::is_about(&rule));
            return;
        };
        let index = self.link.map(|link| link.index);
        let is_about = |link: &LinkMessage| {
            // A bridge tells of its ports in a family of its own, even when they leave it.
            link.header.interface_family == AddressFamily::Unspec
                && kernel::is_about(link, &wanted.interface, index)
        };
        match told {
            Told::Route(RouteTold { by, .. }) if by == own => return,
            Told::Route(RouteTold { prefix, table, .. }) => {
                let address = prefix.addr();
                if table != wanted.table
                    || prefix.prefix_len() != kernel::full_length(address)
                    || !self.concerns(wanted, address)
                {
                    return;
                }
                news.table = true;
            }
            Told::Message(M::NewLink(link)) if is_about(&link) => {
                news.was_down |= kernel::is_down(&link);
                news.table = true;
            }
            Told::Message(M::DelLink(link)) if is_about(&link) => {
                news.was_down = true;
                news.table = true;
            }
            // With the last address of an interface, the kernel removes its IPv4 routes, and does not tell so.
            Told::Message(M::DelAddress(address)) if Some(address.header.index) == index => {
                news.table = true;
            }
            Told::Message(M::DelRule(rule)) if rules::is_about(&rule) => news.rules = true,
            _ => return,
        }
        news.by_others = true;
    }

    /// Whether there is or should be a route to this address.
    fn concerns(&self, wanted: &Wanted, address: IpAddr) -> bool {
        let least = Route { address, metric: 0, table: 0, interface: 0 };
        wanted.metrics.contains_key(&address)
            || self.installed.range(least..).next().is_some_and(|route| route.address == address)
    }

    /// Reads what has to be looked at, and sets it right.
    fn read(&mut self, requests: &mut Requests, news: News) -> Result<(), Error> {
        if news.rules {
            for ipv6 in self.rules.keep(requests)? {
                (self.report)(Report::RuleRestored { ipv6 });
            }
        }
        if news.probes {
            self.probes.keep(requests)?.into_iter().for_each(&self.report);
        }
        let Some(wanted) = self.wanted.clone() else {
            // The first wish has everything read.
            return Ok(());
        };
        if !news.table && !news.everywhere {
            return Ok(());
        }
        let before = (self.place(), std::mem::take(&mut self.installed));
        self.link = kernel::link(requests, &wanted.interface)?;
        let is_up = self.link.is_some_and(|link| link.is_up);
        if self.is_up != Some(is_up) {
            self.is_up = Some(is_up);
            (self.report)(Report::Interface { is_up });
        }
        let table = (!news.everywhere).then_some(wanted.table);
        self.installed = kernel::read(requests, table)?.into_iter().collect();
        let mut lost = BTreeSet::new();
        if before.0 == self.place() && !news.was_down {
            lost.extend(before.1.difference(&self.installed));
        }
        self.change(requests, Some(&lost))
    }

    /// Where the routes belong, while the interface is up.
    fn place(&self) -> Option<Place> {
        let link = self.link.filter(|link| link.is_up)?;
        let wanted = self.wanted.as_ref()?;
        Some(Place { table: wanted.table, interface: link.index })
    }

    /// Makes the routes those that are wanted. `lost` are those that somebody else has removed; `None` if the table was
    /// not read before.
    fn change(
        &mut self,
        requests: &mut Requests,
        lost: Option<&BTreeSet<Route>>,
    ) -> Result<(), Error> {
        let Some(wanted) = self.wanted.clone() else { return Ok(()) };
        let place = self.place();
        let Plan { add, mut remove } = plan(&wanted.metrics, place, &self.installed);
        let (mut refusals, mut restored, mut failed) = (Vec::new(), 0, BTreeSet::new());
        for (route, outcome) in add.iter().zip(kernel::add(requests, &add)?) {
            match outcome {
                Ok(()) => {
                    self.installed.insert(*route);
                    restored += usize::from(lost.is_some_and(|lost| lost.contains(route)));
                }
                Err(refused) => {
                    failed.insert(route.address);
                    refusals.push(refused);
                }
            }
        }
        // Rather the old metric than no route.
        let at = |route: &Route| place.is_some_and(|place| route.is_at(place));
        remove.retain(|route| !at(route) || !failed.contains(&route.address));
        for (route, outcome) in remove.iter().zip(kernel::remove(requests, &remove)?) {
            match outcome {
                Ok(()) | Err(Refused { errno: ESRCH | ENODEV, .. }) => {
                    self.installed.remove(route);
                }
                Err(refused) => refusals.push(refused),
            }
        }
        if restored > 0 {
            (self.report)(Report::Restored { routes: restored });
        }
        self.tell_refusals(refusals, lost.is_some());
        self.tell_installed(place);
        Ok(())
    }

    fn tell_refusals(&mut self, mut refusals: Vec<Refused>, is_read: bool) {
        let before = refusals.len();
        // The interface has gone meanwhile.
        refusals.retain(|refused| !matches!(refused.errno, ENODEV | ENETDOWN));
        if refusals.len() < before || (!refusals.is_empty() && !is_read) {
            // Perhaps the table is not as it is believed to be. If that was read, another attempt waits for a change.
            self.news.table = true;
            self.news.by_others = true;
        }
        let Some(first) = refusals.first() else {
            self.has_refused &= before > 0;
            return;
        };
        if is_read && !self.has_refused {
            self.has_refused = true;
            let (routes, error) = (refusals.len(), first.to_string());
            (self.report)(Report::Refused { routes, error });
        }
    }

    fn tell_installed(&mut self, place: Option<Place>) {
        let installed = in_force(&self.installed, place);
        if self.told.as_deref() != Some(&installed) {
            let installed = Arc::new(installed);
            self.told = Some(Arc::clone(&installed));
            (self.report)(Report::Installed(installed));
        }
    }
}
