//! Targets, the backends that they are for, and the pools of these, as one configuration has them.
//!
//! They refer to one another by number, so that a result finds all that it may change without a search.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{CheckState, SetState};
use guideway_config::Check;

use super::change::Wanted;
use super::panic::PoolState;
use super::standing::Standing;
use crate::check::{Member, TargetKey};

/// A target.
#[derive(Clone, Debug)]
pub(super) struct TargetEntry {
    pub(super) key: TargetKey,
    pub(super) check: Arc<Check>,
    pub(super) members: Vec<usize>,
    pub(super) standing: Standing,
}

/// A backend of a pool.
#[derive(Clone, Debug)]
pub(super) struct MemberEntry {
    pub(super) member: Member,
    pub(super) address: IpAddr,
    pub(super) pool: Option<usize>,
    /// In the order of their keys.
    pub(super) targets: Vec<usize>,
    /// What the backend was set to before targets were there that are unknown yet. It holds until all are known.
    pub(super) held: Option<Wanted>,
    /// Whether a target, or what is held, says down.
    pub(super) is_failing: bool,
    /// When it began to fail; none if it works, or did never work.
    pub(super) fell: Option<Instant>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) targets: Vec<TargetEntry>,
    pub(super) members: Vec<MemberEntry>,
    pub(super) pools: Vec<PoolState>,
    pub(super) target_of: BTreeMap<TargetKey, usize>,
    pub(super) member_of: BTreeMap<Member, usize>,
    pub(super) pool_of: BTreeMap<Arc<str>, usize>,
}

impl Entries {
    /// The target of a key.
    pub(super) fn target(&self, key: &TargetKey) -> Option<&TargetEntry> {
        Some(&self.targets[*self.target_of.get(key)?])
    }

    /// The member of a name.
    pub(super) fn member(&self, member: &Member) -> Option<&MemberEntry> {
        Some(&self.members[*self.member_of.get(member)?])
    }

    fn standings(&self, member: &MemberEntry) -> impl Iterator<Item = &Standing> {
        member.targets.iter().map(|&target| &self.targets[target].standing)
    }

    fn has(&self, member: &MemberEntry, state: CheckState) -> bool {
        self.standings(member).any(|standing| standing.state == state)
    }

    /// What is held for a member, as long as one of its targets is unknown.
    pub(super) fn held<'a>(&self, member: &'a MemberEntry) -> Option<&'a Wanted> {
        let held = member.held.as_ref()?;
        self.has(member, CheckState::Unknown).then_some(held)
    }

    /// Whether something says that a member is down.
    pub(super) fn fails(&self, member: &MemberEntry) -> bool {
        let is_held = self.held(member).is_some_and(|held| held.state == SetState::Down);
        is_held || self.has(member, CheckState::Down)
    }

    /// Whether a pool keeps a member although it fails.
    pub(super) fn is_kept(&self, index: usize) -> bool {
        let pool = self.members[index].pool.map(|pool| &self.pools[pool]);
        pool.is_some_and(|pool| pool.is_kept(index))
    }

    /// What a member is to be set to: the worst that a target or what is held says, but for "down" if the pool keeps
    /// it.
    pub(super) fn wanted(&self, index: usize) -> Option<Wanted> {
        let member = &self.members[index];
        let by = |state, set| {
            let mut standings = self.standings(member);
            let standing = standings.find(|standing| standing.state == state);
            let wanted =
                |standing: &Standing| Wanted { state: set, reason: standing.reason.clone() };
            let held = || self.held(member).filter(|held| held.state == set).cloned();
            standing.map(wanted).or_else(held)
        };
        let down = || by(CheckState::Down, SetState::Down);
        let down = if self.is_kept(index) { None } else { down() };
        down.or_else(|| by(CheckState::Draining, SetState::Draining))
    }
}
