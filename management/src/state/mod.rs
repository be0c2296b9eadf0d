//! The state that tables are compiled from: what is wanted, and what is observed.
//!
//! A [`State`] is a value: its large parts are shared, so that a clone is cheap and a change leaves other clones
//! as they are. Only the manager changes one.

mod intent;
mod observation;
mod settings;
pub mod standing;

pub use intent::Intent;
pub use observation::{Observation, PortFacts};
pub use settings::{BackendChange, Layer, PoolSettings, Resolved, Set, Setting, Wanted};

use guideway_config::Configuration;
use ipnet::IpNet;

use crate::wall::Wall;
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
        State { intent, observation, standing }
    }

    /// Replaces the configuration. What was set at run time stays for backends that both configurations have.
    pub fn configure(&mut self, configuration: Configuration, text: String) {
        self.observation.routing.set_routes(configuration.static_routes());
        self.intent.configure(configuration, text);
    }

    /// Brings the standing up to date with what is wanted and the time.
    pub fn settle(&mut self, now: Wall) {
        self.standing = Standing::settle(&self.standing, &self.intent, now);
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
