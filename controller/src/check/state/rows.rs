//! What is known of each backend, for listings.

use guideway_api::{CheckDetails, CheckRow, CheckState, CheckVia};

use super::entries::TargetEntry;
use super::states::States;
use crate::check::{Member, Path, TargetKey};

impl States {
    /// Each backend with each of its checks, in the order of checks, addresses and ways.
    pub fn rows(&self) -> impl Iterator<Item = CheckRow> {
        let targets = self.entries.targets.iter();
        targets.flat_map(|target| target.members.iter().map(|&member| self.row_of(target, member)))
    }

    /// One backend with one of its checks.
    pub fn row(&self, key: &TargetKey, member: &Member) -> Option<CheckRow> {
        let target = self.entries.target(key)?;
        let index = self.entries.member_of.get(member)?;
        target.members.contains(index).then(|| self.row_of(target, *index))
    }

    /// One backend with one of its checks in detail. Where probes come from and when the next begins is not known here.
    pub fn details(&self, key: &TargetKey, member: &Member) -> Option<CheckDetails> {
        let row = self.row(key, member)?;
        let target = self.entries.target(key)?;
        let pools = target.members.iter().map(|&member| &self.entries.members[member].member.pool);
        Some(CheckDetails {
            row,
            sources: Vec::new(),
            pools: pools.map(ToString::to_string).collect(),
            certificate_ends: None,
            next_ms: None,
            results: target.standing.results().collect(),
        })
    }

    /// The targets of a check, each with the backend that was asked for: by its name or address, and by its pool if one
    /// is given.
    pub fn find<'a>(
        &'a self,
        check: &'a str,
        backend: &'a str,
        pool: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a TargetKey, &'a Member)> {
        let address = backend.parse().ok();
        let targets = self.entries.targets.iter().filter(move |target| *target.key.check == *check);
        targets.flat_map(move |target| {
            let members = target.members.iter().map(|&member| &self.entries.members[member]);
            let found = members.filter(move |member| {
                let is_backend =
                    *member.member.backend == *backend || Some(member.address) == address;
                is_backend && pool.is_none_or(|pool| *member.member.pool == *pool)
            });
            found.map(move |member| (&target.key, &member.member))
        })
    }

    fn row_of(&self, target: &TargetEntry, index: usize) -> CheckRow {
        let member = &self.entries.members[index];
        let standing = &target.standing;
        CheckRow {
            check: target.key.check.to_string(),
            pool: member.member.pool.to_string(),
            backend: member.member.backend.to_string(),
            address: member.address,
            via: match target.key.path {
                Path::Direct => CheckVia::Direct,
                Path::Tunnel(_) => CheckVia::Tunnel,
            },
            target: target.key.to.to_string(),
            state: standing.state,
            since: standing.since.rfc3339(),
            result: standing.results().next(),
            against: standing.against,
            kept: standing.state == CheckState::Down && self.entries.is_kept(index),
            icmp: None,
        }
    }
}
