//! The state that tables are compiled from: what is wanted, and what is observed.
//!
//! A [`State`] is a value: its large parts are shared, so that a clone is cheap and a change leaves other clones
//! as they are. Only the manager changes one.

mod intent;
mod observation;
mod pins;
mod settings;
pub mod standing;

pub use intent::Intent;
pub use observation::{Observation, PortFacts};
pub(crate) use pins::MAX_PINS;
pub use pins::{PinChange, Pinned, Pins};
pub use settings::{BackendChange, Layer, PoolSettings, Resolved, Set, Setting, Settings, Wanted};

use std::net::IpAddr;

use std::sync::Arc;

use guideway_config::Configuration;
use ipnet::IpNet;

use guideway_chassis::wall::Wall;
use standing::Standing;

/// Everything that tables follow from.
#[derive(Clone, Debug)]
pub struct State {
    /// What is wanted.
    pub intent: Intent,
    /// What is observed.
    pub observation: Observation,
    /// What follows from what is wanted and from the time.
    pub standing: Standing,
    /// Which backend packets of the node itself go to.
    pub pins: Pins,
}

impl State {
    /// The state of a start: a configuration, its text, and the ports.
    pub fn new(
        configuration: Configuration,
        text: String,
        ports: Vec<PortFacts>,
        now: Wall,
    ) -> State {
        let observation = Observation::new(ports, configuration.static_routes());
        let intent = Intent::new(configuration, text);
        let standing = Standing::settle(&Standing::default(), &intent, now);
        State { intent, observation, standing, pins: Pins::default() }
    }

    /// Replaces the configuration. What was set at run time stays for backends that both configurations have. Pins stay.
    pub fn configure(&mut self, configuration: Configuration, text: String) {
        self.observation.routing.set_routes(configuration.static_routes());
        self.intent.configure(configuration, text);
    }

    /// Replaces what was set at run time, as at the start. Returns the pools and addresses of backends that are not
    /// configured: what was set for them is gone.
    pub fn restore(&mut self, settings: Settings, now: Wall) -> Vec<(String, IpAddr)> {
        let unknown = self.intent.restore(settings);
        self.standing = Standing::default();
        self.settle(now);
        unknown
    }

    /// Removes settings that have ended, and brings the standing up to date with what is wanted and the time. Returns
    /// whether any setting has ended.
    pub fn settle(&mut self, now: Wall) -> bool {
        let has_expired = self.intent.expire(now);
        self.standing = Standing::settle(&self.standing, &self.intent, now);
        has_expired
    }

    /// When to settle again although nothing is set; `None` if only a change can alter the standing.
    pub fn next(&self) -> Option<Wall> {
        [self.standing.next, self.intent.next_expiry()].into_iter().flatten().min()
    }

    /// Whether settings differ from those of `other`, and neither they nor anything else makes other tables.
    pub(crate) fn differs_in_settings_alone(&self, other: &State) -> bool {
        let (ours, theirs) = (&self.observation, &other.observation);
        !self.intent.settings().is_same(other.intent.settings())
            && Arc::ptr_eq(&self.intent.configuration, &other.intent.configuration)
            && self.standing.has_pools_of(&other.standing)
            && self.pins.is_same(&other.pins)
            && Arc::ptr_eq(&ours.ports, &theirs.ports)
            && ours.routing.has_base_of(&theirs.routing)
            && ours.routing.differences(&theirs.routing).is_empty()
    }

    /// Whether the state was settled at a later time than `now`: the clock was set back since.
    pub fn is_after(&self, now: Wall) -> bool {
        self.standing.settled_at().is_some_and(|at| at > now)
    }

    /// The own addresses on the ports' links, with their networks: those of the configuration and those of the kernel.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let configured = self.intent.configuration.ports.iter().flat_map(|port| &port.addresses);
        let local = self.observation.routing.local().iter().filter(|local| local.link.is_some());
        let mut prefixes: Vec<IpNet> =
            configured.copied().chain(local.map(|local| local.network)).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.into_iter()
    }
}
