//! Lasting ids: a backend or service keeps its id for as long as it is configured.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Assigns each key an id, and keeps the ids of removed keys until they are safe to reuse.
#[derive(Clone, Debug)]
pub(super) struct IdAllocator<K> {
    assigned: FxHashMap<K, u32>,
    /// Ids of removed keys, each with the first generation without its key; oldest first.
    released: VecDeque<(u64, u32)>,
    next: u32,
    limit: u32,
}

/// The ids of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment<K> {
    /// In the order of the keys.
    pub(super) ids: Vec<u32>,
    /// Those that are newly assigned.
    pub(super) new: Vec<u32>,
    /// The keys that are no longer listed, with the ids that they had.
    pub(super) gone: Vec<(K, u32)>,
}

/// More keys than there are ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl<K: Hash + Eq + Clone> IdAllocator<K> {
    /// An allocator of ids below `limit`.
    pub(super) fn new(limit: u32) -> IdAllocator<K> {
        IdAllocator { assigned: FxHashMap::default(), released: VecDeque::new(), next: 0, limit }
    }

    /// The ids for the keys of `generation`. Keys must be distinct. A key that is no longer listed loses its id. An id is reused
    /// only if the generation that removed its key is at most `safe`.
    ///
    /// # Errors
    /// If there are too few ids. Nothing changes then.
    pub(super) fn assign(
        &mut self,
        keys: &[K],
        generation: u64,
        safe: u64,
    ) -> Result<Assignment<K>, Exhausted> {
        let known = self.known(keys);
        if !self.has_room_for(&known, safe) {
            return Err(Exhausted);
        }
        let listed = known.iter().flatten().count();
        let mut gone = match listed == self.assigned.len() {
            true => Vec::new(),
            false => self.take_unlisted(&known),
        };
        let reusable = self.reusable(safe);
        let mut reusable = self.released.drain(..reusable).map(|(_, n)| n).collect::<VecDeque<_>>();
        let mut new = Vec::new();
        let ids = keys.iter().zip(known).map(|(key, known)| {
            known.unwrap_or_else(|| {
                let id = reusable.pop_front().unwrap_or_else(|| {
                    self.next += 1;
                    self.next - 1
                });
                new.push(id);
                self.assigned.insert(key.clone(), id);
                id
            })
        });
        let ids = ids.collect();
        for id in reusable.into_iter().rev() {
            self.released.push_front((0, id));
        }
        gone.sort_unstable_by_key(|&(_, id)| id);
        self.released.extend(gone.iter().map(|&(_, id)| (generation, id)));
        Ok(Assignment { ids, new, gone })
    }

    /// The ids that keys have.
    fn known(&self, keys: &[K]) -> Vec<Option<u32>> {
        keys.iter().map(|key| self.assigned.get(key).copied()).collect()
    }

    /// Takes the keys out whose ids are not among these.
    fn take_unlisted(&mut self, known: &[Option<u32>]) -> Vec<(K, u32)> {
        let mut is_listed = vec![false; self.next as usize];
        known.iter().flatten().for_each(|&id| is_listed[id as usize] = true);
        self.assigned.extract_if(|_, &mut id| !is_listed[id as usize]).collect()
    }

    /// Whether [`IdAllocator::assign`] would succeed.
    pub(super) fn fits(&self, keys: &[K], safe: u64) -> bool {
        self.has_room_for(&self.known(keys), safe)
    }

    fn has_room_for(&self, known: &[Option<u32>], safe: u64) -> bool {
        let missing = known.iter().filter(|known| known.is_none()).count();
        missing <= self.reusable(safe) + (self.limit - self.next) as usize
    }

    fn reusable(&self, safe: u64) -> usize {
        self.released.iter().take_while(|&&(since, _)| since <= safe).count()
    }

    /// One more than the largest id ever assigned.
    pub(super) fn end(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(
        ids: &[u32],
        new: &[u32],
        gone: &[(&'static str, u32)],
    ) -> Assignment<&'static str> {
        Assignment { ids: ids.to_vec(), new: new.to_vec(), gone: gone.to_vec() }
    }

    #[test]
    fn a_key_keeps_its_id() {
        let mut ids = IdAllocator::new(10);
        assert_eq!(ids.assign(&["a", "b"], 1, 0), Ok(assignment(&[0, 1], &[0, 1], &[])));
        assert_eq!(ids.assign(&["c", "b", "a"], 2, 0), Ok(assignment(&[2, 1, 0], &[2], &[])));
        assert_eq!(ids.assign(&["b"], 3, 0), Ok(assignment(&[1], &[], &[("a", 0), ("c", 2)])));
    }

    #[test]
    fn an_id_is_reused_only_when_safe() {
        let mut ids = IdAllocator::new(10);
        ids.assign(&["a", "b"], 1, 0).unwrap();
        ids.assign(&["b"], 2, 1).unwrap();
        assert_eq!(ids.assign(&["b", "c"], 3, 1).unwrap().ids, [1, 2]);
        assert_eq!(ids.assign(&["b", "c", "d", "e"], 4, 2).unwrap().ids, [1, 2, 0, 3]);
    }

    #[test]
    fn too_many_keys_change_nothing() {
        let mut ids = IdAllocator::new(2);
        ids.assign(&["a", "b"], 1, 0).unwrap();
        assert_eq!(ids.assign(&["a", "c"], 2, 1), Err(Exhausted));
        assert_eq!(ids.assign(&["b", "a"], 2, 1), Ok(assignment(&[1, 0], &[], &[])));
        ids.assign(&["a"], 3, 2).unwrap();
        assert_eq!(ids.assign(&["a", "c"], 4, 3), Ok(assignment(&[0, 1], &[1], &[])));
    }
}
