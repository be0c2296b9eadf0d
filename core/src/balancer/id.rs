//! Ids and indices: how tables, flow table and counters refer to backends, services, pools and ports.

/// A backend's id: 24 bits, which is the room that a flow table entry has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(u32);

impl BackendId {
    /// The largest id.
    pub const MAX: u32 = (1 << 24) - 1;

    /// No backend.
    pub(super) const NONE: BackendId = BackendId(u32::MAX);

    /// An id that must not exceed [`BackendId::MAX`].
    #[inline]
    pub const fn new(number: u32) -> BackendId {
        debug_assert!(number <= BackendId::MAX);
        BackendId(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A service's id: the index of its counters. A service keeps it for as long as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

impl ServiceId {
    /// The number as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Index of a pool in its `Tables`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolIndex(pub u16);

impl PoolIndex {
    /// No pool.
    pub(super) const NONE: PoolIndex = PoolIndex(u16::MAX);
}

/// Index of a policy: what services say about the flows of backends that drain or are down. Below
/// [`PolicySet::CAPACITY`](super::backend::PolicySet::CAPACITY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyIndex(pub u8);

/// Index of a port of the appliance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortIndex(pub u16);

impl PortIndex {
    /// No port.
    pub const NONE: PortIndex = PortIndex(u16::MAX);
}
