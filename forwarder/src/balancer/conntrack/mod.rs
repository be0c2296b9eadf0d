//! The flow table: which backend has which flow. Each worker has one and shares it with no one.
//!
//! Buckets of 64 bytes, one cache line, hold four entries of a tag and a 64-bit value each. The tag is the
//! flow's keyed hash, 63 bits and one that is set ([`super::hash::LocalSeed`]): addresses are not kept,
//! which is what makes an entry 16 bytes. Two live flows share a tag, and then a backend, with a probability
//! of about n²/2^64 for n flows: one in 17 million for a million flows.
//!
//! A flow whose bucket is full goes into the one beside it, in the same 128 bytes. A table half full then
//! has no place for one of 120 flows, a quarter full for one of 6,000; without, one of 26 and one of 240.
//!
//! The size is fixed; nothing is allocated after the start. An entry whose idle timeout has passed is
//! as good as absent, and is overwritten when its place is wanted. A live entry gives its place only if it
//! has seen nothing but a SYN, is unconfirmed, or has ended (see [`Table::insert`]). So a flood of any one
//! packet neither displaces established flows nor keeps new ones out for long. When no
//! place is free the caller forwards the packet all the same, by the Maglev table.
//!
//! [`Table::sweep`] walks the table a bucket at a time and empties what has expired or belongs to a
//! backend that is gone: entries that would give no answer anyway. It keeps [`Table::len`] honest, and
//! a whole pass tells the control plane that no entry names a backend removed before the pass began.

mod entry;
mod state;
mod table;

pub use entry::Entry;
pub(super) use state::STATE_FLAGS;
pub use state::{State, Timeouts, begins};
pub use table::{Bucket, Insertion, Slot, Table, WAYS};
