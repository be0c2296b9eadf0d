//! Pools and their backends: which flows a backend takes, and how its packets leave.

use std::sync::Arc;

use super::encapsulation::Template;
use super::id::{PoolIndex, PortIndex};
use super::maglev;
use crate::wire::Family;

/// Backends that serve alike.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Places new flows; the values are backend numbers.
    pub maglev: Arc<maglev::Table>,
}

/// What a backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// New flows and those it has.
    All,
    /// Only those it has.
    Existing,
    /// Nothing: it is disabled, or no backend has this number.
    Nothing,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its pool; a flow of a service with another pool is not its.
    pub pool: PoolIndex,
    /// What it takes.
    pub serving: Serving,
    /// How its packets leave; none while its next hop is not known.
    pub route: Option<Route>,
    /// What the segment size of its connections is lowered to.
    pub mss: MssLimit,
    /// The generation in which it got its number: what was chosen before was another.
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
    /// The place of a number that no backend has.
    pub const VACANT: Backend = Backend {
        pool: PoolIndex::NONE,
        serving: Serving::Nothing,
        route: None,
        mss: MssLimit::NONE,
        since: 0,
    };
}

/// How packets leave to a backend.
#[derive(Clone, Debug)]
pub struct Route {
    /// The port.
    pub port: PortIndex,
    /// The headers.
    pub template: Template,
}
