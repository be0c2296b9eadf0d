//! What is wanted: the configuration, and what is set at run time.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use guideway_api::{BackendOrder, Source};
use guideway_config::Configuration;

use super::settings::{BackendChange, PoolSettings, Set, Setting};

/// What is wanted. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The text that it was read from.
    pub text: Arc<str>,
    /// By the pool's name. No pool has an empty entry.
    settings: Arc<FxHashMap<String, PoolSettings>>,
}

impl Intent {
    pub(super) fn new(configuration: Configuration, text: String) -> Intent {
        let settings = Arc::default();
        Intent { configuration: Arc::new(configuration), text: text.into(), settings }
    }

    pub(super) fn configure(&mut self, configuration: Configuration, text: String) {
        if !self.settings.is_empty() {
            let settings = Arc::make_mut(&mut self.settings);
            settings.retain(|name, of_pool| {
                let pool = configuration.pools.iter().find(|pool| pool.name == *name);
                let has = |address| {
                    pool.is_some_and(|pool| pool.backends.iter().any(|b| b.address == address))
                };
                of_pool.retain(|&address, _| has(address));
                !of_pool.is_empty()
            });
        }
        self.configuration = Arc::new(configuration);
        self.text = text.into();
    }

    /// Sets or unsets a state or a weight of a backend. Returns whether anything changed: nothing does if no such
    /// backend is configured.
    pub fn set(&mut self, change: &BackendChange) -> bool {
        let pool = self.configuration.pools.iter().find(|pool| pool.name == change.pool);
        let exists =
            pool.is_some_and(|pool| pool.backends.iter().any(|b| b.address == change.address));
        if !exists {
            return false;
        }
        let before =
            self.settings_of(&change.pool).and_then(|of_pool| of_pool.get(&change.address));
        let mut setting = before.cloned().unwrap_or_default();
        let layer = match change.source {
            Source::Controller => &mut setting.controller,
            Source::File | Source::Operator => &mut setting.operator,
        };
        let (reason, at, until) = (&change.reason, change.at, change.until);
        match change.order {
            BackendOrder::State(value) => {
                layer.state = Some(Set { value, reason: reason.clone(), at, until });
            }
            BackendOrder::Weight(value) => {
                layer.weight = Some(Set { value, reason: reason.clone(), at, until });
            }
            BackendOrder::UnsetState => layer.state = None,
            BackendOrder::UnsetWeight => layer.weight = None,
        }
        if before.cloned().unwrap_or_default() == setting {
            return false;
        }
        let settings = Arc::make_mut(&mut self.settings);
        let of_pool = settings.entry(change.pool.clone()).or_default();
        if setting == Setting::default() {
            of_pool.remove(&change.address);
        } else {
            of_pool.insert(change.address, setting);
        }
        if of_pool.is_empty() {
            settings.remove(&change.pool);
        }
        true
    }

    /// What is set for a pool's backends; `None` if nothing is.
    pub fn settings_of(&self, pool: &str) -> Option<&PoolSettings> {
        self.settings.get(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Wanted;
    use super::*;
    use crate::sample::{THREE, text};

    fn intent() -> Intent {
        let text = text(THREE);
        Intent::new(guideway_config::parse(&text).unwrap().configuration, text)
    }

    fn weight(pool: &str, address: &str, order: BackendOrder) -> BackendChange {
        BackendChange::new(pool, address.parse().unwrap(), order)
    }

    #[test]
    fn a_setting_is_for_a_backend_that_is_configured() {
        let (mut intent, address) = (intent(), "192.0.2.11");
        let none = BackendOrder::Weight(0);
        assert!(!intent.set(&weight("nosuch", address, none)));
        assert!(!intent.set(&weight("web", "192.0.2.99", none)));
        assert!(intent.set(&weight("web", address, none)));
        assert!(!intent.set(&weight("web", address, none)));
        let backend = &intent.configuration.pools[0].backends[1];
        let set = intent.settings_of("web").unwrap().get(&backend.address);
        let resolved = Setting::resolve(set, backend);
        assert_eq!((resolved.weight, resolved.state), (0, Wanted::Active));
        assert!(intent.set(&weight("web", address, BackendOrder::UnsetWeight)));
        assert_eq!(intent.settings_of("web"), None);
    }

    #[test]
    fn a_setting_stays_while_its_backend_is_configured() {
        let mut intent = intent();
        intent.set(&weight("web", "192.0.2.11", BackendOrder::Weight(0)));
        let configure = |intent: &mut Intent, backends| {
            let text = text(backends);
            intent.configure(guideway_config::parse(&text).unwrap().configuration, text);
        };
        configure(&mut intent, &[("renamed", 11, ""), ("c", 12, "")]);
        assert!(intent.settings_of("web").is_some());
        configure(&mut intent, &[("a", 10, "")]);
        configure(&mut intent, THREE);
        assert_eq!(intent.settings_of("web"), None, "a backend that returns inherits nothing");
    }
}
