//! Room for a flow whose two buckets are full: live flows move to their other buckets.
//!
//! Each flow has two buckets (`Table::other`), so a full bucket can pass a flow on to any of four others. The search
//! goes breadth first: to the other buckets of the eight flows, then to those of the flows in there, and to some of the
//! next. It ends at the first free slot, so that at most three flows move, and after 104 buckets at the latest. The
//! last flow of the path moves first, each into a slot that is free by then. Only the worker reads its table, and not
//! meanwhile: between two packets every flow is in exactly one of its two buckets, and no lookup misses it.
//!
//! With 90 % of the entries in use, half of the flows need a search, which reads eight buckets on average
//! (docs/notes/performance.md). A table that is nearly full is not searched at all, so that a flood of new flows
//! costs no more there than anywhere else.
//!
//! **No flow escapes the sweep.** A flow that moves from a bucket that this pass of the sweep has yet to visit into
//! one that it has visited is judged as the sweep would. So at the end of a pass each flow that was there when it
//! began has been judged. To forbid such moves instead would be simpler, but flows would pile up before the sweep: with
//! half of the table visited and 90 % of the entries in use, one new flow of twelve found no slot.

use super::super::id::{BackendId, ServiceId};
use super::super::prefetch::prefetch;
use super::super::time::Time;
use super::bucket::{Slot, WAYS};
use super::state::Timeouts;
use super::table::Table;

/// Buckets whose flows may move: the new flow's two, the other buckets of the eight flows there, and half of the next.
const PARENTS: usize = 2 + 2 * WAYS + 4 * WAYS;

/// The buckets of a search: the new flow's two, then the other bucket of each flow in them. Those of bucket n begin
/// at 2 + [`WAYS`] * n.
type Tree = [usize; PARENTS];

/// A way from a full bucket to a free slot.
struct Path {
    tree: Tree,
    /// The flow that moves into the free slot: its bucket in the tree, and its way there.
    parent: usize,
    way: usize,
    free: Slot,
}

impl Table {
    /// Whether a search for room has good prospects. Above 31/32 of the entries it would often fail.
    #[inline]
    pub(super) fn is_worth_a_search(&self) -> bool {
        self.used * 32 < self.capacity() * 31
    }

    /// Loads the buckets that the flows of a bucket may move to.
    #[cold]
    pub(super) fn prefetch_others(&self, index: usize) {
        let _others = self.others(index);
    }

    /// Empties a slot of a flow's two buckets, both full of live flows, by moving flows.
    #[inline(never)]
    pub(super) fn make_room(
        &mut self,
        pair: [usize; 2],
        now: Time,
        timeouts: &Timeouts,
        keep: impl Fn(ServiceId, BackendId) -> bool,
    ) -> Option<Slot> {
        if !self.is_worth_a_search() {
            return None;
        }
        let path = self.find_path(pair, |table, index| table.free_way(index, now, timeouts))?;
        Some(self.follow(&path, keep))
    }

    /// Searches the shortest path to a bucket of which `free_way` knows a way that is free.
    #[inline(always)]
    fn find_path(
        &self,
        pair: [usize; 2],
        mut free_way: impl FnMut(&Table, usize) -> Option<usize>,
    ) -> Option<Path> {
        let mut tree = [0; PARENTS];
        [tree[0], tree[1]] = pair;
        for parent in 0..PARENTS {
            for (way, other) in self.others(tree[parent]).into_iter().enumerate() {
                if let Some(free) = free_way(self, other) {
                    let free = Slot { index: other, way: free };
                    return Some(Path { tree, parent, way, free });
                }
                if let Some(child) = tree.get_mut(2 + WAYS * parent + way) {
                    *child = other;
                }
            }
        }
        None
    }

    /// The other buckets of the flows of a bucket, by way. Loads them all at once.
    #[inline(always)]
    fn others(&self, index: usize) -> [usize; WAYS] {
        self.buckets[index].tags.map(|tag| {
            let other = self.other(index, tag);
            prefetch(&self.buckets[other]);
            other
        })
    }

    /// A way of a bucket that is empty, or whose entry has expired.
    #[inline(always)]
    fn free_way(&self, index: usize, now: Time, timeouts: &Timeouts) -> Option<usize> {
        let bucket = &self.buckets[index];
        bucket
            .empty_way()
            .or_else(|| bucket.entries.iter().position(|entry| entry.has_expired(now, timeouts)))
    }

    /// Moves the flows of a path. Returns the slot of the new flow's buckets that is then empty.
    fn follow(&mut self, path: &Path, keep: impl Fn(ServiceId, BackendId) -> bool) -> Slot {
        let (mut parent, mut way, mut free) = (path.parent, path.way, path.free);
        if self.buckets[free.index].tags[free.way] != 0 {
            self.remove_expired(free);
        }
        loop {
            let slot = Slot { index: path.tree[parent], way };
            let escapes = free.index < self.cursor && self.cursor <= slot.index;
            if escapes && !self.is_kept(slot, &keep) {
                self.remove(slot);
            } else {
                self.relocate(slot, free);
            }
            free = slot;
            if parent < 2 {
                return free;
            }
            (parent, way) = ((parent - 2) / WAYS, (parent - 2) % WAYS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::id::{BackendId, ServiceId};
    use super::super::bucket::stored;
    use super::super::{Entry, Insertion, State};
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts::DEFAULT;
    const NOW: Time = Time::from_millis(1_000_000);

    /// Tags of flows with these two buckets.
    fn tags(table: &Table, home: usize, other: usize) -> impl Iterator<Item = u64> {
        let tags = (0u64..).map(|n| stored(n.wrapping_mul(0xbf58_476d_1ce4_e5b9)));
        tags.filter(move |&tag| table.index(tag) == home && table.other(home, tag) == other)
    }

    fn insert(table: &mut Table, tag: u64, number: usize, keep: bool) -> Insertion {
        let number = u32::try_from(number).unwrap();
        let entry = Entry::new(BackendId::new(number), State::Established, NOW);
        table.insert(tag, ServiceId(number), entry, NOW, &TIMEOUTS, |_, _| keep)
    }

    /// A table of 16 buckets, of which some are full: the home of four flows, whose other bucket is the second.
    fn table<const N: usize>(full: [(usize, usize); N]) -> (Table, [Vec<u64>; N]) {
        let mut table = Table::new(16 * WAYS);
        let flows = full.map(|(home, other)| {
            let four: Vec<u64> = tags(&table, home, other).take(WAYS).collect();
            for (number, &tag) in four.iter().enumerate() {
                assert_eq!(insert(&mut table, tag, 10 * home + number, true), Insertion::Stored);
            }
            four
        });
        (table, flows)
    }

    /// The bucket of a flow, and its service and backend.
    fn place(table: &Table, tag: u64) -> (usize, usize, usize) {
        let (slot, entry) = table.get(tag, NOW, &TIMEOUTS).unwrap();
        (slot.index, table.services[slot.index][slot.way].index(), entry.backend().index())
    }

    /// Of a new flow's buckets, the one is full of flows that only full buckets would take. Those of one of these can
    /// move to bucket 4, which is empty.
    #[test]
    fn two_flows_move_one_after_the_other() {
        let full = [(0, 3), (1, 2), (2, 1), (3, 4)];
        let (mut table, flows) = table(full);
        let new = tags(&table, 0, 1).next().unwrap();
        assert_eq!(insert(&mut table, new, 99, true), Insertion::Stored);
        assert_eq!(place(&table, new), (0, 99, 99));
        for ((home, _), flows) in full.into_iter().zip(flows) {
            for (number, tag) in flows.into_iter().enumerate() {
                let bucket = match (home, number) {
                    (0, 0) => 3,
                    (3, 0) => 4,
                    _ => home,
                };
                let of = 10 * home + number;
                assert_eq!(place(&table, tag), (bucket, of, of));
            }
        }
        assert_eq!(table.len(), 4 * WAYS + 1);
    }

    /// A flow moves from bucket 4 to bucket 1, and then one from 7 to 4. Where that leads past the sweep, the flow is
    /// judged, and leaves if its service is gone.
    #[test]
    fn a_flow_that_moves_past_the_sweep_is_judged() {
        for (cursor, keep) in (0..16).flat_map(|cursor| [(cursor, true), (cursor, false)]) {
            let (mut table, flows) = table([(7, 4), (6, 5), (5, 6), (4, 1)]);
            for _ in 0..cursor {
                table.sweep(NOW, &TIMEOUTS, |_, _| true);
            }
            let new = tags(&table, 7, 6).next().unwrap();
            assert_eq!(insert(&mut table, new, 99, keep), Insertion::Stored);
            let gone = match cursor {
                2..=4 if !keep => Some(flows[3][0]),
                5..=7 if !keep => Some(flows[0][0]),
                _ => None,
            };
            assert_eq!(table.len(), 4 * WAYS + 1 - usize::from(gone.is_some()));
            for &tag in flows.iter().flatten() {
                assert_eq!(table.search(tag).is_none(), gone == Some(tag), "{cursor}");
            }
        }
    }

    #[test]
    fn an_expired_flow_is_room() {
        let (mut table, flows) = table([(0, 3), (1, 2), (2, 1), (3, 0)]);
        let new = tags(&table, 0, 1).next().unwrap();
        assert_eq!(insert(&mut table, new, 99, true), Insertion::Full);
        let expired = Entry::new(BackendId::new(23), State::Established, Time::from_millis(0));
        table.buckets[2].entries[3] = expired;
        assert_eq!(insert(&mut table, new, 99, true), Insertion::Stored);
        assert_eq!(place(&table, new), (1, 99, 99));
        assert_eq!(place(&table, flows[1][0]), (2, 10, 10));
        assert!(table.search(flows[2][3]).is_none());
        assert_eq!(table.len(), 4 * WAYS);
    }

    #[test]
    #[cfg_attr(miri, ignore = "32,768 flows: minutes under Miri")]
    fn a_search_reads_at_most_104_buckets() {
        for buckets in [1, 2, 4, 16, 4096] {
            let mut table = Table::new(buckets * WAYS);
            // More flows than entries.
            for n in 0..2 * buckets * WAYS {
                insert(&mut table, (n as u64).wrapping_mul(0x94d0_49bb_1331_11eb), 1, true);
            }
            for home in 0..buckets {
                let pair = [home, (home ^ 1) & (buckets - 1)];
                let mut read = 0;
                let path = table.find_path(pair, |_, _| {
                    read += 1;
                    None
                });
                assert!(path.is_none());
                assert_eq!(read, 104);
            }
        }
    }
}
