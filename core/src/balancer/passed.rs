//! A packet that the worker that polls it passes on to the worker that owns its flow, as it was classified.
//!
//! Both workers classify by tables that a publication may replace in between. So what was found out holds for one
//! generation of the tables, and the owner classifies the packet again if it has another.

use super::fast_path::PacketMeta;
use super::tables::Tables;

/// What the worker that polls has found out about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The generation of the tables by which it was classified.
    generation: u64,
    meta: PacketMeta,
}

impl Passed {
    /// A packet that was classified by these tables. The result says nothing but the tag if the packet is not plain.
    pub(super) fn new(tables: &Tables, meta: &PacketMeta) -> Passed {
        Passed { generation: tables.generation(), meta: *meta }
    }

    /// The hash of the packet's flow, which chooses the owner.
    #[inline(always)]
    pub fn tag(&self) -> u64 {
        self.meta.tag
    }

    /// What classifying the packet by these tables would find out; `None` if that must be done.
    #[inline(always)]
    pub(super) fn classified_by(&self, tables: &Tables) -> Option<&PacketMeta> {
        let holds = self.meta.is_parsed() && self.generation == tables.generation();
        holds.then_some(&self.meta)
    }
}

/// A packet about which nothing is known.
impl Default for Passed {
    fn default() -> Passed {
        Passed { generation: 0, meta: PacketMeta::NONE }
    }
}
