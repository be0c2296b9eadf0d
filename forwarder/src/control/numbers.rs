//! Numbers that last: a backend or service keeps its number for as long as it is configured.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Gives each key a number and keeps numbers of keys that went until they are safe to give again.
#[derive(Debug)]
pub(super) struct Numbers<K> {
    given: FxHashMap<K, u32>,
    /// Numbers given back, and the generation that was the first without them; oldest first.
    returned: VecDeque<(u64, u32)>,
    next: u32,
    limit: u32,
}

/// More keys than there are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl<K: Hash + Eq + Clone> Numbers<K> {
    /// Numbers below `limit`.
    pub(super) fn new(limit: u32) -> Numbers<K> {
        Numbers { given: FxHashMap::default(), returned: VecDeque::new(), next: 0, limit }
    }

    /// Numbers for the keys of `generation`, each once, in their order, and those that are new.
    /// Keys that are no longer among them lose theirs. A number is given again only if it went with
    /// a generation of at most `safe`.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub(super) fn assign(
        &mut self,
        keys: &[K],
        generation: u64,
        safe: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), Exhausted> {
        if !self.fits(keys, safe) {
            return Err(Exhausted);
        }
        // The usual reload changes something else, and need not build the map anew.
        let known: Option<Vec<u32>> = keys.iter().map(|key| self.given.get(key).copied()).collect();
        if let Some(numbers) = known.filter(|_| keys.len() == self.given.len()) {
            return Ok((numbers, Vec::new()));
        }
        let reusable = self.reusable(safe);
        let mut before = std::mem::take(&mut self.given);
        let mut fresh = Vec::new();
        let mut reusable = self.returned.drain(..reusable).map(|(_, n)| n).collect::<VecDeque<_>>();
        let numbers = keys
            .iter()
            .map(|key| {
                let number = before.remove(key).unwrap_or_else(|| {
                    let number = reusable.pop_front().unwrap_or_else(|| {
                        self.next += 1;
                        self.next - 1
                    });
                    fresh.push(number);
                    number
                });
                self.given.insert(key.clone(), number);
                number
            })
            .collect();
        for number in reusable.into_iter().rev() {
            self.returned.push_front((0, number));
        }
        let mut gone: Vec<u32> = before.into_values().collect();
        gone.sort_unstable();
        self.returned.extend(gone.into_iter().map(|number| (generation, number)));
        Ok((numbers, fresh))
    }

    /// Whether [`Numbers::assign`] would succeed.
    pub(super) fn fits(&self, keys: &[K], safe: u64) -> bool {
        let missing = keys.iter().filter(|key| !self.given.contains_key(key)).count();
        missing <= self.reusable(safe) + (self.limit - self.next) as usize
    }

    fn reusable(&self, safe: u64) -> usize {
        self.returned.iter().take_while(|&&(since, _)| since <= safe).count()
    }

    /// One more than the largest number ever given.
    pub(super) fn end(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_number() {
        let mut numbers = Numbers::new(10);
        assert_eq!(numbers.assign(&["a", "b"], 1, 0), Ok((vec![0, 1], vec![0, 1])));
        assert_eq!(numbers.assign(&["c", "b", "a"], 2, 0), Ok((vec![2, 1, 0], vec![2])));
    }

    #[test]
    fn a_number_is_given_again_only_when_safe() {
        let mut numbers = Numbers::new(10);
        numbers.assign(&["a", "b"], 1, 0).unwrap();
        numbers.assign(&["b"], 2, 1).unwrap();
        assert_eq!(numbers.assign(&["b", "c"], 3, 1).unwrap().0, [1, 2]);
        assert_eq!(numbers.assign(&["b", "c", "d", "e"], 4, 2).unwrap().0, [1, 2, 0, 3]);
    }

    #[test]
    fn too_many_keys_change_nothing() {
        let mut numbers = Numbers::new(2);
        numbers.assign(&["a", "b"], 1, 0).unwrap();
        assert_eq!(numbers.assign(&["a", "c"], 2, 1), Err(Exhausted));
        assert_eq!(numbers.assign(&["b", "a"], 2, 1), Ok((vec![1, 0], vec![])));
        numbers.assign(&["a"], 3, 2).unwrap();
        assert_eq!(numbers.assign(&["a", "c"], 4, 3), Ok((vec![0, 1], vec![1])));
    }
}
