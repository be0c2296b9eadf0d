//! Pools and their backends: which flows a backend accepts, and how packets reach it.

use std::sync::Arc;

use super::encapsulation::Template;
use super::id::{PoolIndex, PortIndex};
use super::maglev;
use crate::wire::Family;

/// Backends that serve the same thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Chooses the backend of a new flow. Its values are backend ids.
    pub maglev: Arc<maglev::Table>,
}

/// Which flows a backend accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// New flows and its existing ones.
    All,
    /// Only its existing flows: it is draining.
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
        route: None,
        mss: MssLimit::NONE,
        since: 0,
    };
}

/// How packets reach a backend or a member of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The port that they leave by.
    pub port: PortIndex,
    /// The headers that are put before them.
    pub template: Template,
}
