//! What another configuration leaves of what is known.
//!
//! - A target that was there keeps its state and its counts. If its check was edited, the counts begin anew, and the
//!   state stays until the edited check's own rise or fall.
//! - If a backend's probes go another way now (another port, virtual address or tunnel), that is an edited check too:
//!   the new target takes over the state of the old one. If it takes the place of several, the worst counts.
//! - Any other target is new and takes `initial_state`. While it is unknown, its backends stay as they were. A
//!   controller that starts beside backends which an earlier one has checked begins with "unknown", whatever
//!   `initial_state` says: its backends serve already, or are down for a reason.
//! - What only targets have said that are gone is forgotten.
//! - Backends keep their part in a panic. One that is new shares that of a backend with the same target: of the same
//!   server by another name, so that a new name amid a panic does not end it.

use std::collections::BTreeMap;
use std::time::Instant;

use guideway_api::CheckState;
use guideway_chassis::wall::Wall;
use guideway_config::InitialState;

use super::change::Wanted;
use super::entries::{Entries, MemberEntry, TargetEntry};
use super::panic::PoolState;
use super::standing::Standing;
use crate::check::{Member, Plan, Target, TargetKey};

/// What backends an earlier run of the controller has set, and to what; none if no earlier run has checked any.
pub type Earlier<'a> = Option<&'a BTreeMap<Member, Wanted>>;

/// The entries of a configuration, with what is known from those before.
pub(super) fn follow(
    old: &Entries,
    plan: &Plan,
    earlier: Earlier<'_>,
    now: Instant,
    wall: Wall,
) -> Entries {
    let mut reload = Reload { old, plan, entries: Entries::default(), is_new: Vec::new() };
    for (name, pool) in &plan.pools {
        let state = PoolState::new(name.clone(), pool.backends.len(), pool.panic_threshold);
        reload.entries.pool_of.insert(name.clone(), reload.entries.pools.len());
        reload.entries.pools.push(state);
    }
    for (key, target) in &plan.targets {
        reload.add_target(key, target, earlier.is_some(), wall);
    }
    for index in 0..reload.entries.members.len() {
        reload.follow_member(index, earlier, now);
    }
    let mut entries = reload.entries;
    entries.pools.iter_mut().for_each(|pool| pool.resume(now));
    entries
}

struct Reload<'a> {
    old: &'a Entries,
    plan: &'a Plan,
    entries: Entries,
    /// For each target, whether nothing is known of it from before.
    is_new: Vec<bool>,
}

impl Reload<'_> {
    fn add_target(&mut self, key: &TargetKey, target: &Target, is_earlier: bool, wall: Wall) {
        let known = match self.old.target(key) {
            Some(old) if old.check == target.check => Some(old.standing.clone()),
            Some(old) => Some(old.standing.edited()),
            None => self.replaced(key, target),
        };
        self.is_new.push(known.is_none());
        let initial = if is_earlier { InitialState::Unknown } else { target.check.initial_state };
        let standing = known.unwrap_or_else(|| Standing::new(&target.check, initial, wall));
        let index = self.entries.targets.len();
        let mut members = Vec::new();
        for member in &target.members {
            let member = self.member(member, key);
            self.entries.members[member].targets.push(index);
            members.push(member);
            if let Some(pool) = self.entries.members[member].pool {
                self.entries.pools[pool].has_check(&target.check);
            }
        }
        let (key, check) = (key.clone(), target.check.clone());
        self.entries.target_of.insert(key.clone(), index);
        self.entries.targets.push(TargetEntry { key, check, members, standing });
    }

    /// What is known of the targets whose place a new one takes: those of the same check and server that its backends
    /// have had, and have no longer.
    fn replaced(&self, key: &TargetKey, target: &Target) -> Option<Standing> {
        let old = target.members.iter().filter_map(|member| {
            let entry = self.old.member(member)?;
            let targets = entry.targets.iter().map(|&target| &self.old.targets[target]);
            Some(targets.map(move |target| (target, member)))
        });
        let replaced = old.flatten().filter(|(old, member)| {
            let still = self.plan.targets.get(&old.key);
            let is_same = old.key.check == key.check && old.key.address == key.address;
            is_same && still.is_none_or(|still| !still.members.contains(member))
        });
        // The first of the worst, in the order of the keys.
        let worst = replaced
            .map(|(old, _)| old)
            .max_by(|a, b| a.standing.state.cmp(&b.standing.state).then(b.key.cmp(&a.key)))?;
        Some(worst.standing.edited())
    }

    /// The number of a member.
    fn member(&mut self, member: &Member, key: &TargetKey) -> usize {
        if let Some(&index) = self.entries.member_of.get(member) {
            return index;
        }
        let index = self.entries.members.len();
        self.entries.members.push(MemberEntry {
            member: member.clone(),
            address: key.address,
            pool: self.entries.pool_of.get(&member.pool).copied(),
            targets: Vec::new(),
            held: None,
            is_failing: false,
            fell: None,
        });
        self.entries.member_of.insert(member.clone(), index);
        index
    }

    fn follow_member(&mut self, index: usize, earlier: Earlier<'_>, now: Instant) {
        let member = &self.entries.members[index];
        let old = self.old.member_of.get(&member.member).copied();
        let old = old.filter(|&old| self.old.members[old].address == member.address);
        let has_new_unknown = member.targets.iter().any(|&target| {
            let is_unknown = self.entries.targets[target].standing.state == CheckState::Unknown;
            is_unknown && self.is_new[target]
        });
        let held = match old {
            Some(old) if has_new_unknown => self.old.wanted(old),
            Some(old) => self.old.members[old].held.clone(),
            None => earlier.and_then(|earlier| earlier.get(&member.member)).cloned(),
        };
        self.entries.members[index].held = held;
        let member = &self.entries.members[index];
        let is_failing = self.entries.fails(member);
        let (mut fell, mut is_kept) = (None, false);
        let mut begins = false;
        match old {
            _ if !is_failing => {}
            Some(old) if self.old.members[old].is_failing => {
                (fell, is_kept) = (self.old.members[old].fell, self.old.is_kept(old));
            }
            Some(_) => begins = true,
            None => (fell, is_kept) = self.shared(index),
        }
        let pool = member.pool;
        let member = &mut self.entries.members[index];
        (member.is_failing, member.fell) = (is_failing, if begins { Some(now) } else { fell });
        if let Some(pool) = pool
            && is_failing
        {
            self.entries.pools[pool].restore(index, member.fell, is_kept);
        }
    }

    /// The part in a panic of those that had a member's targets before: when the last of them began to fail, and
    /// whether one of them is kept.
    fn shared(&self, index: usize) -> (Option<Instant>, bool) {
        let targets = self.entries.members[index].targets.iter();
        let old = targets.filter_map(|&target| self.old.target(&self.entries.targets[target].key));
        let members = old.flat_map(|old| &old.members);
        members.fold((None, false), |(fell, is_kept), &old| {
            let member = &self.old.members[old];
            (fell.max(member.fell), is_kept || self.old.is_kept(old))
        })
    }
}
