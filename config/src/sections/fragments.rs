//! `[fragments]`: the fragment table of each worker.

use std::time::Duration;

use crate::declare::section;
use crate::kind::{integer, milliseconds};
use crate::section::Section;

section! {
    /// The fragment table of each worker.
    ///
    /// The defaults are generous: fragments are out of order for milliseconds, and 2 MiB is 16 ms of
    /// 1 Gbit/s. After two seconds a sender that needs a reply has sent its datagram again.
    #[derive(Copy)]
    "[fragments]" 0..=1 => Fragments, FragmentsDraft {
        /// Of each worker: how many datagrams it remembers at a time, at least `packets`.
        contexts: usize = integer(1..=1 << 20), default "4096", restart, unit "datagrams";
        /// Of each worker: how many packets wait for their first fragment, at most 128 of one
        /// datagram. They take memory from `dpdk.memory`.
        packets: usize = integer(0..=1 << 16), default "1024", restart, unit "packets";
        /// Of the packets that wait, likewise.
        bytes: usize = integer(0..=1 << 30), default "2097152", restart, unit "bytes";
        /// How long a fragment waits, and how long a datagram is remembered after its last fragment.
        timeout: Duration = milliseconds(1..=60_000), default "2000", restart, unit "milliseconds";
    }
}

pub(crate) fn read(root: &Section<'_>) -> FragmentsDraft {
    let section = root.table("fragments", false);
    let draft = FragmentsDraft::read(&section);
    if let (Ok(contexts), Ok(packets)) = (draft.contexts, draft.packets)
        && contexts < packets
    {
        let message = format!(
            "is {contexts}, fewer than the {packets} packets that may wait, each of another datagram"
        );
        let later = ["contexts", "packets"].into_iter().max_by_key(|key| section.position(key));
        section.mistake_at(later.unwrap_or_default(), "contexts", message);
    }
    draft
}
