//! Room for a flow whose two buckets are full: live flows move to their other buckets.
//!
//! Each flow has two buckets (`Table::other`), so a full bucket can pass a flow on to any of four others. The search
//! goes breadth first: to the other buckets of the eight flows, then to those of the flows in there, and to some of the
//! next. It ends at the first free slot, so that at most three flows move. The last flow of the path moves first, each
//! into a slot that is free by then. Only the worker reads its table, and not meanwhile: between two packets every flow
//! is in exactly one of its two buckets, and no lookup misses it.
//!
//! Most of the cost of an insert is waiting for cache lines. So the search reads no buckets at first, but asks a bit
//! for each whether it has an empty slot (`Table::is_vacant`). Only if none of eight has one, these eight are read, for
//! slots whose flows have expired, and for their flows' other buckets. It reads 24 buckets at most, and asks for 104.
//!
//! A table that is nearly full is not searched at all, so that a flood of new flows costs no more there than anywhere
//! else.
//!
//! **No flow escapes the sweep.** A flow that moves from a bucket that this pass of the sweep has yet to visit into
//! one that it has visited is judged as the sweep would. So at the end of a pass each flow that was there when it
//! began has been judged. To forbid such moves instead would be simpler, but flows would pile up before the sweep: with
//! half of the table visited and 90 % of the entries in use, one new flow of twelve found no slot.

use std::ops::Range;

use super::super::id::{BackendId, ServiceId};
use super::super::prefetch::prefetch;
use super::super::time::Time;
use super::bucket::{Bucket, Slot, WAYS, first};
use super::state::Timeouts;
use super::table::Table;

/// Buckets whose flows may move: the new flow's two, the other buckets of the eight flows there, and half of the next.
const PARENTS: usize = 2 + 2 * WAYS + 4 * WAYS;

/// The levels of a search, after the first.
const LEVELS: [Range<usize>; 2] = [2..2 + 2 * WAYS, 2 + 2 * WAYS..PARENTS];

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

    /// Loads what [`Table::make_room`] will write or, if one flow that moves makes no room, what it will read.
    #[inline(never)]
    pub(super) fn prefetch_room(&self, pair: [usize; 2]) {
        if let Some((from, to)) = self.find_move(pair) {
            prefetch(&self.services[from.index]);
            prefetch(&self.buckets[to]);
            prefetch(&self.services[to]);
        } else if self.is_worth_a_search() {
            for index in pair {
                let (others, _) = self.others(index);
                others.iter().for_each(|&other| prefetch(&self.buckets[other]));
            }
        }
    }

    /// Frees a slot of a flow's two buckets, which have no empty one, by moving others. The slot is to be filled at
    /// once.
    #[inline(never)]
    pub(super) fn make_room(
        &mut self,
        pair: [usize; 2],
        now: Time,
        timeouts: &Timeouts,
        keep: &impl Fn(ServiceId, BackendId) -> bool,
    ) -> Option<Slot> {
        if let Some((from, to)) = self.find_move(pair)
            && let Some(way) = self.buckets[to].empty_way()
        {
            self.pass(from, Slot { index: to, way }, now, timeouts, keep);
            return Some(from);
        }
        self.is_worth_a_search().then(|| self.move_some(pair, now, timeouts, keep))?
    }

    /// A flow of these two buckets, and its other bucket, if that has an empty slot.
    #[inline(always)]
    fn find_move(&self, pair: [usize; 2]) -> Option<(Slot, usize)> {
        if !self.is_worth_a_search() {
            return None;
        }
        for index in pair {
            let (others, vacant) = self.others(index);
            if let Some(way) = first(vacant) {
                return Some((Slot { index, way }, others[way]));
            }
        }
        None
    }

    /// The other buckets of the flows of a bucket, and a bit for each way whose other bucket has an empty slot.
    /// Without a branch for each, which the CPU could not predict.
    #[inline(always)]
    fn others(&self, index: usize) -> ([usize; WAYS], u32) {
        let others = self.buckets[index].tags.map(|tag| self.other(index, tag));
        let mut vacant = 0;
        for (way, &other) in others.iter().enumerate() {
            vacant |= u32::from(self.is_vacant(other)) << way;
        }
        (others, vacant)
    }

    /// As [`Table::make_room`], if none of the buckets that a flow of the two could move to has an empty slot.
    #[inline(never)]
    fn move_some(
        &mut self,
        pair: [usize; 2],
        now: Time,
        timeouts: &Timeouts,
        keep: &impl Fn(ServiceId, BackendId) -> bool,
    ) -> Option<Slot> {
        let Path { tree, parent: mut node, mut way, mut free } = self
            .find_path(pair, |bucket| {
                bucket.entries.iter().position(|entry| entry.has_expired(now, timeouts))
            })?;
        if self.buckets[free.index].tags[free.way] != 0 {
            self.remove_expired(free);
        }
        loop {
            let slot = Slot { index: tree[node], way };
            self.pass(slot, free, now, timeouts, keep);
            match parent(node) {
                Some(parent) => ((node, way), free) = (parent, slot),
                None => return Some(slot),
            }
        }
    }

    /// Searches a short path to a bucket with an empty slot, or to a full one of which `expired_way` knows a way.
    #[inline(always)]
    fn find_path(
        &self,
        pair: [usize; 2],
        mut expired_way: impl FnMut(&Bucket) -> Option<usize>,
    ) -> Option<Path> {
        let mut tree = [0; PARENTS];
        [tree[0], tree[1]] = pair;
        for node in 0..2 {
            let (others, _) = self.others(tree[node]);
            tree[2 + WAYS * node..][..WAYS].copy_from_slice(&others);
        }
        for level in LEVELS {
            for &index in &tree[level.clone()] {
                prefetch(&self.buckets[index]);
            }
            for node in level {
                let index = tree[node];
                let (others, vacant) = self.others(index);
                if let Some(way) = first(vacant)
                    && let Some(empty) = self.buckets[others[way]].empty_way()
                {
                    let free = Slot { index: others[way], way: empty };
                    return Some(Path { tree, parent: node, way, free });
                }
                if let Some((parent, way)) = parent(node)
                    && let Some(expired) = expired_way(&self.buckets[index])
                {
                    return Some(Path { tree, parent, way, free: Slot { index, way: expired } });
                }
                let children = 2 + WAYS * node;
                if let Some(children) = tree.get_mut(children..children + WAYS) {
                    children.copy_from_slice(&others);
                }
            }
        }
        None
    }

    /// Moves a flow into an empty slot of its other bucket. It leaves there if it has expired, or if it would escape
    /// the sweep. Its own slot is to be filled at once.
    #[inline(always)]
    fn pass(
        &mut self,
        from: Slot,
        to: Slot,
        now: Time,
        timeouts: &Timeouts,
        keep: &impl Fn(ServiceId, BackendId) -> bool,
    ) {
        self.relocate(from, to);
        let escapes = to.index < self.cursor && self.cursor <= from.index;
        if self.buckets[to.index].entries[to.way].has_expired(now, timeouts) {
            self.remove_expired(to);
        } else if escapes && !self.is_kept(to, keep) {
            self.remove(to);
        }
    }
}

/// The flow whose other bucket a node of the tree is: its bucket in the tree, and its way there. The new flow's buckets
/// have none.
#[inline(always)]
fn parent(node: usize) -> Option<(usize, usize)> {
    node.checked_sub(2).map(|child| (child / WAYS, child % WAYS))
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

    /// Buckets 0 to 3 are full, and no flow of theirs has another bucket.
    #[test]
    fn an_expired_flow_farther_away_is_room() {
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

    /// Or else it would come to where the sweep has been, and stay for longer than it may.
    #[test]
    fn an_expired_flow_does_not_move() {
        let (mut table, flows) = table([(0, 3), (1, 2)]);
        table.buckets[0].entries[0] =
            Entry::new(BackendId::new(0), State::Established, Time::from_millis(0));
        let new = tags(&table, 0, 1).next().unwrap();
        assert_eq!(insert(&mut table, new, 99, true), Insertion::Stored);
        assert_eq!(place(&table, new), (0, 99, 99));
        assert!(table.search(flows[0][0]).is_none());
        assert_eq!(table.len(), 2 * WAYS);
    }

    #[test]
    #[cfg_attr(miri, ignore = "32,768 flows: minutes under Miri")]
    fn a_search_reads_at_most_24_buckets() {
        for buckets in [1, 2, 4, 16, 4096] {
            let mut table = Table::new(buckets * WAYS);
            for n in 0..2 * buckets * WAYS {
                insert(&mut table, (n as u64).wrapping_mul(0x94d0_49bb_1331_11eb), 1, true);
            }
            // As if every bucket were full.
            table.vacant.fill(0);
            for home in 0..buckets {
                let mut read = 0;
                let path = table.find_path([home, (home ^ 1) & (buckets - 1)], |_| {
                    read += 1;
                    None
                });
                assert!(path.is_none());
                assert_eq!(read, 24);
            }
        }
    }
}
