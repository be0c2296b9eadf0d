//! States and weights of backends that are set at run time: which backends a request names, and what became of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use guideway_api as api;
use guideway_api::{BackendOrder, ChangeOutcome, ErrorKind, Response, Source};
use guideway_config::Configuration;
use rustc_hash::{FxHashMap, FxHashSet};

use super::convert::to_state;
use super::{Answered, Daemon, refusal};
use crate::compile::CompiledBackend;
use crate::manager::{Change, Published};
use crate::state::BackendChange;
use guideway_chassis::wall::Wall;

/// States and weights that one request sets at most, for as many backends as there can be.
const MOST: usize = 2 * api::MAX_CHANGES;
/// Backends that the audit trail has by name; of more it has counts. Pools that a hint names.
const NAMED: usize = 3;
/// Different states or weights of which the audit trail has the counts.
const COUNTED: usize = 4;
/// Names that do not exist and are sent back.
const MISSING: usize = 20;
/// Characters of a name of the client that are sent back.
const QUOTED: usize = 80;

impl Daemon {
    /// Sets states or weights, or unsets them, and waits until that is in force. Nothing changes if a backend that is
    /// named does not exist.
    pub(super) fn set_backends(
        &self,
        changes: &[api::BackendChange],
        source: Source,
        reason: Option<String>,
        for_seconds: Option<u64>,
    ) -> Answered {
        let before = self.overview.published.load_full();
        let found = match find(&before.configuration, changes) {
            Ok(found) => found,
            Err(error) => return Answered::refused(Response::Error(error)),
        };
        let (at, reason) = (Wall::now(), reason.map(Arc::<str>::from));
        let until = for_seconds.map(|seconds| at.after(Duration::from_secs(seconds)));
        let name = |pool: usize| &before.configuration.pools[pool];
        let orders = found.iter().map(|&Found { pool, backend, change }| BackendChange {
            pool: name(pool).name.clone(),
            address: name(pool).backends[backend].address,
            source,
            order: change.set,
            reason: change.reason.as_deref().map(Arc::from).or_else(|| reason.clone()),
            at,
            until,
        });
        let outcome = self.changes().send(Change::Backends(orders.collect())).outcome();
        let mut chosen = Chosen::default();
        for &Found { pool, backend, .. } in &found {
            chosen.insert(&name(pool).name, name(pool).backends[backend].address);
        }
        let orders = Orders::of(changes);
        let after = self.overview.published.load_full();
        let words = Some((orders.describe(&before, &chosen), orders.describe(&after, &chosen)));
        let (response, outcome) = match outcome {
            Ok(generation) => {
                let has = |pool: &str, address| chosen.has(pool, address);
                let backends = self.overview.backends_where(has);
                let stored = self.overview.is_stored.load(Ordering::Relaxed);
                (Response::BackendsSet { generation, backends, stored }, ChangeOutcome::Applied)
            }
            Err(error) => {
                let outcome = match error.is_published() {
                    true => ChangeOutcome::Late,
                    false => ChangeOutcome::Refused,
                };
                (Response::Error(refusal(error)), outcome)
            }
        };
        Answered { response, outcome, replaced: None, words }
    }
}

/// A backend that a change names.
struct Found<'a> {
    pool: usize,
    backend: usize,
    change: &'a api::BackendChange,
}

/// The backends of each change, in the order of the changes.
fn find<'a>(
    configuration: &Configuration,
    changes: &'a [api::BackendChange],
) -> Result<Vec<Found<'a>>, api::Error> {
    let mut index = Index::of(configuration);
    let (mut found, mut missing, mut count) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        match index.find(change) {
            Ok(places) => {
                let of_change = |(pool, backend)| Found { pool, backend, change };
                found.extend(places.into_iter().map(of_change));
            }
            Err(message) => {
                count += 1;
                if missing.len() < MISSING {
                    missing.push(message);
                }
                // To look for near names costs much, and nobody reads more of them.
                index.has_hints = missing.len() < MISSING;
            }
        }
        if found.len() > MOST {
            let message = format!(
                "the changes set more than {MOST} states and weights in all; send them in several \
                 requests"
            );
            return Err(api::Error::new(ErrorKind::BadRequest, message));
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    if let [message] = &missing[..] {
        return Err(api::Error::new(ErrorKind::NotFound, message.clone()));
    }
    let message = format!("{count} of the {} changes name no backend", changes.len());
    if count > MISSING {
        missing.push(format!("and {} more", count - MISSING));
    }
    Err(api::Error { kind: ErrorKind::NotFound, message, details: missing })
}

/// Finds backends of a configuration. What a request does not need is not read.
struct Index<'a> {
    configuration: &'a Configuration,
    pools: FxHashMap<&'a str, usize>,
    names: FxHashMap<usize, FxHashMap<&'a str, usize>>,
    addresses: Option<FxHashMap<IpAddr, Vec<(usize, usize)>>>,
    /// Whether messages tell what else may have been meant.
    has_hints: bool,
}

impl<'a> Index<'a> {
    fn of(configuration: &'a Configuration) -> Index<'a> {
        let pools = (0..).zip(&configuration.pools).map(|(n, pool)| (&*pool.name, n));
        let pools = pools.collect();
        let names = FxHashMap::default();
        Index { configuration, pools, names, addresses: None, has_hints: true }
    }

    /// The backends of a change as indices of pools and of their backends; at least one.
    fn find(&mut self, change: &api::BackendChange) -> Result<Vec<(usize, usize)>, String> {
        let pool = match &change.pool {
            Some(name) => Some(self.pool(name)?),
            None => None,
        };
        let address = change.address;
        match (pool, &change.backend) {
            (Some(pool), Some(name)) => {
                let at = self.named(pool, name)?;
                let backend = &self.configuration.pools[pool].backends[at];
                match address {
                    Some(address) if address != backend.address => Err(format!(
                        "backend {} of pool {} has the address {}, not {address}",
                        backend.name, self.configuration.pools[pool].name, backend.address
                    )),
                    _ => Ok(vec![(pool, at)]),
                }
            }
            (Some(pool), None) => self.of_pool(pool, address),
            (None, Some(name)) => Err(format!(
                "the change names the backend {} without its pool; add `pool`",
                quoted(name)
            )),
            (None, None) => match address {
                Some(address) => self.at(address),
                None => Err("a change without a pool and without an address".to_owned()),
            },
        }
    }

    fn pool(&self, name: &str) -> Result<usize, String> {
        if let Some(&pool) = self.pools.get(name) {
            return Ok(pool);
        }
        let pools = &self.configuration.pools;
        let shown = quoted(name);
        if !self.has_hints {
            return Err(format!("no pool is named {shown}"));
        }
        // A backend without its pool.
        let has = |pool: &&guideway_config::Pool| pool.backends.iter().any(|b| b.name == name);
        if let Some(pool) = pools.iter().find(has) {
            let pool = &pool.name;
            return Err(format!(
                "no pool is named {shown}, but pool {pool} has such a backend; say {pool}/{shown}"
            ));
        }
        let nearest = nearest(name, pools.iter().map(|pool| &*pool.name));
        Err(format!("no pool is named {shown}{nearest}"))
    }

    fn named(&mut self, pool: usize, name: &str) -> Result<usize, String> {
        let pools = &self.configuration.pools;
        let names = self.names.entry(pool).or_insert_with(|| {
            (0..).zip(&pools[pool].backends).map(|(n, backend)| (&*backend.name, n)).collect()
        });
        names.get(name).copied().ok_or_else(|| {
            let (shown, pool) = (quoted(name), &pools[pool]);
            if !self.has_hints {
                return format!("pool {} has no backend {shown}", pool.name);
            }
            let mut others = pool.pools.iter().map(|&other| &pools[other]);
            // A backend is set in the pool that has it.
            let hint = match others.find(|pool| pool.backends.iter().any(|b| b.name == name)) {
                Some(owner) => format!(" of its own; say {}/{shown}", owner.name),
                None => nearest(name, pool.backends.iter().map(|backend| &*backend.name)),
            };
            format!("pool {} has no backend {shown}{hint}", pool.name)
        })
    }

    /// The backends of a pool: all, or that at an address.
    fn of_pool(
        &mut self,
        pool: usize,
        address: Option<IpAddr>,
    ) -> Result<Vec<(usize, usize)>, String> {
        let named = &self.configuration.pools[pool];
        let backends = (0..).zip(&named.backends);
        let wanted = backends.filter(|(_, b)| address.is_none_or(|address| b.address == address));
        let places: Vec<_> = wanted.map(|(at, _)| (pool, at)).collect();
        match (places.is_empty(), address) {
            (false, _) => Ok(places),
            (true, None) => {
                let pools = named.pools.iter();
                let pools: Vec<_> =
                    pools.map(|&pool| &*self.configuration.pools[pool].name).collect();
                let others = match &pools[..] {
                    [] => String::new(),
                    _ => format!("; it has those of {}", pools.join(", ")),
                };
                Err(format!("pool {} has no backends of its own{others}", named.name))
            }
            (true, Some(address)) => {
                let places = self.addresses().get(&address).map_or(&[][..], Vec::as_slice);
                let others: Vec<_> = places.iter().take(NAMED).map(|&(pool, _)| pool).collect();
                let others = others.iter().map(|&pool| &*self.configuration.pools[pool].name);
                let hint = match &others.collect::<Vec<_>>()[..] {
                    [] => String::new(),
                    [pool] => format!("; pool {pool} has it"),
                    pools => format!("; pools that have it: {}", pools.join(", ")),
                };
                Err(format!("pool {} has no backend {address}{hint}", named.name))
            }
        }
    }

    fn at(&mut self, address: IpAddr) -> Result<Vec<(usize, usize)>, String> {
        let places = self.addresses().get(&address).cloned();
        places.ok_or_else(|| format!("no backend has the address {address}"))
    }

    fn addresses(&mut self) -> &FxHashMap<IpAddr, Vec<(usize, usize)>> {
        self.addresses.get_or_insert_with(|| {
            let mut addresses: FxHashMap<IpAddr, Vec<_>> = FxHashMap::default();
            for (pool, of_pool) in self.configuration.pools.iter().enumerate() {
                for (at, backend) in of_pool.backends.iter().enumerate() {
                    addresses.entry(backend.address).or_default().push((pool, at));
                }
            }
            addresses
        })
    }
}

/// A name of the client, shortened.
fn quoted(name: &str) -> String {
    name.chars().take(QUOTED).collect()
}

/// Says which of the names is nearest, if there is any.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let name = quoted(name);
    let nearest = names.min_by_key(|known| strsim::damerau_levenshtein(&name, known));
    nearest.map(|nearest| format!("; the nearest is {nearest}")).unwrap_or_default()
}

/// Backends by their pool's name and their address, which another configuration may have, too.
#[derive(Default)]
struct Chosen<'a>(FxHashMap<&'a str, FxHashSet<IpAddr>>);

impl<'a> Chosen<'a> {
    fn insert(&mut self, pool: &'a str, address: IpAddr) {
        self.0.entry(pool).or_default().insert(address);
    }

    fn has(&self, pool: &str, address: IpAddr) -> bool {
        self.0.get(pool).is_some_and(|addresses| addresses.contains(&address))
    }
}

/// What some changes set.
#[derive(Clone, Copy)]
struct Orders {
    has_state: bool,
    has_weight: bool,
}

impl Orders {
    fn of(changes: &[api::BackendChange]) -> Orders {
        let is_state =
            |set: &BackendOrder| matches!(set, BackendOrder::State(_) | BackendOrder::UnsetState);
        let has_state = changes.iter().any(|change| is_state(&change.set));
        let has_weight = changes.iter().any(|change| !is_state(&change.set));
        Orders { has_state, has_weight }
    }

    /// What is published for some backends, in a few words: of each if they are few, or how many have which state.
    fn describe(self, published: &Published, chosen: &Chosen<'_>) -> String {
        let mut named = Vec::new();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut count = 0;
        for (pool, compiled) in published.configuration.pools.iter().zip(&published.pools) {
            if !chosen.0.contains_key(&*pool.name) {
                continue;
            }
            for (backend, compiled) in pool.backends.iter().zip(&compiled.backends) {
                if !chosen.has(&pool.name, backend.address) {
                    continue;
                }
                count += 1;
                if count <= NAMED {
                    let words = self.words(compiled, true);
                    named.push(format!("{}/{} {words}", pool.name, backend.name));
                }
                *counts.entry(self.words(compiled, false)).or_default() += 1;
            }
        }
        if count <= NAMED {
            return named.join(", ");
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(words, count)| (count, words)).collect();
        counts.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
        let others: usize = counts.iter().skip(COUNTED).map(|(count, _)| count).sum();
        let mut text = format!("{count} backends: ");
        for (n, (count, words)) in counts.iter().take(COUNTED).enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{count} {words}", if n == 0 { "" } else { ", " });
        }
        if others > 0 {
            let _ = write!(text, ", {others} others");
        }
        text
    }

    fn words(self, backend: &CompiledBackend, has_source: bool) -> String {
        let standing = &backend.standing;
        let by = |source: Source| match has_source {
            true => format!(" ({})", source.name()),
            false => String::new(),
        };
        let mut words = Vec::new();
        if self.has_state {
            words.push(format!("{}{}", to_state(standing.state).name(), by(standing.source)));
        }
        if self.has_weight {
            words.push(format!("weight {}{}", standing.weight, by(standing.weight_source)));
        }
        words.join(" with ")
    }
}
