//! The states themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use guideway_api::CheckState;
use guideway_chassis::wall::Wall;

use super::change::{Change, FreezeCause, Pace, ProbeResult, Wanted};
use super::entries::Entries;
use super::panic::{PoolState, Turn};
use super::reload::{self, Earlier};
use crate::check::{Member, Path, Plan, TargetKey};

/// Everything that is known of the targets, and what follows for the backends.
#[derive(Clone, Debug, Default)]
pub struct States {
    pub(super) entries: Entries,
    freezes: BTreeSet<FreezeCause>,
    wanted: BTreeMap<Member, Wanted>,
    /// What was wanted of those that may be wanted otherwise now, when [`States::differences`] was last called.
    before: BTreeMap<Member, Option<Wanted>>,
    /// Targets of which nothing is known yet.
    unknown: usize,
    is_first_over: bool,
}

impl States {
    /// Without any target.
    pub fn new() -> States {
        States::default()
    }

    /// Follows another configuration. `earlier` is for the first one after a start: it says that an earlier run of the
    /// controller has checked the forwarder's backends, and what it has set.
    pub fn configure(
        &mut self,
        plan: &Plan,
        earlier: Earlier<'_>,
        now: Instant,
        wall: Wall,
    ) -> Vec<Change> {
        let entries = reload::follow(&self.entries, plan, earlier, now, wall);
        let old = std::mem::replace(&mut self.entries, entries);
        let mut changes = self.follow_pools(&old, now);
        let members = self.entries.members.iter().enumerate();
        let wanted = members.filter_map(|(index, member)| {
            Some((member.member.clone(), self.entries.wanted(index)?))
        });
        let wanted = wanted.collect();
        let old = std::mem::replace(&mut self.wanted, wanted);
        for member in old.keys().chain(self.wanted.keys()) {
            let before = old.get(member);
            if before != self.wanted.get(member) {
                self.before.entry(member.clone()).or_insert_with(|| before.cloned());
            }
        }
        let targets = self.entries.targets.iter();
        self.unknown =
            targets.filter(|target| target.standing.state == CheckState::Unknown).count();
        changes.extend(self.first_over());
        changes
    }

    /// Begins and ends panics because of another configuration.
    fn follow_pools(&mut self, old: &Entries, now: Instant) -> Vec<Change> {
        let old_panics = old.pools.iter().filter(|pool| pool.is_panic);
        let mut before: BTreeSet<_> = old_panics.map(|pool| pool.name.clone()).collect();
        let mut changes = Vec::new();
        for pool in &mut self.entries.pools {
            pool.settle(now);
            let was_panic = before.remove(&pool.name);
            changes.extend((was_panic != pool.is_panic).then(|| panic_change(pool)));
        }
        // Pools that are gone.
        changes.extend(before.into_iter().map(|pool| Change::Calm { pool }));
        changes
    }

    /// Takes the result of a probe. One of a target that is gone changes nothing.
    pub fn result(
        &mut self,
        key: &TargetKey,
        result: ProbeResult,
        now: Instant,
        wall: Wall,
    ) -> Vec<Change> {
        let Some(&index) = self.entries.target_of.get(key) else {
            return Vec::new();
        };
        let is_frozen = self.is_frozen(key);
        let target = &mut self.entries.targets[index];
        let from =
            if is_frozen { None } else { target.standing.follow(&target.check, &result, wall) };
        let Some(from) = from else {
            target.standing.keep(result, wall);
            return Vec::new();
        };
        let to = target.standing.state;
        let listed = result.listed(wall);
        target.standing.keep(result, wall);
        self.unknown -= usize::from(from == CheckState::Unknown);
        let members = self.entries.targets[index].members.clone();
        let mut changes = Vec::with_capacity(members.len());
        for &member in &members {
            self.follow_member(member, now);
            let entry = &self.entries.members[member];
            changes.push(Change::State {
                check: key.check.clone(),
                member: entry.member.clone(),
                address: entry.address,
                from,
                to,
                result: listed.clone(),
            });
        }
        for &member in &members {
            changes.extend(self.settle(member, now));
            self.want(member);
        }
        changes.extend(self.first_over());
        changes
    }

    /// A member's targets have changed.
    fn follow_member(&mut self, index: usize, now: Instant) {
        let member = &self.entries.members[index];
        let is_failing = self.entries.fails(member);
        let holds = self.entries.held(member).is_some();
        let member = &mut self.entries.members[index];
        if !holds {
            member.held = None;
        }
        if member.is_failing == is_failing {
            return;
        }
        member.is_failing = is_failing;
        let fell = std::mem::replace(&mut member.fell, is_failing.then_some(now));
        if let Some(pool) = member.pool {
            let pool = &mut self.entries.pools[pool];
            if is_failing {
                pool.fell(index, now);
            } else {
                pool.recovered(index, fell);
            }
        }
    }

    /// Begins or ends the panic of a member's pool.
    fn settle(&mut self, member: usize, now: Instant) -> Option<Change> {
        let pool = &mut self.entries.pools[self.entries.members[member].pool?];
        let turn = pool.settle(now)?;
        let change = panic_change(pool);
        let (Turn::Panic(members) | Turn::Calm(members)) = turn;
        for member in members {
            self.want(member);
        }
        Some(change)
    }

    /// Notes what a member is to be set to.
    fn want(&mut self, index: usize) {
        let wanted = self.entries.wanted(index);
        let member = &self.entries.members[index].member;
        if self.wanted.get(member) == wanted.as_ref() {
            return;
        }
        let before = match wanted {
            Some(wanted) => self.wanted.insert(member.clone(), wanted),
            None => self.wanted.remove(member),
        };
        self.before.entry(member.clone()).or_insert(before);
    }

    fn first_over(&mut self) -> Option<Change> {
        let is_over = self.unknown == 0 && !self.is_first_over;
        self.is_first_over |= is_over;
        is_over.then_some(Change::FirstOver)
    }

    /// States do not follow results from now on.
    pub fn freeze(&mut self, cause: FreezeCause) -> Option<Change> {
        self.freezes.insert(cause).then_some(Change::Frozen(cause))
    }

    /// This cause to freeze is over. Where no other one is left, states follow results again, and the counts begin
    /// anew.
    pub fn thaw(&mut self, cause: FreezeCause) -> Option<Change> {
        if !self.freezes.remove(&cause) {
            return None;
        }
        let freezes = std::mem::take(&mut self.freezes);
        let is_frozen = |path: &Path| freezes.iter().any(|cause| freezes_path(*cause, path));
        for target in &mut self.entries.targets {
            if freezes_path(cause, &target.key.path) && !is_frozen(&target.key.path) {
                target.standing.against = 0;
            }
        }
        self.freezes = freezes;
        self.freezes.is_empty().then_some(Change::Resumed)
    }

    /// Why states do not follow results, in words; none if all do.
    pub fn frozen(&self) -> Option<String> {
        let causes: Vec<_> = self.freezes.iter().map(|cause| cause.words()).collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }

    fn is_frozen(&self, key: &TargetKey) -> bool {
        self.freezes.iter().any(|cause| freezes_path(*cause, &key.path))
    }

    /// What each backend is to be set to. What is missing here is not to be set.
    pub fn wanted(&self) -> &BTreeMap<Member, Wanted> {
        &self.wanted
    }

    /// Those backends of which another setting is wanted than when this was last called, and what: none to unset. A
    /// backend that is gone is among them if something was wanted of it.
    pub fn differences(&mut self) -> Vec<(Member, Option<Wanted>)> {
        let before = std::mem::take(&mut self.before);
        let now = before.into_iter().map(|(member, before)| {
            let now = self.wanted.get(&member).cloned();
            (before != now).then_some((member, now))
        });
        now.flatten().collect()
    }

    /// What interval a target's next probe takes; none for one that is gone.
    pub fn pace(&self, key: &TargetKey) -> Option<Pace> {
        Some(self.entries.target(key)?.standing.pace())
    }

    /// A target's state; none for one that is gone.
    pub fn state(&self, key: &TargetKey) -> Option<CheckState> {
        Some(self.entries.target(key)?.standing.state)
    }

    /// Whether each target has had its first result that says something. Once it is so it stays so, whatever another
    /// configuration adds.
    pub fn is_first_over(&self) -> bool {
        self.is_first_over
    }
}

fn freezes_path(cause: FreezeCause, path: &Path) -> bool {
    !cause.is_of_tunnels() || matches!(path, Path::Tunnel(_))
}

/// A pool's panic has begun or ended.
fn panic_change(pool: &PoolState) -> Change {
    let (pool, failing, backends, is_panic) =
        (pool.name.clone(), pool.failing(), pool.backends, pool.is_panic);
    if is_panic { Change::Panic { pool, failing, backends } } else { Change::Calm { pool } }
}
