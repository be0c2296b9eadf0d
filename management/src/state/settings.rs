//! What is set for backends at run time, beside the configuration: states and weights, each by a source.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_api::{BackendOrder, SetState, Source};
use guideway_config::Backend;
use rustc_hash::FxHashMap;

use guideway_chassis::wall::Wall;

/// What is set for the backends of all pools. A clone is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By the pool's name. No pool has an empty entry, and no backend an empty setting.
    pools: Arc<FxHashMap<Arc<str>, Arc<PoolSettings>>>,
}

impl Settings {
    /// What is set for the backends of a pool; `None` if nothing is.
    pub fn of(&self, pool: &str) -> Option<&Arc<PoolSettings>> {
        self.pools.get(pool)
    }

    /// What is set for a backend; `None` if nothing is.
    pub fn get(&self, pool: &str, address: IpAddr) -> Option<&Setting> {
        self.of(pool)?.get(&address)
    }

    /// Every backend for which something is set: its pool, its address, and what is set. In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, IpAddr, &Setting)> {
        self.pools.iter().flat_map(|(pool, of_pool)| {
            of_pool.iter().map(|(&address, setting)| (&**pool, address, setting))
        })
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Whether both are clones of the same settings. Settings that were put one by one can be equal and not the same.
    pub(crate) fn is_same(&self, other: &Settings) -> bool {
        Arc::ptr_eq(&self.pools, &other.pools)
    }

    /// Replaces what is set for a backend.
    pub(crate) fn put(&mut self, pool: &str, address: IpAddr, setting: Setting) {
        let pools = Arc::make_mut(&mut self.pools);
        if setting != Setting::default() {
            let of_pool = match pools.get_mut(pool) {
                Some(of_pool) => of_pool,
                None => pools.entry(pool.into()).or_default(),
            };
            Arc::make_mut(of_pool).insert(address, setting);
        } else if let Some(of_pool) = pools.get_mut(pool) {
            Arc::make_mut(of_pool).remove(&address);
            if of_pool.is_empty() {
                pools.remove(pool);
            }
        }
    }

    /// Removes what is set for backends that are not `known`. Returns their pools and addresses, sorted.
    pub(super) fn forget(&mut self, known: impl Fn(&str, IpAddr) -> bool) -> Vec<(String, IpAddr)> {
        let unknown = self.iter().filter(|&(pool, address, _)| !known(pool, address));
        let mut unknown: Vec<_> =
            unknown.map(|(pool, address, _)| (pool.to_owned(), address)).collect();
        unknown.sort_unstable();
        for (pool, address) in &unknown {
            self.put(pool, *address, Setting::default());
        }
        unknown
    }

    /// Removes what has ended. Returns whether anything has.
    pub(super) fn expire(&mut self, now: Wall) -> bool {
        let over =
            self.iter().filter(|(.., setting)| setting.next_end().is_some_and(|end| end <= now));
        let over: Vec<_> = over
            .map(|(pool, address, setting)| (pool.to_owned(), address, setting.left_at(now)))
            .collect();
        for (pool, address, setting) in &over {
            self.put(pool, *address, setting.clone());
        }
        !over.is_empty()
    }

    /// When the first setting ends; `None` if all stay.
    pub(super) fn next_end(&self) -> Option<Wall> {
        self.iter().filter_map(|(.., setting)| setting.next_end()).min()
    }
}

/// What one source sets for a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// A state.
    pub state: Option<Set<SetState>>,
    /// A weight.
    pub weight: Option<Set<u32>>,
}

/// A state or a weight that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set<T> {
    /// The state or the weight.
    pub value: T,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When it was set.
    pub at: Wall,
    /// When it ends; `None` if it stays.
    pub until: Option<Wall>,
}

/// What is set for one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// By whoever checks backends.
    pub controller: Layer,
    /// By a person. It outweighs the controller's.
    pub operator: Layer,
}

/// The settings of the backends of one pool, by address.
pub type PoolSettings = FxHashMap<IpAddr, Setting>;

/// A change of what is set for one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendChange {
    /// The name of its pool.
    pub pool: String,
    /// Its address.
    pub address: IpAddr,
    /// Who sets it: not the file.
    pub source: Source,
    /// What is set or unset.
    pub order: BackendOrder,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Wall,
    /// When the setting ends; `None` if it stays.
    pub until: Option<Wall>,
}

impl BackendChange {
    /// What is set after the change. A value that was set already keeps its time.
    pub(super) fn set<T: PartialEq>(&self, value: T, before: Option<&Set<T>>) -> Set<T> {
        let at = before.filter(|before| before.value == value).map_or(self.at, |before| before.at);
        Set { value, reason: self.reason.clone(), at, until: self.until }
    }

    /// A change by an operator, of no time, without a reason and without an end.
    pub fn new(pool: impl Into<String>, address: IpAddr, order: BackendOrder) -> BackendChange {
        let (source, at) = (Source::Operator, Wall::default());
        BackendChange { pool: pool.into(), address, source, order, reason: None, at, until: None }
    }
}

/// The state of a backend that its sources set, apart from how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// It keeps its flows and takes new ones.
    Active,
    /// It keeps its flows.
    Draining,
    /// It has no flows.
    Disabled,
    /// It has the flows that their services keep there.
    Down,
}

/// What holds for a backend, of all that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The state.
    pub state: Wanted,
    /// Who set it.
    pub source: Source,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When it was set; `None` for the file's.
    pub at: Option<Wall>,
    /// The weight.
    pub weight: u32,
    /// Who set it.
    pub weight_source: Source,
    /// Why.
    pub weight_reason: Option<Arc<str>>,
}

impl Layer {
    fn next_end(&self) -> Option<Wall> {
        let (state, weight) = (self.state.as_ref(), self.weight.as_ref());
        let ends = [state.and_then(|set| set.until), weight.and_then(|set| set.until)];
        ends.into_iter().flatten().min()
    }

    fn left_at(&self, now: Wall) -> Layer {
        Layer {
            state: self.state.clone().filter(|set| set.lasts(now)),
            weight: self.weight.clone().filter(|set| set.lasts(now)),
        }
    }
}

impl<T> Set<T> {
    fn lasts(&self, now: Wall) -> bool {
        self.until.is_none_or(|end| end > now)
    }
}

impl Setting {
    /// When the first part of it ends; `None` if all of it stays.
    fn next_end(&self) -> Option<Wall> {
        [self.controller.next_end(), self.operator.next_end()].into_iter().flatten().min()
    }

    /// What is left of it at a time.
    fn left_at(&self, now: Wall) -> Setting {
        Setting { controller: self.controller.left_at(now), operator: self.operator.left_at(now) }
    }

    /// What holds for a backend of the configuration, with what is set for it, expired or not.
    pub fn resolve(setting: Option<&Setting>, backend: &Backend) -> Resolved {
        let file = match backend.enabled {
            true => Wanted::Active,
            false => Wanted::Disabled,
        };
        let mut resolved = Resolved {
            state: file,
            source: Source::File,
            reason: None,
            at: None,
            weight: backend.weight,
            weight_source: Source::File,
            weight_reason: None,
        };
        let Some(setting) = setting else { return resolved };
        let layers =
            [(Source::Controller, &setting.controller), (Source::Operator, &setting.operator)];
        for (source, layer) in layers {
            if let Some(set) = &layer.state {
                let state = match set.value {
                    SetState::Active => Some(Wanted::Active),
                    // The controller's word holds, if there is one.
                    SetState::Enabled if resolved.source == Source::Controller => None,
                    SetState::Enabled => Some(Wanted::Active),
                    SetState::Draining => Some(Wanted::Draining),
                    SetState::Disabled => Some(Wanted::Disabled),
                    SetState::Down => Some(Wanted::Down),
                };
                if let Some(state) = state {
                    (resolved.state, resolved.source) = (state, source);
                    (resolved.reason, resolved.at) = (set.reason.clone(), Some(set.at));
                }
            }
            if let Some(set) = &layer.weight {
                (resolved.weight, resolved.weight_source) = (set.value, source);
                resolved.weight_reason = set.reason.clone();
            }
        }
        resolved
    }
}
