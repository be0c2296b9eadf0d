//! What is wanted: the configuration, and what is set at run time.

use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use guideway_config::{Backend, Configuration};

/// What is set at run time for a backend, in place of what the configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// `backend.weight`
    pub weight: Option<u32>,
    /// `backend.enabled`
    pub enabled: Option<bool>,
}

impl Setting {
    /// The weight of a backend, and whether it is enabled.
    pub(crate) fn of(setting: Option<&Setting>, backend: &Backend) -> (u32, bool) {
        let setting = setting.copied().unwrap_or_default();
        (setting.weight.unwrap_or(backend.weight), setting.enabled.unwrap_or(backend.enabled))
    }
}

/// The settings of the backends of one pool, by address.
pub(crate) type PoolSettings = FxHashMap<IpAddr, Setting>;

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

    /// Sets a backend's weight or whether it is enabled; the default setting returns to the configuration.
    /// Returns whether anything changed: nothing does if no such backend is configured.
    pub fn set(&mut self, pool: &str, address: IpAddr, setting: Setting) -> bool {
        let before = self.settings_of(pool).and_then(|of_pool| of_pool.get(&address)).copied();
        let configured = self.configuration.pools.iter().find(|configured| configured.name == pool);
        let exists =
            configured.is_some_and(|pool| pool.backends.iter().any(|b| b.address == address));
        if !exists || before.unwrap_or_default() == setting {
            return false;
        }
        let settings = Arc::make_mut(&mut self.settings);
        let of_pool = settings.entry(pool.to_owned()).or_default();
        if setting == Setting::default() {
            of_pool.remove(&address);
        } else {
            of_pool.insert(address, setting);
        }
        if of_pool.is_empty() {
            settings.remove(pool);
        }
        true
    }

    /// What is set for a pool's backends; `None` if nothing is.
    pub(crate) fn settings_of(&self, pool: &str) -> Option<&PoolSettings> {
        self.settings.get(pool)
    }

    /// Whether all settings are those of `other`, found without looking at each.
    pub(crate) fn has_settings_of(&self, other: &Intent) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{THREE, text};

    fn intent() -> Intent {
        let text = text(THREE);
        Intent::new(guideway_config::parse(&text).unwrap().configuration, text)
    }

    const DRAINED: Setting = Setting { weight: Some(0), enabled: None };

    #[test]
    fn a_setting_is_for_a_backend_that_is_configured() {
        let (mut intent, address) = (intent(), "192.0.2.11".parse().unwrap());
        assert!(!intent.set("nosuch", address, DRAINED));
        assert!(!intent.set("web", "192.0.2.99".parse().unwrap(), DRAINED));
        assert!(intent.set("web", address, DRAINED) && !intent.set("web", address, DRAINED));
        let backend = &intent.configuration.pools[0].backends[1];
        let set = intent.settings_of("web").unwrap().get(&address);
        assert_eq!(Setting::of(set, backend), (0, true));
        assert!(intent.set("web", address, Setting::default()));
        assert_eq!(intent.settings_of("web"), None);
    }

    #[test]
    fn a_setting_stays_while_its_backend_is_configured() {
        let (mut intent, address) = (intent(), "192.0.2.11".parse().unwrap());
        intent.set("web", address, DRAINED);
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
