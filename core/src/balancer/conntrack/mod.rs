//! The flow table: which backend has which flow. Each worker has one and shares it with nobody.
//!
//! A bucket is 64 bytes, one cache line, and holds four entries of a tag and a 64-bit value each. The tag is the
//! flow's keyed hash: 63 bits, and one that is always set ([`super::hash::LocalSeed`]). Addresses are not kept,
//! so an entry needs only 16 bytes. Two of n live flows share a tag, and then a backend, with a probability of
//! about n²/2^64: one in 17 million for a million flows.
//!
//! A flow has two buckets, both named by its tag. It is stored in the first if that has room, so that a lookup reads
//! one line. If both are full, other flows move to their other buckets until one of the two has a slot (`relocate.rs`):
//! the packet that inserts pays for that. So every flow finds a slot until the table is almost full: with as many
//! flows as 95 % of the entries, one of 4,000 finds none.
//!
//! The size is fixed; nothing is allocated after the start. An entry whose idle timeout has passed counts as
//! absent and may be overwritten. A live entry is displaced only if it has seen nothing but a SYN, is
//! unconfirmed, or has ended (see [`Table::insert`]). So a flood of one kind of packet neither displaces
//! established flows nor keeps new ones out for long. A packet whose flow finds no slot is still forwarded, by
//! the Maglev table.
//!
//! [`Table::sweep`] empties one bucket after another of entries that have expired or whose service or backend is
//! gone. Lookups skip expired entries anyway. The sweep keeps [`Table::len`] correct, and a whole pass proves that
//! no entry names a service or a backend that was removed before the pass began. [`SweepPace`] says when: every 10 s
//! at most, whatever else the worker does.
//!
//! The table counts the entries of each service and each backend as they come and go
//! ([`FlowWriter`](crate::stats::FlowWriter)). For that it knows the service of each entry. Four bytes an entry
//! lie in an array of their own, which packets of known flows do not touch.

mod bucket;
mod entry;
mod insert;
mod pace;
mod relocate;
mod state;
mod table;

pub use bucket::{Bucket, Slot, WAYS};
pub use entry::Entry;
pub(super) use insert::Flow;
pub use insert::Insertion;
pub use pace::SweepPace;
pub(super) use state::STATE_FLAGS;
pub use state::{Observed, State, Timeouts, begins};
pub use table::{Homes, Table};

#[cfg(test)]
mod tests;
