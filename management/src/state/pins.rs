//! Pins: which backend packets of the node itself go to, by their source. The controller sets them for its probes.
//!
//! A pin names its backend, and so outlives reloads: while no such backend is configured, the pin is of none. Nothing is
//! stored. After a restart the controller sets its pins again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Pins that are kept at the most: four ports for each of as many backends as there can be.
pub(crate) const MAX_PINS: usize = 1 << 18;

/// The backends of sources. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Arc<BTreeMap<SocketAddr, Pinned>>);

/// The backend of a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The name of its pool.
    pub pool: Arc<str>,
    /// Its name.
    pub backend: Arc<str>,
}

/// A change of pins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinChange {
    /// Pins to set, each in place of that of the same source. Of two with one source the later one holds.
    pub pins: Vec<(SocketAddr, Pinned)>,
    /// Sources whose pins are removed. What is set at the same time stays.
    pub removed: Vec<SocketAddr>,
    /// Remove all pins that are not set at the same time.
    pub only: bool,
}

impl Pins {
    /// Carries out a change. Returns whether anything is different now.
    pub fn set(&mut self, change: &PinChange) -> bool {
        let mut after = match change.only {
            true => BTreeMap::new(),
            false => BTreeMap::clone(&self.0),
        };
        change.removed.iter().for_each(|source| _ = after.remove(source));
        after.extend(change.pins.iter().cloned());
        let is_other = after != *self.0;
        if is_other {
            self.0 = Arc::new(after);
        }
        is_other
    }

    /// All pins, by their sources.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Pinned)> {
        self.0.iter().map(|(&source, pinned)| (source, pinned))
    }

    /// How many pins there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pin.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both are clones of the same pins, found without looking at them.
    pub(crate) fn is_same(&self, other: &Pins) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn pin(port: u16, backend: u8) -> (SocketAddr, Pinned) {
        let backend = format!("b{backend}").into();
        (SocketAddr::from(([192, 0, 2, 9], port)), Pinned { pool: "web".into(), backend })
    }

    fn change() -> impl Strategy<Value = PinChange> {
        let source = || 0u16..12;
        let pins = vec((source(), 0u8..4).prop_map(|(port, backend)| pin(port, backend)), 0..6);
        let removed = vec(source().prop_map(|port| pin(port, 0).0), 0..4);
        let only = prop::bool::weighted(0.2);
        (pins, removed, only).prop_map(|(pins, removed, only)| PinChange { pins, removed, only })
    }

    proptest! {
        #[test]
        fn changes_add_up_as_in_a_plain_map(changes in vec(change(), 0..20)) {
            let (mut pins, mut model) = (Pins::default(), HashMap::new());
            for change in changes {
                let (before, clone) = (model.clone(), pins.clone());
                if change.only {
                    model.clear();
                }
                change.removed.iter().for_each(|source| _ = model.remove(source));
                model.extend(change.pins.iter().cloned());
                prop_assert_eq!(pins.set(&change), model != before);
                prop_assert_eq!(pins.is_same(&clone), model == before);
                let all: HashMap<_, _> = pins.iter().map(|(at, pin)| (at, pin.clone())).collect();
                prop_assert_eq!(&all, &model);
                prop_assert_eq!((pins.len(), pins.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(pins.iter().is_sorted_by_key(|(source, _)| source));
                // The same again changes nothing.
                let again = PinChange { removed: Vec::new(), ..change };
                prop_assert!(!pins.set(&again));
            }
        }
    }
}
