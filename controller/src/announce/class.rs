//! Classes: numbers for the ways in which peers learn of an address.

use std::collections::{BTreeMap, BTreeSet};

use super::{CLASSES, Class, Handlings};

/// The classes in use. A number that is freed is given out again after all others: for a while BIRD and the kernel may
/// still mean its last handlings by it.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    classes: BTreeMap<Handlings, Class>,
    last: u16,
}

impl Classes {
    /// Gives a class to each of these handlings, and frees those of others. Returns whether every one has got a class.
    /// Otherwise none is freed: an address that gets no class stays as it was.
    pub fn assign<'a>(&mut self, wanted: impl Iterator<Item = &'a Handlings>) -> bool {
        let wanted: BTreeSet<&Handlings> =
            wanted.filter(|handlings| !handlings.is_empty()).collect();
        if wanted.len() < usize::from(CLASSES) {
            self.classes.retain(|handlings, _| wanted.contains(handlings));
        }
        let mut used: BTreeSet<Class> = self.classes.values().copied().collect();
        for handlings in wanted {
            if self.classes.contains_key(handlings) {
                continue;
            }
            let after = (self.last + 1..CLASSES).chain(1..=self.last).map(Class);
            let Some(free) = { after }.find(|class| !used.contains(class)) else { return false };
            used.insert(free);
            self.last = free.0;
            self.classes.insert(handlings.clone(), free);
        }
        true
    }

    /// Gives this class to some handlings, as an earlier run has done, unless one of them is in use.
    pub fn adopt(&mut self, handlings: &Handlings, class: Class) {
        let is_used = self.classes.values().any(|&used| used == class);
        if !handlings.is_empty() && (1..CLASSES).contains(&class.0) && !is_used {
            self.classes.entry(handlings.clone()).or_insert(class);
        }
    }

    /// The class of some handlings; none if there were too many.
    pub fn of(&self, handlings: &Handlings) -> Option<Class> {
        match handlings.is_empty() {
            true => Some(Class(0)),
            false => self.classes.get(handlings).copied(),
        }
    }

    /// What each class means, but for class 0.
    pub fn all(&self) -> BTreeMap<Class, Handlings> {
        self.classes.iter().map(|(handlings, &class)| (class, handlings.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::VipState;

    use super::*;
    use crate::announce::Handling;

    fn handlings(peer: usize) -> Handlings {
        let handling = Handling { state: VipState::Withdrawn, next_hop: None };
        Handlings::from([(format!("peer{peer}"), handling)])
    }

    #[test]
    fn a_class_stays_while_it_is_used_and_rests_when_it_is_freed() {
        let mut classes = Classes::default();
        let (one, two, three) = (handlings(1), handlings(2), handlings(3));
        assert!(classes.assign([&one, &two, &Handlings::new(), &one].into_iter()));
        assert_eq!((classes.of(&one), classes.of(&two)), (Some(Class(1)), Some(Class(2))));
        assert_eq!(classes.of(&Handlings::new()), Some(Class(0)));
        assert!(classes.assign([&two, &three].into_iter()));
        assert_eq!((classes.of(&one), classes.of(&two)), (None, Some(Class(2))));
        assert_eq!(classes.of(&three), Some(Class(3)), "not the one that was just freed");
        assert_eq!(classes.all().len(), 2);
    }

    #[test]
    fn a_class_of_an_earlier_run_is_taken_over_once() {
        let mut classes = Classes::default();
        let (one, two) = (handlings(1), handlings(2));
        classes.adopt(&one, Class(7));
        classes.adopt(&one, Class(8));
        classes.adopt(&two, Class(7));
        classes.adopt(&two, Class(0));
        classes.adopt(&two, Class(CLASSES));
        classes.adopt(&Handlings::new(), Class(9));
        assert_eq!(classes.all(), BTreeMap::from([(Class(7), one.clone())]));
        assert!(classes.assign([&one, &two].into_iter()));
        assert_eq!((classes.of(&one), classes.of(&two)), (Some(Class(7)), Some(Class(1))));
    }

    #[test]
    fn numbers_come_round_and_end() {
        let mut classes = Classes::default();
        let all: Vec<Handlings> = (1..usize::from(CLASSES)).map(handlings).collect();
        assert!(classes.assign(all.iter()));
        let numbers: BTreeSet<Class> = classes.all().into_keys().collect();
        assert_eq!(numbers, (1..CLASSES).map(Class).collect());
        let more = handlings(usize::from(CLASSES));
        let before = classes.all();
        // All but one are still wanted. An address may stay with that one.
        assert!(!classes.assign(all[1..].iter().chain([&more, &handlings(5_000)])));
        assert_eq!((classes.of(&more), classes.all()), (None, before));
        assert!(classes.assign(all[1..].iter().chain([&more])));
        assert_eq!(classes.all().len(), usize::from(CLASSES) - 1);
    }
}
