//! What is wanted: the configuration, and what is set at run time.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use guideway_api::{BackendOrder, SetState, Source};
use guideway_config::{Backend, Configuration};

use super::settings::{BackendChange, PoolSettings, Settings};
use guideway_chassis::wall::Wall;

/// What is wanted. A clone is cheap.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The text that it was read from.
    pub text: Arc<str>,
    settings: Settings,
    /// Not after the first end of a setting; `None` if all stay.
    next_expiry: Option<Wall>,
    /// Made when it is first needed.
    index: Arc<OnceLock<Index>>,
}

/// The backends of a configuration by the name of their pool and their address, as indices.
#[derive(Debug)]
struct Index {
    pools: FxHashMap<String, usize>,
    backends: FxHashMap<(usize, IpAddr), usize>,
}

impl Index {
    fn new(configuration: &Configuration) -> Index {
        let pools = || configuration.pools.iter().enumerate();
        let backends = pools().flat_map(|(index, pool)| {
            let backends = pool.backends.iter().enumerate();
            backends.map(move |(n, backend)| ((index, backend.address), n))
        });
        Index {
            pools: pools().map(|(index, pool)| (pool.name.clone(), index)).collect(),
            backends: backends.collect(),
        }
    }
}

impl Intent {
    pub(super) fn new(configuration: Configuration, text: String) -> Intent {
        Intent {
            configuration: Arc::new(configuration),
            text: text.into(),
            settings: Settings::default(),
            next_expiry: None,
            index: Arc::default(),
        }
    }

    /// Replaces the configuration. Settings of backends that it does not have are gone.
    pub(super) fn configure(&mut self, configuration: Configuration, text: String) {
        self.configuration = Arc::new(configuration);
        self.text = text.into();
        self.index = Arc::default();
        self.restore(self.settings.clone());
    }

    /// Replaces the settings by those of backends that the configuration has. Returns the pools and addresses of the
    /// others.
    pub(super) fn restore(&mut self, mut settings: Settings) -> Vec<(String, IpAddr)> {
        // The index is made only if it is needed.
        let unknown = settings.forget(|pool, address| self.backend(pool, address).is_some());
        self.next_expiry = settings.next_end();
        self.settings = settings;
        unknown
    }

    /// A backend of the configuration.
    fn backend(&self, pool: &str, address: IpAddr) -> Option<&Backend> {
        let index = self.index.get_or_init(|| Index::new(&self.configuration));
        let pool = *index.pools.get(pool)?;
        let backend = *index.backends.get(&(pool, address))?;
        self.configuration.pools.get(pool)?.backends.get(backend)
    }

    /// Sets or unsets a state or a weight of a backend. Returns whether anything changed: nothing does if no such
    /// backend is configured, or if the same is set with the same reason and the same end.
    pub fn set(&mut self, change: &BackendChange) -> bool {
        let Some(backend) = self.backend(&change.pool, change.address) else { return false };
        let before = self.settings.get(&change.pool, change.address);
        let before = before.cloned().unwrap_or_default();
        let mut setting = before.clone();
        let layer = match change.source {
            Source::Controller => &mut setting.controller,
            Source::File | Source::Operator => &mut setting.operator,
        };
        match change.order {
            // What is left if an operator takes back the word on a backend that the file enables.
            BackendOrder::State(SetState::Enabled)
                if backend.enabled
                    && change.source != Source::Controller
                    && change.until.is_none() =>
            {
                layer.state = None;
            }
            BackendOrder::State(value) => {
                layer.state = Some(change.set(value, layer.state.as_ref()));
            }
            BackendOrder::Weight(value) => {
                layer.weight = Some(change.set(value, layer.weight.as_ref()));
            }
            BackendOrder::UnsetState => layer.state = None,
            BackendOrder::UnsetWeight => layer.weight = None,
        }
        if before == setting {
            return false;
        }
        self.settings.put(&change.pool, change.address, setting);
        if let Some(end) = change.until {
            self.next_expiry = Some(self.next_expiry.map_or(end, |next| next.min(end)));
        }
        true
    }

    /// Removes the settings that have ended. Returns whether any has.
    pub fn expire(&mut self, now: Wall) -> bool {
        if self.next_expiry.is_none_or(|next| next > now) {
            return false;
        }
        let has_expired = self.settings.expire(now);
        self.next_expiry = self.settings.next_end();
        has_expired
    }

    /// When to look for settings that have ended: not after the first end. `None` if all settings stay.
    pub fn next_expiry(&self) -> Option<Wall> {
        self.next_expiry
    }

    /// What is set at run time.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the configuration is that of `other`, found without looking at it.
    pub(super) fn has_configuration_of(&self, other: &Intent) -> bool {
        Arc::ptr_eq(&self.configuration, &other.configuration)
    }

    /// What is set for a pool's backends; `None` if nothing is.
    pub fn settings_of(&self, pool: &str) -> Option<&PoolSettings> {
        self.settings.of(pool).map(|of_pool| &**of_pool)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::{Setting, Wanted};
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

    fn state(value: SetState, reason: &str, at: u64, until: Option<u64>) -> BackendChange {
        BackendChange {
            reason: Some(reason.into()),
            at: Wall(at),
            until: until.map(Wall),
            ..weight("web", "192.0.2.11", BackendOrder::State(value))
        }
    }

    #[test]
    fn the_same_setting_again_changes_nothing_and_keeps_its_time() {
        let mut intent = intent();
        let first = state(SetState::Draining, "repair", 100, Some(900));
        assert!(intent.set(&first));
        let before = intent.clone();
        assert!(!intent.set(&BackendChange { at: Wall(200), ..first.clone() }));
        assert!(before.settings().is_same(intent.settings()), "there is nothing new to store");
        let set = |intent: &Intent| {
            let settings = intent.settings().get("web", first.address).unwrap();
            settings.operator.state.clone().unwrap()
        };
        for (change, at) in [
            (state(SetState::Draining, "broken", 300, Some(900)), 100),
            (state(SetState::Draining, "broken", 400, Some(800)), 100),
            (state(SetState::Draining, "broken", 500, None), 100),
            (state(SetState::Disabled, "broken", 600, None), 600),
        ] {
            assert!(intent.set(&change), "{change:?}");
            let now = set(&intent);
            assert_eq!((now.at, now.until, now.reason), (Wall(at), change.until, change.reason));
        }
    }

    #[test]
    fn who_takes_back_a_word_leaves_no_setting_if_the_file_enables_the_backend() {
        let mut intent = intent();
        let mut set = |change: &BackendChange| {
            intent.set(change);
            intent.settings().get("web", change.address).is_some()
        };
        assert!(set(&state(SetState::Disabled, "repair", 1, None)));
        assert!(!set(&state(SetState::Enabled, "done", 2, None)));
        assert!(set(&state(SetState::Enabled, "for a while", 3, Some(9))));
        let controller = |change| BackendChange { source: Source::Controller, ..change };
        assert!(set(&controller(state(SetState::Enabled, "checked", 4, None))));

        let text = text(&[("a", 10, ""), ("b", 11, ", enabled = false")]);
        let configuration = guideway_config::parse(&text).unwrap().configuration;
        let mut intent = Intent::new(configuration, text);
        assert!(intent.set(&state(SetState::Enabled, "now", 1, None)), "the file says otherwise");
        assert!(intent.settings().get("web", "192.0.2.11".parse().unwrap()).is_some());
    }

    #[test]
    fn a_setting_ends_at_its_time() {
        let mut intent = intent();
        assert_eq!(intent.next_expiry(), None);
        intent.set(&state(SetState::Draining, "", 1, Some(500)));
        let until = Some(Wall(300));
        intent
            .set(&BackendChange { until, ..weight("web", "192.0.2.11", BackendOrder::Weight(7)) });
        intent
            .set(&BackendChange { until, ..weight("web", "192.0.2.10", BackendOrder::Weight(7)) });
        intent.set(&weight("web", "192.0.2.12", BackendOrder::Weight(7)));
        assert_eq!(intent.next_expiry(), until);
        assert!(!intent.expire(Wall(299)));
        assert!(intent.expire(Wall(300)));
        assert_eq!(intent.next_expiry(), Some(Wall(500)));
        let left = intent.settings().get("web", "192.0.2.11".parse().unwrap()).unwrap();
        assert!(left.operator.state.is_some() && left.operator.weight.is_none());
        assert_eq!(intent.settings().get("web", "192.0.2.10".parse().unwrap()), None);
        assert!(intent.expire(Wall(10_000)) && !intent.expire(Wall(20_000)));
        assert_eq!((intent.next_expiry(), intent.settings().iter().count()), (None, 1));
    }

    #[test]
    fn settings_of_an_earlier_run_are_for_backends_that_are_configured() {
        let mut intent = intent();
        let mut settings = Settings::default();
        let setting = || {
            let mut before = self::intent();
            before.set(&state(SetState::Draining, "repair", 1, Some(5)));
            before.settings().get("web", "192.0.2.11".parse().unwrap()).unwrap().clone()
        };
        for (pool, address) in [
            ("web", "192.0.2.99"),
            ("web", "192.0.2.11"),
            ("dns", "192.0.2.11"),
            ("dns", "192.0.2.10"),
        ] {
            settings.put(pool, address.parse().unwrap(), setting());
        }
        let unknown = intent.restore(settings);
        let expected = [("dns", "192.0.2.10"), ("dns", "192.0.2.11"), ("web", "192.0.2.99")];
        assert_eq!(unknown, expected.map(|(pool, a)| (pool.to_owned(), a.parse().unwrap())));
        assert_eq!((intent.settings().iter().count(), intent.next_expiry()), (1, Some(Wall(5))));
    }
}
