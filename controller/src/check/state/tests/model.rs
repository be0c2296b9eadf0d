//! The rules, read plainly: a second opinion about everything that is wanted and said.
//!
//! The model remembers all results of each target and asks them again at each step. It knows names, no numbers, looks
//! at every backend at each step, and counts no more than the rules count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use guideway_config::InitialState;

use super::*;

/// A result, with what the check demanded when it came; or the begin of a new count.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Says { letter: char, rise: u32, fall: u32 },
    Anew,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    initial: CheckState,
    entries: Vec<Entry>,
    pub(super) last: Option<char>,
}

impl Known {
    /// The state, the results in a row against it, and the check and result that explain it.
    pub(super) fn state(&self) -> (CheckState, u32) {
        let mut state = self.initial;
        let mut row = 0;
        for entry in &self.entries {
            let Entry::Says { letter, rise, fall } = *entry else {
                row = 0;
                continue;
            };
            match (state, letter) {
                (_, 'e') => {}
                (CheckState::Unknown, 's') => state = CheckState::Up,
                (CheckState::Unknown, 'd') => state = CheckState::Draining,
                (CheckState::Unknown, _) => state = CheckState::Down,
                (CheckState::Down, 'f') => row = 0,
                (CheckState::Down, _) => {
                    row += 1;
                    if row == rise {
                        row = 0;
                        state = if letter == 'd' { CheckState::Draining } else { CheckState::Up };
                    }
                }
                (_, 'f') => {
                    row += 1;
                    if row == fall {
                        row = 0;
                        state = CheckState::Down;
                    }
                }
                (_, 's') => (row, state) = (0, CheckState::Up),
                (_, _) => (row, state) = (0, CheckState::Draining),
            }
        }
        (state, row)
    }
}

/// A backend: its pool, name and address.
pub(super) type Id = (String, String, IpAddr);

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) plan: Plan,
    pub(super) known: BTreeMap<TargetKey, Known>,
    pub(super) freezes: BTreeSet<FreezeCause>,
    held: BTreeMap<Id, SetState>,
    failing: BTreeSet<Id>,
    fell: BTreeMap<Id, u64>,
    pub(super) kept: BTreeSet<Id>,
    pub(super) panics: BTreeSet<String>,
    pub(super) is_first_over: bool,
}

pub(super) fn id(key: &TargetKey, member: &Member) -> Id {
    (member.pool.to_string(), member.backend.to_string(), key.address)
}

impl Model {
    pub(super) fn ids(&self) -> BTreeSet<Id> {
        let targets = self.plan.targets.iter();
        targets.flat_map(|(key, target)| target.members.iter().map(|it| id(key, it))).collect()
    }

    fn keys_of(&self, of: &Id) -> Vec<&TargetKey> {
        let targets = self.plan.targets.iter();
        let targets =
            targets.filter(|(key, target)| target.members.iter().any(|it| id(key, it) == *of));
        targets.map(|(key, _)| key).collect()
    }

    fn states_of(&self, of: &Id) -> Vec<CheckState> {
        self.keys_of(of).into_iter().map(|key| self.known[key].state().0).collect()
    }

    fn held(&self, of: &Id) -> Option<SetState> {
        let is_unknown = self.states_of(of).contains(&CheckState::Unknown);
        self.held.get(of).copied().filter(|_| is_unknown)
    }

    fn fails(&self, of: &Id) -> bool {
        self.states_of(of).contains(&CheckState::Down) || self.held(of) == Some(SetState::Down)
    }

    pub(super) fn wanted(&self, of: &Id) -> Option<SetState> {
        let (states, held) = (self.states_of(of), self.held(of));
        if self.fails(of) && !self.kept.contains(of) {
            return Some(SetState::Down);
        }
        let drains = states.contains(&CheckState::Draining) || held == Some(SetState::Draining);
        drains.then_some(SetState::Draining)
    }

    fn is_frozen(&self, key: &TargetKey) -> bool {
        self.freezes
            .iter()
            .any(|cause| *cause != FreezeCause::Interface || key.path != Path::Direct)
    }

    pub(super) fn result(&mut self, key: &TargetKey, letter: char) {
        let is_frozen = self.is_frozen(key);
        let check = &self.plan.targets[key].check;
        let entry = Entry::Says { letter, rise: check.rise, fall: check.fall };
        let known = self.known.get_mut(key).unwrap();
        known.last = Some(letter);
        if !is_frozen {
            known.entries.push(entry);
        }
    }

    pub(super) fn thaw(&mut self, cause: FreezeCause) {
        let frozen = |model: &Model| -> Vec<bool> {
            model.known.keys().map(|key| model.is_frozen(key)).collect()
        };
        let before = frozen(self);
        self.freezes.remove(&cause);
        let after = frozen(self);
        for (at, known) in self.known.values_mut().enumerate() {
            if before[at] && !after[at] {
                known.entries.push(Entry::Anew);
            }
        }
    }

    pub(super) fn reload(&mut self, plan: Plan, earlier: Option<&BTreeMap<Member, Wanted>>) {
        let old = std::mem::replace(&mut self.plan, plan);
        let mut was = self.clone();
        was.plan = old;
        self.known.clear();
        let mut new = BTreeSet::new();
        for (key, target) in &self.plan.targets {
            let known = match was.known.get(key) {
                Some(known) if was.plan.targets[key].check == target.check => known.clone(),
                Some(known) => edited(known),
                None => {
                    // Of the same check and server, of which a backend has gone over from there to here.
                    let mut replaced = Vec::new();
                    for (other, old) in &was.plan.targets {
                        if (&other.check, other.address) != (&key.check, key.address) {
                            continue;
                        }
                        let remain = self.plan.targets.get(other).map(|it| it.members.clone());
                        let remain = remain.unwrap_or_default();
                        let mut gone = old.members.iter().filter(|it| !remain.contains(it));
                        if gone.any(|it| target.members.contains(it)) {
                            replaced.push(&was.known[other]);
                        }
                    }
                    let worst = replaced.iter().map(|known| known.state().0).max();
                    match replaced.into_iter().find(|known| Some(known.state().0) == worst) {
                        Some(known) => edited(known),
                        None => {
                            new.insert(key.clone());
                            let initial = match target.check.initial_state {
                                _ if earlier.is_some() => CheckState::Unknown,
                                InitialState::Unknown => CheckState::Unknown,
                                InitialState::Up => CheckState::Up,
                                InitialState::Down => CheckState::Down,
                            };
                            Known { initial, entries: Vec::new(), last: None }
                        }
                    }
                }
            };
            self.known.insert(key.clone(), known);
        }
        // Backends stay as they were while something new is unknown.
        let was_there = was.ids();
        self.held.clear();
        for id in self.ids() {
            let is_unknown = |key: &TargetKey| self.known[key].state().0 == CheckState::Unknown;
            let has_new =
                self.keys_of(&id).into_iter().any(|key| new.contains(key) && is_unknown(key));
            let held = if !was_there.contains(&id) {
                let (pool, backend, _) = &id;
                earlier.and_then(|it| Some(it.get(&member(pool, backend))?.state))
            } else if has_new {
                was.wanted(&id)
            } else {
                was.held(&id)
            };
            self.held.extend(held.map(|held| (id, held)));
        }
        // A backend that is new shares the part in a panic of those that had its targets.
        for id in self.ids().difference(&was_there) {
            let keys = self.keys_of(id).into_iter();
            let others: Vec<Id> = keys
                .flat_map(|key| {
                    was.ids()
                        .into_iter()
                        .filter(|it| was.keys_of(it).contains(&key))
                        .collect::<Vec<_>>()
                })
                .collect();
            if let Some(fell) = others.iter().filter_map(|other| was.fell.get(other)).max() {
                self.fell.insert(id.clone(), *fell);
            }
            if others.iter().any(|other| was.kept.contains(other)) {
                self.kept.insert(id.clone());
            }
            if self.fails(id) {
                self.failing.insert(id.clone());
            }
        }
    }

    fn window(&self, pool: &str) -> u64 {
        let targets = self.plan.targets.values();
        let targets = targets.filter(|it| it.members.iter().any(|it| *it.pool == *pool));
        let windows = targets.map(|target| {
            let check = &target.check;
            let interval = check.interval.max(check.fast_interval);
            let percent = u128::from(check.fall) * (100 + u128::from(check.jitter));
            let window = interval.as_millis() * percent / 100 + check.timeout.as_millis();
            u64::try_from(window).unwrap()
        });
        windows.max().unwrap_or(0).max(5_000)
    }

    /// After each event: who falls, who recovers, who is kept.
    pub(super) fn settle(&mut self, now: u64) {
        let ids = self.ids();
        let is_failing: BTreeSet<Id> = ids.iter().filter(|it| self.fails(it)).cloned().collect();
        for id in is_failing.difference(&self.failing) {
            self.fell.insert(id.clone(), now);
        }
        self.fell.retain(|id, _| is_failing.contains(id));
        self.kept.retain(|id| is_failing.contains(id));
        self.failing = is_failing;
        // What is held has no second time.
        let over: Vec<Id> =
            self.held.keys().filter(|id| self.held(id).is_none()).cloned().collect();
        over.iter().for_each(|id| _ = self.held.remove(id));
        let mut panics = BTreeSet::new();
        for (pool, of) in &self.plan.pools {
            let window = self.window(pool);
            let is_of = |id: &&Id| id.0 == **pool;
            let fell = self.fell.iter().filter(|&(_, &fell)| now - fell <= window);
            let recent: Vec<Id> = fell.map(|(id, _)| id).filter(is_of).cloned().collect();
            let kept = self.kept.iter().filter(is_of).count();
            let is_many =
                |count: usize| count * 100 > of.backends.len() * usize::from(of.panic_threshold);
            if self.panics.contains(&**pool) || kept > 0 || is_many(recent.len()) {
                self.kept.extend(recent);
            }
            if is_many(self.kept.iter().filter(is_of).count()) {
                panics.insert(pool.to_string());
            } else {
                self.kept.retain(|id| !is_of(&id));
            }
        }
        self.panics = panics;
        let is_unknown = |known: &Known| known.state().0 == CheckState::Unknown;
        self.is_first_over |= !self.known.values().any(is_unknown);
    }
}

fn edited(known: &Known) -> Known {
    let mut known = known.clone();
    known.entries.push(Entry::Anew);
    known
}
