//! Pools and their backends: which flows a backend accepts, and how packets reach it.

use std::sync::Arc;

use super::choice::Choice;
use super::encapsulation::Template;
use super::id::{PolicyIndex, PoolIndex, PortIndex};
use super::maglev;
use crate::wire::Family;

/// Backends that serve the same thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What the backend of a new flow is chosen from. Its values are backend ids. It is a Maglev table, but for
    /// [`Choice::RoundRobin`], for which its slots are the turns.
    pub maglev: Arc<maglev::Table>,
    /// How the backend is chosen.
    pub choice: Choice,
    /// Whether packets of new flows are answered by a RST or an ICMP error when there is no backend for them.
    pub resets: bool,
}

impl Pool {
    /// A pool that chooses by this Maglev table, and does not answer packets without a backend.
    pub fn new(maglev: Arc<maglev::Table>) -> Pool {
        Pool { maglev, choice: Choice::Maglev, resets: false }
    }
}

/// Which flows a backend accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// New flows and its existing ones.
    All,
    /// Only its existing flows, but for those that [`Backend::leaving`] names: it drains, or is down.
    Existing,
    /// No flow: it is disabled, or no backend has this id.
    Nothing,
}

/// One server.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Its pool. A flow leaves the backend when its service gets another pool.
    pub pool: PoolIndex,
    /// Which flows it accepts.
    pub serving: Serving,
    /// The flows that it does not keep although it serves existing ones.
    pub leaving: Leaving,
    /// Its share of new flows, relative to the other weights of its pool.
    pub weight: u32,
    /// How packets reach it; `None` while the MAC address of its next hop is not known.
    pub route: Option<Route>,
    /// The limit that the segment size of its connections is lowered to.
    pub mss: MssLimit,
    /// The generation in which it got its id. A choice of an earlier generation meant another backend.
    pub since: u32,
}

/// Limits of TCP's maximum segment size, by the family of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MssLimit {
    /// Over IPv4.
    pub v4: u16,
    /// Over IPv6.
    pub v6: u16,
}

impl MssLimit {
    /// No limit.
    pub const NONE: MssLimit = MssLimit { v4: u16::MAX, v6: u16::MAX };

    /// The limit for a family.
    pub fn of(self, family: Family) -> u16 {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

impl Backend {
    /// Stands for an id that no backend has.
    pub const VACANT: Backend = Backend {
        pool: PoolIndex::NONE,
        serving: Serving::Nothing,
        leaving: Leaving::NONE,
        weight: 0,
        route: None,
        mss: MssLimit::NONE,
        since: 0,
    };

    /// What becomes of a recorded flow of this backend, of a service with this pool and this policy.
    #[inline]
    pub fn fate(&self, pool: PoolIndex, policy: PolicyIndex) -> Fate {
        if self.pool != pool {
            return Fate::Move;
        }
        match self.serving {
            Serving::All => Fate::Keep,
            Serving::Existing if self.leaving.moved.has(policy) => Fate::Move,
            Serving::Existing if self.leaving.reset.has(policy) => Fate::Reset,
            Serving::Existing => Fate::Keep,
            Serving::Nothing => Fate::Move,
        }
    }
}

/// What becomes of a recorded flow when its backend, or its service, changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays with its backend.
    Keep,
    /// It moves to another backend with its next packet.
    Move,
    /// Its packets are answered by a RST or an ICMP error, until its entry expires.
    Reset,
}

/// The policies whose services' flows leave a backend that serves existing flows only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Their flows move to other backends.
    pub moved: PolicySet,
    /// Packets of their flows are answered by a RST or an ICMP error.
    pub reset: PolicySet,
}

impl Leaving {
    /// All flows stay.
    pub const NONE: Leaving = Leaving { moved: PolicySet(0), reset: PolicySet(0) };
}

/// A set of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicySet(u64);

impl PolicySet {
    /// How many policies there can be.
    pub const CAPACITY: usize = 64;

    /// Whether the set has a policy.
    #[inline]
    pub const fn has(self, policy: PolicyIndex) -> bool {
        self.0 >> (policy.0 % 64) & 1 == 1
    }

    /// The set with one more policy.
    #[must_use]
    pub const fn with(self, policy: PolicyIndex) -> PolicySet {
        PolicySet(self.0 | 1 << (policy.0 % 64))
    }

    /// The policies of both sets.
    #[must_use]
    pub const fn and(self, other: PolicySet) -> PolicySet {
        PolicySet(self.0 | other.0)
    }
}

/// How packets reach a backend or a member of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The port that they leave by.
    pub port: PortIndex,
    /// The headers that are put before them.
    pub template: Template,
}
