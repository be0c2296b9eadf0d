//! Which checks are of which backends, by what pools and services name.

use super::draft::Draft;
use crate::findings::{Checked, excerpt};
use crate::probing::FirstServices;
use crate::sections::Via;
use crate::sections::check::{CheckDraft, Kind};
use crate::sections::service::ServiceEntry;

/// Who names a check.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// A pool, for its own backends.
    Pool(usize),
    /// A service, for all that its pool can choose from.
    Service(usize),
}

/// A check that a pool or a service names.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    /// The index of the check.
    pub(super) index: usize,
    pub(super) check: &'a CheckDraft,
    pub(super) by: By,
    /// Its place in the list.
    at: usize,
}

impl Use<'_> {
    pub(super) fn path(&self) -> String {
        match self.by {
            By::Pool(index) => format!("pool[{index}].checks[{}]", self.at),
            By::Service(index) => format!("service[{index}].checks[{}]", self.at),
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.check.kind.ok()
    }
}

/// A pool and a backend of it, by their indices.
pub(super) type Member = (usize, usize);

/// What some backends have in common.
#[derive(Clone, Copy, Default)]
pub(super) struct Backends {
    /// One that packets can travel to by a tunnel.
    pub(super) tunnelled: Option<Member>,
    /// One that they cannot.
    pub(super) plain: Option<Member>,
    /// Whether there is an IPv6 address among theirs.
    pub(super) has_v6: bool,
}

impl Backends {
    fn add(&mut self, other: Backends) {
        self.tunnelled = self.tunnelled.or(other.tunnelled);
        self.plain = self.plain.or(other.plain);
        self.has_v6 |= other.has_v6;
    }
}

/// The checks that are named, and the backends that they are of.
pub(super) struct Uses<'a> {
    pub(super) draft: &'a Draft<'a>,
    pub(super) uses: Vec<Use<'a>>,
    /// Of each pool's own backends.
    own: Vec<Backends>,
    /// Of all that each pool can choose from.
    chosen: Vec<Backends>,
    first: FirstServices,
    /// Whether no mistake hides which services use a pool.
    are_services_known: bool,
}

impl<'a> Uses<'a> {
    pub(super) fn new(draft: &'a Draft<'a>) -> Self {
        let own: Vec<Backends> = own_backends(draft);
        let pools = 0..draft.pools().len();
        let chosen = pools.map(|pool| {
            let mut all = own[pool];
            for included in draft.inclusions_of(pool).iter().flat_map(|found| &found.included) {
                all.add(own[included.pool]);
            }
            all
        });
        let chosen = chosen.collect();
        let services = draft.services().iter().enumerate();
        let services = services.filter_map(|(index, service)| {
            Some((index, service.pool.ok()?, service.keys.protocol.ok()?))
        });
        let first = FirstServices::new(draft.pools().len(), services, |pool| {
            let found = draft.inclusions_of(pool).into_iter();
            found.flat_map(|found| &found.included).map(|included| included.pool)
        });
        let is_known = |service: &ServiceEntry| {
            service.pool.is_ok() && service.keys.protocol.is_ok() && service.keys.port.is_ok()
        };
        let are_services_known = draft.services.is_ok()
            && draft.services().iter().all(is_known)
            && draft.inclusions.iter().all(Checked::is_ok);
        Uses { draft, uses: named(draft), own, chosen, first, are_services_known }
    }

    /// What the backends of a use have in common.
    pub(super) fn backends(&self, of: &Use<'_>) -> Backends {
        let found = match of.by {
            By::Pool(pool) => self.own.get(pool),
            By::Service(service) => self.pool_of(service).and_then(|pool| self.chosen.get(pool)),
        };
        found.copied().unwrap_or_default()
    }

    fn pool_of(&self, service: usize) -> Option<usize> {
        self.draft.services().get(service)?.pool.ok()
    }

    /// A backend whose probes go through a tunnel.
    pub(super) fn by_tunnel(&self, of: &Use<'_>) -> Option<Member> {
        let backends = self.backends(of);
        match of.check.via.ok()? {
            Some(Via::Tunnel) => backends.tunnelled.or(backends.plain),
            Some(Via::Direct) => None,
            None => backends.tunnelled,
        }
    }

    /// A backend whose probes go to its own address.
    pub(super) fn direct(&self, of: &Use<'_>) -> Option<Member> {
        let backends = self.backends(of);
        match of.check.via.ok()? {
            Some(Via::Tunnel) => None,
            Some(Via::Direct) => backends.plain.or(backends.tunnelled),
            None => backends.plain,
        }
    }

    /// The service that the probes of a use go to; none if there is none, or if a mistake may hide it.
    pub(super) fn service(&self, of: &Use<'_>) -> Option<&'a ServiceEntry> {
        let index = match of.by {
            By::Service(service) => service,
            By::Pool(pool) => self.first.of(pool, of.kind()?.protocol())?,
        };
        self.draft.services().get(index)
    }

    /// Whether nobody uses the pool whose check it is.
    pub(super) fn lacks_service(&self, of: &Use<'_>) -> bool {
        self.are_services_known && of.kind().is_some() && self.service(of).is_none()
    }

    /// `"web"`, or words for a check whose name is a mistake.
    pub(super) fn name(&self, of: &Use<'_>) -> String {
        of.check.name.as_ref().map_or("without a name".to_owned(), |name| excerpt(name))
    }
}

/// What each pool's own backends have in common. Backends with a mistake are left out.
fn own_backends(draft: &Draft<'_>) -> Vec<Backends> {
    let mut own = vec![Backends::default(); draft.pools().len()];
    for (entry, address) in draft.addressed_backends() {
        let Ok(listed) = entry.encapsulations() else { continue };
        let member = Some((entry.pool_index, entry.index));
        let (tunnelled, plain) = match listed.iter().any(|e| e.is_tunnel()) {
            true => (member, None),
            false => (None, member),
        };
        own[entry.pool_index].add(Backends { tunnelled, plain, has_v6: address.is_ipv6() });
    }
    own
}

/// What pools and services name, in the file's order, pools first.
fn named<'a>(draft: &'a Draft<'a>) -> Vec<Use<'a>> {
    let Ok(checks) = &draft.checks else { return Vec::new() };
    let pools = draft.pool_checks.iter().enumerate();
    let pools = pools.map(|(index, found)| (By::Pool(index), found));
    let services = draft.services().iter().enumerate();
    let services = services.map(|(index, service)| (By::Service(index), &service.checks));
    let of_list = |(by, found): (By, &'a Checked<Vec<usize>>)| {
        let listed = found.iter().flatten().enumerate();
        listed
            .filter_map(move |(at, &index)| Some(Use { index, check: checks.get(index)?, by, at }))
    };
    pools.chain(services).flat_map(of_list).collect()
}
