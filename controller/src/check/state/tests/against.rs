//! The states and their model side by side: after every event, both say and want the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::edits::{Event, edit, event, other_event};
use super::model::{Model, id};
use super::site::Site;
use super::*;

struct Both {
    rig: Rig,
    model: Model,
    /// Panics, pools that were calm after a panic, and changes of states, over the whole test.
    seen: [usize; 3],
}

impl Both {
    fn new() -> Both {
        let mut site = Site::of(4, 50);
        let pool = site.pools.remove("p").unwrap();
        site.pools.insert("p0".to_owned(), pool);
        let mut both = Both { rig: Rig::empty(site), model: Model::default(), seen: [0; 3] };
        both.rig.reload();
        both.model.reload(both.rig.site.plan(), None);
        both.model.settle(0);
        both
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Results(target, letters) => {
                let keys: Vec<_> = self.model.plan.targets.keys().cloned().collect();
                if let Some(key) = keys.get(usize::from(*target) % keys.len().max(1)) {
                    letters.iter().try_for_each(|&letter| self.result(key, letter))?;
                }
            }
            Event::All(letter, times) => {
                let keys: Vec<_> = self.model.plan.targets.keys().cloned().collect();
                for _ in 0..*times {
                    keys.iter().try_for_each(|key| self.result(key, *letter))?;
                }
            }
            Event::Freeze(cause) => {
                let is_new = self.model.freezes.insert(*cause);
                let change = self.rig.states.freeze(*cause);
                prop_assert_eq!(change, is_new.then_some(Change::Frozen(*cause)));
            }
            Event::Thaw(cause) => {
                let is_last = self.model.freezes.len() == 1 && self.model.freezes.contains(cause);
                self.model.thaw(*cause);
                let change = self.rig.states.thaw(*cause);
                prop_assert_eq!(change, is_last.then_some(Change::Resumed));
            }
            Event::Pass(milliseconds) => self.rig.pass(*milliseconds),
            Event::Edit(edit) => {
                edit.apply(&mut self.rig.site);
                self.reload(None)?;
            }
            Event::Restart(knows) => {
                let earlier = self.rig.states.wanted().clone();
                self.rig.states = States::new();
                self.model = Model::default();
                self.reload(Some(&earlier).filter(|_| *knows))?;
            }
        }
        self.compare()
    }

    fn result(&mut self, key: &TargetKey, letter: char) -> Result<(), TestCaseError> {
        let before = self.model.clone();
        self.model.result(key, letter);
        self.model.settle(self.now());
        let changes = self.rig.results_of(key, &letter.to_string());
        let (from, to) = (before.known[key].state().0, self.model.known[key].state().0);
        let members = if from == to { &[][..] } else { &self.model.plan.targets[key].members };
        let expected: Vec<_> = members.iter().map(|member| (member.clone(), from, to)).collect();
        self.said(&before, &changes, &expected)
    }

    fn reload(&mut self, earlier: Option<&BTreeMap<Member, Wanted>>) -> Result<(), TestCaseError> {
        let before = self.model.clone();
        let plan = self.rig.site.plan();
        self.model.reload(plan.clone(), earlier);
        self.model.settle(self.now());
        let (now, wall) = (self.rig.steady(), self.rig.wall());
        let changes = self.rig.states.configure(&plan, earlier, now, wall);
        self.said(&before, &changes, &[])
    }

    fn now(&self) -> u64 {
        u64::try_from(self.rig.now.as_millis()).unwrap()
    }

    /// Whether the changes are those of the model.
    fn said(
        &mut self,
        before: &Model,
        changes: &[Change],
        states: &[(Member, CheckState, CheckState)],
    ) -> Result<(), TestCaseError> {
        let (mut said, mut panics, mut calm, mut first_over) = (vec![], vec![], vec![], false);
        for change in changes {
            match change {
                Change::State { member, from, to, .. } => said.push((member.clone(), *from, *to)),
                Change::Panic { pool, failing, backends } => {
                    prop_assert!(*failing <= *backends && *failing > 0);
                    panics.push(pool.to_string());
                }
                Change::Calm { pool } => calm.push(pool.to_string()),
                Change::FirstOver => first_over = true,
                other => prop_assert!(false, "{:?}", other),
            }
        }
        panics.sort();
        calm.sort();
        prop_assert_eq!(&said, states);
        prop_assert!(
            panics.iter().eq(self.model.panics.difference(&before.panics)),
            "{:?}",
            changes
        );
        prop_assert!(calm.iter().eq(before.panics.difference(&self.model.panics)), "{:?}", changes);
        prop_assert_eq!(first_over, self.model.is_first_over && !before.is_first_over);
        for (seen, more) in self.seen.iter_mut().zip([panics.len(), calm.len(), said.len()]) {
            *seen += more;
        }
        Ok(())
    }

    /// Whether everything that can be asked for is that of the model.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let (model, states) = (&self.model, &mut self.rig.states);
        let mut wanted = BTreeMap::new();
        for id in model.ids() {
            wanted.extend(model.wanted(&id).map(|state| (member(&id.0, &id.1), state)));
        }
        let found: BTreeMap<_, _> =
            states.wanted().iter().map(|(member, wanted)| (member.clone(), wanted.state)).collect();
        prop_assert_eq!(found, wanted);
        prop_assert_eq!(states.is_first_over(), model.is_first_over);
        prop_assert_eq!(states.frozen().is_some(), !model.freezes.is_empty());
        let mut rows = states.rows();
        for (key, target) in &model.plan.targets {
            let (state, against) = model.known[key].state();
            let pace = match state {
                _ if against > 0 => Pace::Fast,
                CheckState::Down => Pace::Down,
                _ => Pace::Normal,
            };
            prop_assert_eq!(states.pace(key), Some(pace));
            for member in &target.members {
                let row = rows.next().unwrap();
                prop_assert_eq!(
                    (&row.pool, &row.backend),
                    (&member.pool.to_string(), &member.backend.to_string())
                );
                prop_assert_eq!((row.state, row.against), (state, against), "{:?}", key);
                let kept = state == CheckState::Down && model.kept.contains(&id(key, member));
                prop_assert_eq!(row.kept, kept, "{:?} {:?}", key, member);
                prop_assert_eq!(row.result.map(|it| it.code), model.known[key].last.map(code));
            }
        }
        prop_assert_eq!(rows.count(), 0);
        Ok(())
    }
}

/// A forwarder that is told the differences alone.
#[derive(Default)]
struct Told(BTreeMap<Member, Wanted>);

impl Told {
    fn follow(&mut self, states: &mut States) -> Result<(), TestCaseError> {
        for (member, wanted) in states.differences() {
            let before = match wanted.clone() {
                Some(wanted) => self.0.insert(member, wanted),
                None => self.0.remove(&member),
            };
            prop_assert_ne!(before, wanted, "nothing is said twice");
        }
        prop_assert_eq!(&self.0, states.wanted());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn states_are_those_of_a_plain_reading_of_the_rules(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut both = Both::new();
        for event in &events {
            both.step(event)?;
        }
    }

    /// Who follows the differences, now and then, has what is wanted.
    #[test]
    fn differences_add_up(events in prop::collection::vec((event(), any::<bool>()), 1..60)) {
        let (mut both, mut told) = (Both::new(), Told::default());
        for (event, asks) in &events {
            both.step(event)?;
            if let Event::Restart(_) = event {
                // The forwarder still has what was set. The controller reads it before it goes on.
                both.rig.states.differences();
                told.0 = both.rig.states.wanted().clone();
            }
            if *asks {
                told.follow(&mut both.rig.states)?;
            }
        }
        told.follow(&mut both.rig.states)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(2) })]

    /// One controller that lives through a thousand edits of checks and pools, while results come, fail and freeze.
    #[test]
    fn a_thousand_edits(
        events in prop::collection::vec((edit(), prop::collection::vec(other_event(), 0..4)), 1_000),
    ) {
        let mut both = Both::new();
        for (edit, events) in &events {
            both.step(&Event::Edit(edit.clone()))?;
            for event in events {
                both.step(event)?;
            }
        }
        let [panics, calm, states] = both.seen;
        figure(&format!("panics {panics}, ended {calm}, changes of states {states}"));
        prop_assert!(panics > 10 && calm > 10 && states > 500, "hardly anything happened: {:?}", both.seen);
    }
}
