//! Doubly linked lists through the elements of an array, by index, so that nothing is allocated after the start.

/// No element.
pub(super) const NONE: u32 = u32::MAX;

/// An element's neighbours in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    previous: u32,
    next: u32,
}

impl Link {
    pub(super) const ALONE: Link = Link { previous: NONE, next: NONE };
}

/// An element with a link.
pub(super) trait Linked {
    /// The link of the element.
    fn link(&mut self) -> &mut Link;
}

/// A list: its first and its last element.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: List = List { first: NONE, last: NONE };

    /// The element that has been in the list for longest, or [`NONE`].
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Adds an element at the end. It must be in no list.
    pub(super) fn push<T: Linked>(&mut self, elements: &mut [T], index: u32) {
        *elements[index as usize].link() = Link { previous: self.last, next: NONE };
        match self.last {
            NONE => self.first = index,
            last => elements[last as usize].link().next = index,
        }
        self.last = index;
    }

    /// Removes an element, which must be in this list.
    pub(super) fn remove<T: Linked>(&mut self, elements: &mut [T], index: u32) {
        let link = std::mem::replace(elements[index as usize].link(), Link::ALONE);
        match link.previous {
            NONE => self.first = link.next,
            previous => elements[previous as usize].link().next = link.next,
        }
        match link.next {
            NONE => self.last = link.previous,
            next => elements[next as usize].link().previous = link.previous,
        }
    }

    /// Removes the first element and returns it.
    pub(super) fn pop<T: Linked>(&mut self, elements: &mut [T]) -> Option<u32> {
        let index = self.first;
        if index == NONE {
            return None;
        }
        self.remove(elements, index);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    impl Linked for Link {
        fn link(&mut self) -> &mut Link {
            self
        }
    }

    proptest! {
        #[test]
        fn as_a_queue_from_whose_middle_one_may_take(steps in proptest::collection::vec(0u32..16, 0..200)) {
            let mut elements = [Link::ALONE; 8];
            let (mut list, mut model) = (List::EMPTY, VecDeque::new());
            for step in steps {
                match model.iter().position(|&index| index == step) {
                    Some(position) => {
                        list.remove(&mut elements, step);
                        model.remove(position);
                    }
                    None if step < 8 => {
                        list.push(&mut elements, step);
                        model.push_back(step);
                    }
                    None => prop_assert_eq!(list.pop(&mut elements), model.pop_front()),
                }
                prop_assert_eq!(list.first(), model.front().copied().unwrap_or(NONE));
            }
            while let Some(index) = list.pop(&mut elements) {
                prop_assert_eq!(Some(index), model.pop_front());
            }
            prop_assert!(model.is_empty());
        }
    }
}
