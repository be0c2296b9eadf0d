//! Encapsulations must have the settings that they need, no others, and a next hop that suits them.

use std::collections::BTreeMap;

use guideway_core::balancer::encapsulation::{
    Constraints, Encapsulation, Parameters, Setting, Unsendable,
};

use super::draft::Draft;
use crate::findings::count;
use crate::sections::encapsulation::EncapsulationDraft;

impl Draft<'_> {
    /// Reports settings that are missing and settings that no encapsulation uses.
    pub(super) fn encapsulations(&self) {
        for (pool_index, pool) in self.pools().iter().enumerate() {
            let Ok(backends) = &pool.backends else { continue };
            let mut used = Vec::new();
            let mut missing = BTreeMap::new();
            let mut complete = pool.encapsulation.encapsulation.is_ok();
            match &pool.encapsulation.encapsulation {
                Ok(Some(listed)) => used.extend(listed),
                Ok(None) if backends.is_empty() => used.push(Encapsulation::DEFAULT),
                Ok(None) | Err(_) => {}
            }
            // Which settings the first backend lacks that has what the pool says, and so the others of the kind too.
            let mut of_pool: Option<Vec<&str>> = None;
            for (index, backend) in backends.iter().enumerate() {
                let is_like_pool = backend.encapsulation.is_unset();
                if let Some(lacking) = of_pool.as_ref().filter(|_| is_like_pool) {
                    for key in lacking {
                        missing.entry(*key).and_modify(|(_, _, backends)| *backends += 1);
                    }
                    continue;
                }
                let mut lacking = Vec::new();
                let path = || format!("pool[{pool_index}].backends[{index}]");
                let Ok(listed) = backend.encapsulation.listed(&pool.encapsulation) else {
                    complete = false;
                    continue;
                };
                self.unused_settings(&backend.encapsulation, listed, path, "the backend's");
                if let Ok(parameters) = backend.encapsulation.parameters(&pool.encapsulation) {
                    let unset = Setting::ALL.into_iter().filter(|key| !key.is_set(&parameters));
                    for key in unset {
                        if let Some(needing) = listed.iter().find(|e| e.required().contains(&key)) {
                            let first = || (format!("{}.{}", path(), key.name()), *needing, 0);
                            missing.entry(key.name()).or_insert_with(first).2 += 1;
                            lacking.push(key.name());
                        }
                    }
                }
                for encapsulation in listed {
                    if !used.contains(encapsulation) {
                        used.push(*encapsulation);
                    }
                }
                if is_like_pool {
                    of_pool = Some(lacking);
                }
            }
            for (path, needing, backends) in missing.into_values() {
                let message = format!(
                    "is missing: the encapsulation {:?} needs it, and {} of the pool {} it; set it \
                     for the backend or for the pool",
                    needing.name(),
                    count(backends, "backend"),
                    if backends == 1 { "lacks" } else { "lack" }
                );
                self.root.mistake(&path, message);
            }
            if complete {
                let path = || format!("pool[{pool_index}]");
                self.unused_settings(&pool.encapsulation, &used, path, "any backend's");
            }
        }
    }

    fn unused_settings(
        &self,
        draft: &EncapsulationDraft,
        listed: &[Encapsulation],
        path: impl Fn() -> String,
        owner: &str,
    ) {
        for key in draft.settings() {
            if !listed.iter().any(|e| e.uses(key)) {
                let using: Vec<String> = Encapsulation::NAMES
                    .iter()
                    .filter(|(_, e)| e.uses(key))
                    .map(|(name, _)| format!("{name:?}"))
                    .collect();
                let message = format!(
                    "is for {}, none of which is {owner} encapsulation; remove it, or change the \
                     encapsulation",
                    using.join(", ")
                );
                self.root.mistake(&format!("{}.{}", path(), key.name()), message);
            }
        }
    }

    /// Refuses a backend that needs the link and is not on it. If the kernel may have a route to the link, that is
    /// a warning.
    pub(super) fn links(&self) {
        let Some(routes) = self.certain_routes() else { return };
        for (entry, value) in self.addressed_backends() {
            let Ok(listed) = entry.encapsulations() else { continue };
            let parameters = Parameters::default();
            let are_refused = |on_link| {
                let constraints = Constraints {
                    is_v6: false,
                    on_link,
                    // Another check reports a missing source.
                    has_source: true,
                    source_is_prefix: false,
                    parameters: &parameters,
                };
                let refused =
                    |e: &Encapsulation| e.sendable(&constraints) == Err(Unsendable::NotOnLink);
                listed.iter().all(refused)
            };
            // Hardly any encapsulation needs the link, and then the next hop is of no interest.
            if !are_refused(false) {
                continue;
            }
            let Some(hop) = routes.next_hop(value) else { continue };
            if are_refused(hop.address == value) {
                let name = listed.first().map_or("", |e| e.name());
                let message = format!(
                    "is {name:?}, which needs the backend on a port's link; the next hop of {value} \
                     is a gateway: choose another encapsulation, or bring it into a port's network"
                );
                let (at, path) = (entry.path("address"), entry.path("encapsulation"));
                if self.kernel_may_route() {
                    self.root.warn_at(&at, &path, message);
                } else {
                    self.root.mistake_at(&at, &path, message);
                }
            }
        }
    }
}
