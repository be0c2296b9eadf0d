//! Pools that no service uses, pools that serve nothing, backups that cannot stand in, and choices that differ.

use std::collections::HashSet;

use guideway_core::balancer::choice::Choice;
use guideway_core::balancer::fragment::Policy as FragmentPolicy;

use super::draft::Draft;
use crate::findings::count;
use crate::sections::pool::{BackendDraft, OnEmpty};

impl Draft<'_> {
    /// The pools that services name.
    fn served_pools(&self) -> HashSet<usize> {
        self.services().iter().flat_map(|service| service.pool).collect()
    }

    pub(super) fn unused_pools(&self) {
        let served = self.served_pools();
        let others = || self.inclusions.iter().flatten();
        let included: HashSet<usize> = others().flat_map(|found| &found.pools).copied().collect();
        let backups: HashSet<usize> =
            others().flat_map(|found| found.levels.get(1)).copied().collect();
        for index in 0..self.pools().len() {
            let is_backup = backups.contains(&index);
            if served.contains(&index) {
                continue;
            }
            if !is_backup && !included.contains(&index) {
                self.root.warn(&format!("pool[{index}]"), "no service uses this pool");
                continue;
            }
            let path = |key: &str| format!("pool[{index}].{key}");
            let warn = |key: &str, effect: &str| {
                if self.root.has(&path(key)) {
                    let message = format!(
                        "{effect}: no service names this pool, and pools that name it have their own"
                    );
                    self.root.warn(&path(key), message);
                }
            };
            warn("choice", "has no effect");
            warn("on_empty", "has no effect");
            // A backup has those of its own.
            if !is_backup {
                warn("backup", "has no effect");
                warn("backup_hold", "has no effect");
                warn("min_active", "changes only a metric");
            }
        }
    }

    pub(super) fn useless_pools(&self) {
        let takes = |backend: &BackendDraft| {
            backend.enabled.is_ok_and(|enabled| enabled) && backend.weight.is_ok_and(|w| w > 0)
        };
        for (index, service) in self.services().iter().enumerate() {
            let Ok(pool) = service.pool else { continue };
            let Some(found) = self.inclusions_of(pool) else { continue };
            let mut backends = found.included.iter().flat_map(|included| self.backend(included));
            if !backends.any(takes) {
                let consequence = match self.pools()[pool].on_empty {
                    Ok(OnEmpty::Reset) => "refused",
                    _ => "dropped",
                };
                let message = match found.included.is_empty() {
                    true => format!("the pool has no backend: all packets are {consequence}"),
                    false => format!(
                        "no backend of the pool is enabled with a weight: new flows are \
                         {consequence}"
                    ),
                };
                self.root.warn(&format!("service[{index}].pool"), message);
            }
        }
    }

    /// Reports backups that add nothing, and pools that can never have enough backends.
    pub(super) fn backups(&self) {
        for (index, pool) in self.pools().iter().enumerate() {
            let Some(found) = self.inclusions_of(index) else { continue };
            let has = |level| found.included.iter().filter(|i| i.level == level).count();
            let path = |key: &str| format!("pool[{index}].{key}");
            if let Some(backup) = found.levels.get(1) {
                if found.pools.contains(backup) {
                    let message = "is one of the pools of this pool: it cannot stand in for itself; \
                                   remove it here or there";
                    self.root.mistake(&path("backup"), message);
                } else if has(1) == 0 {
                    let message = "adds no backend that the pool does not have, so it cannot stand \
                                   in; give it backends, or remove this key";
                    self.root.warn(&path("backup"), message);
                }
            }
            if let Ok(needed) = pool.min_active
                && needed > has(0).max(1)
            {
                let message = format!(
                    "is {needed}, and the pool has {}: {}",
                    count(has(0), "backend"),
                    match found.levels.len() {
                        1 => "it never has enough; lower it, or add backends",
                        _ => "its backup always serves; lower it, or add backends",
                    }
                );
                self.root.warn(&path("min_active"), message);
            }
        }
    }

    /// Reports choices of a backend in which forwarders do not agree.
    pub(super) fn choices(&self) {
        let members = self.cluster.members.as_ref().map_or(0, Vec::len);
        let served = self.served_pools();
        for (index, pool) in self.pools().iter().enumerate() {
            let Ok(choice) = pool.choice else { continue };
            if choice.agrees() || !served.contains(&index) {
                continue;
            }
            let name =
                Choice::NAMES.iter().find(|(_, c)| *c == choice).map_or("", |(name, _)| name);
            let message = match members {
                0 | 1 => format!(
                    "is {name:?}: forwarders do not agree on the backend of a flow; one that gets the \
                     flow of another may choose another backend, and drops ICMP errors for it. \
                     \"maglev\" and \"source-hash\" agree. On a single forwarder ignore this"
                ),
                _ => format!(
                    "is {name:?}: the {members} members of the cluster do not agree on the backend of \
                     a flow; when the network gives a flow to another member, its connection breaks, \
                     ICMP errors for it are dropped, and fragments may go to another backend than whole \
                     packets. \"maglev\" and \"source-hash\" agree"
                ),
            };
            self.root.warn(&format!("pool[{index}].choice"), message);
        }
    }

    /// Reports services that ask for what their pool's choice and the cluster cannot do.
    pub(super) fn fragments_without_agreement(&self) {
        if self.cluster.members.as_ref().map_or(0, Vec::len) < 2 {
            return;
        }
        for (index, service) in self.services().iter().enumerate() {
            let path = format!("service[{index}].fragments");
            let (Ok(pool), Ok(FragmentPolicy::Follow)) = (service.pool, &service.keys.fragments)
            else {
                continue;
            };
            let Ok(choice) = self.pools()[pool].choice else { continue };
            // The default may stand: not every service has fragments.
            if !choice.agrees() && self.root.has(&path) {
                let message = format!(
                    "is \"follow\", and the pool's choice on line {} is one in which members of the \
                     cluster do not agree: fragments would go to other backends than whole packets; \
                     set \"drop\", leave it out, or choose by \"maglev\" or \"source-hash\"",
                    self.root.line(&format!("pool[{pool}].choice"))
                );
                self.root.mistake(&path, message);
            }
        }
    }
}
