//! What is set for backends at run time, beside the configuration: states and weights, each by a source.

use std::net::IpAddr;
use std::sync::Arc;

use guideway_api::{BackendOrder, SetState, Source};
use guideway_config::Backend;
use rustc_hash::FxHashMap;

use crate::wall::Wall;

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

impl Setting {
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
