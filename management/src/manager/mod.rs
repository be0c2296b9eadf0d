//! The manager: the one owner of the state. It carries out changes of the state, compiles it and publishes the result.
//!
//! [`Manager`] does one step at a time, on the caller's thread. `thread.rs` runs it: it takes changes from a channel,
//! gathers them for a few milliseconds, and answers when they are in force.
//!
//! A step changes nothing until everything that can fail is done. So a panic leaves the last good state.

mod change;
mod drains;
mod published;
mod tally;
#[cfg(test)]
mod tests;
mod thread;
mod timings;
mod transitions;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use guideway_api::Happening;
use guideway_config::{Configuration, Pool};
use guideway_core::balancer::Tables;
use guideway_core::balancer::id::BackendId;
use guideway_core::stats::{Reader, Traffic};

use crate::compile::{Compiled, compile};
use crate::ids::{self, Allocators, Assigned, Ids};
use crate::progress::Progress;
use crate::publish::Publisher;
use crate::state::{PortFacts, State};
use crate::store::Store;
use guideway_chassis::event::Recorder;
use guideway_chassis::wall::Wall;

pub use change::{Change, Changes, Error, Outcome, Replaced, Sent, Turn};
pub use published::Published;
pub use tally::Tally;
pub use thread::{Handle, Limits};
pub use timings::Timings;

use drains::Drains;
use published::{BackendName, Left, LeftId};

/// The owner of the state, and of what is published.
#[derive(Debug)]
pub struct Manager {
    allocators: Allocators,
    compiled: Compiled,
    publisher: Publisher<Tables>,
    published: Arc<ArcSwap<Published>>,
    workers: Vec<Reader>,
    events: Recorder,
    timings: Timings,
    drains: Drains,
    /// Where settings are stored; `None` if they need not outlast the process.
    store: Option<Store>,
}

impl Manager {
    /// A manager that has published a first configuration, read from `text`, for ports in the order of the
    /// configuration.
    ///
    /// # Errors
    /// Only if the configuration exceeds its limits: there are ids for every valid one.
    pub fn new(
        configuration: Configuration,
        text: String,
        ports: Vec<PortFacts>,
    ) -> Result<Manager, ids::Error> {
        Manager::first(State::new(configuration, text, ports, Wall::now()), None)
    }

    /// As [`Manager::new`], with the settings of an earlier run, which a store has. It stores later ones.
    ///
    /// # Errors
    /// As [`Manager::new`].
    pub fn restored(
        configuration: Configuration,
        text: String,
        ports: Vec<PortFacts>,
        mut store: Store,
    ) -> Result<Manager, ids::Error> {
        let now = Wall::now();
        let mut state = State::new(configuration, text, ports, now);
        let unknown = state.restore(store.restored().clone(), now);
        if let Some((pool, address)) = unknown.first() {
            let (backends, first) = (unknown.len(), format!("{pool}/{address}"));
            store.events().record(Happening::SettingsIgnored { backends, first });
        }
        store.begin(state.intent.settings());
        Manager::first(state, Some(store))
    }

    fn first(state: State, store: Option<Store>) -> Result<Manager, ids::Error> {
        let mut allocators = Allocators::default();
        let assigned = allocators.assign(&state.intent.configuration, 1, Progress::default())?;
        let timings = Timings::default();
        let begun = Instant::now();
        let compiled = compile(1, &state, &Arc::new(assigned.ids), None);
        timings.compiled(begun.elapsed());
        // Counters begin at 0, so the ids of a start need no base.
        let published = published(&compiled, Accounts::default());
        let mut drains = Drains::default();
        drains.follow(None, &compiled, Wall::now());
        Ok(Manager {
            allocators,
            publisher: Publisher::new(Arc::clone(&compiled.tables)),
            published: Arc::new(ArcSwap::from_pointee(published)),
            compiled,
            workers: Vec::new(),
            events: Recorder::default(),
            timings,
            drains,
            store,
        })
    }

    /// Records what happens by `events`.
    #[must_use]
    pub fn with_events(self, events: Recorder) -> Manager {
        Manager { events, ..self }
    }

    /// The tables in force, from which workers load them.
    pub fn tables(&self) -> &Arc<ArcSwap<Tables>> {
        self.publisher.shared()
    }

    /// What was published last, for readers.
    pub fn published(&self) -> &Arc<ArcSwap<Published>> {
        &self.published
    }

    /// The state that is published.
    pub fn state(&self) -> &State {
        &self.compiled.state
    }

    /// How long its work takes.
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// Whether what is set at run time is stored; true without a store.
    pub fn is_stored(&self) -> Arc<AtomicBool> {
        let stored = self.store.as_ref().map(|store| Arc::clone(store.is_stored()));
        stored.unwrap_or_else(|| Arc::new(AtomicBool::new(true)))
    }

    /// How far the workers are.
    fn progress(&self) -> Progress {
        Progress::of(self.workers.iter())
    }

    /// Publishes a configuration and returns its generation. Workers load it before their next round.
    ///
    /// # Errors
    /// If only a restart can change what it changes, or if there are too few ids. Nothing changes then.
    pub fn configure(
        &mut self,
        configuration: Configuration,
        text: String,
        progress: Progress,
    ) -> Result<u64, Error> {
        let mut state = self.compiled.state.clone();
        let fixed = state.intent.configuration.restart_only_differences(&configuration);
        if !fixed.is_empty() {
            return Err(Error::NeedsRestart(fixed));
        }
        state.configure(configuration, text);
        state.settle(Wall::now());
        let generation = self.next_generation();
        let (before, after) = (&self.state().intent.configuration, &state.intent.configuration);
        if ids::have_same_keys(before, after) {
            let compiled = self.compile(generation, &state, &self.compiled.ids);
            let accounts = Accounts::of(&self.published.load());
            return Ok(self.put_in_force(compiled, accounts));
        }
        let assigned = self.allocators.assign(after, generation, progress)?;
        let accounts = self.accounts(&assigned, after);
        let compiled = self.compile(generation, &state, &Arc::new(assigned.ids));
        Ok(self.put_in_force(compiled, accounts))
    }

    /// Publishes a change of the state that is no other configuration, and returns its generation.
    pub fn change(&mut self, state: &State) -> u64 {
        let generation = self.next_generation();
        let mut state = state.clone();
        state.settle(Wall::now());
        if state.differs_in_settings_alone(&self.compiled.state) {
            self.keep_settings(state);
            return self.compiled.tables.generation();
        }
        let compiled = self.compile(generation, &state, &self.compiled.ids);
        let accounts = Accounts::of(&self.published.load());
        self.put_in_force(compiled, accounts)
    }

    /// Takes a state over that makes the same tables: its settings have other ends.
    fn keep_settings(&mut self, state: State) {
        self.compiled.state = state;
        let settings = self.compiled.state.intent.settings();
        let published = Published::clone(&self.published.load());
        self.published.store(Arc::new(Published { settings: settings.clone(), ..published }));
        if let Some(store) = &mut self.store {
            store.put(settings);
        }
    }

    /// Does what the time has brought: ends settings, settles what follows from them, and publishes that if it differs.
    fn keep_time(&mut self, now: Wall) {
        // A clock that was set back has dated the standing in the future: times that began then begin now.
        let is_due =
            self.state().next().is_some_and(|next| next <= now || self.state().is_after(now));
        if is_due || self.drains.is_due() {
            // Before the flows move whose time is over: the event says how many there are.
            self.watch_drains(now);
        }
        if !is_due {
            return;
        }
        let mut state = self.compiled.state.clone();
        let has_expired = state.settle(now);
        if has_expired || !state.standing.has_pools_of(&self.compiled.state.standing) {
            let compiled = self.compile(self.next_generation(), &state, &self.compiled.ids);
            let accounts = Accounts::of(&self.published.load());
            self.put_in_force(compiled, accounts);
        } else {
            self.compiled.state = state;
        }
    }

    /// Records what has become of draining backends.
    fn watch_drains(&mut self, now: Wall) {
        let (progress, workers) = (self.progress(), &self.workers);
        let live = |id: BackendId| {
            workers.iter().map(|stats| stats.backend(id.index()).live).fold(0, u64::wrapping_add)
        };
        self.drains.look(progress, now, live, |happening| self.events.record(happening));
    }

    /// The version of the newest settings, and the newest version that is stored or could not be.
    fn versions(&self) -> (u64, u64) {
        self.store.as_ref().map_or((0, 0), |store| (store.version(), store.settled()))
    }

    /// Whether settings are on their way to the disk. Records it if that takes `limit`.
    fn is_storing(&self, limit: Duration) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_busy(limit))
    }

    /// Frees the retired tables that no worker holds. Returns whether some are still held.
    pub fn release(&mut self) -> bool {
        self.publisher.release()
    }

    fn compile(&self, generation: u64, state: &State, ids: &Arc<Ids>) -> Compiled {
        let begun = Instant::now();
        let compiled = compile(generation, state, ids, Some(&self.compiled));
        self.timings.compiled(begun.elapsed());
        compiled
    }

    fn next_generation(&self) -> u64 {
        self.compiled.tables.generation() + 1
    }

    fn put_in_force(&mut self, compiled: Compiled, accounts: Accounts) -> u64 {
        let generation = compiled.tables.generation();
        // Before the tables: readers know an id's new owner before any worker counts for it (see `Tally`).
        let published = Arc::new(published(&compiled, accounts));
        self.published.store(published);
        self.publisher.publish(Arc::clone(&compiled.tables));
        let before = mem::replace(&mut self.compiled, compiled);
        if let Some(store) = &mut self.store {
            store.put(self.compiled.state.intent.settings());
        }
        self.release();
        let after = &self.compiled;
        transitions::record(&before, after, |happening| self.events.record(happening));
        self.drains.follow(Some(&before), after, Wall::now());
        generation
    }

    /// The accounts with these ids. No worker counts for a new id before it is published.
    fn accounts(&self, assigned: &Assigned, configuration: &Configuration) -> Accounts {
        let published = self.published.load();
        let mut accounts = Accounts::of(&published);
        if !assigned.new_services.is_empty() {
            let of = |id: u32| self.sum(|stats| stats.service(id as usize));
            let new = assigned.new_services.iter().map(|id| (id.0, of(id.0)));
            Arc::make_mut(&mut accounts.services).extend(new);
        }
        if !assigned.new_backends.is_empty() {
            let new = assigned.new_backends.iter();
            let new = new.map(|id| (id.get(), self.sum(|stats| stats.backend(id.index()))));
            Arc::make_mut(&mut accounts.backends).extend(new);
        }
        let is_left = !published.left.is_empty() || !published.left_backends.is_empty();
        if is_left || !assigned.gone_backends.is_empty() {
            self.settle(&mut accounts, assigned, configuration, &published);
        }
        accounts
    }

    /// Brings up to date what was forwarded by ids that have left pools and backends.
    fn settle(
        &self,
        accounts: &mut Accounts,
        assigned: &Assigned,
        configuration: &Configuration,
        published: &Published,
    ) {
        let pools: HashMap<&str, &Pool> =
            configuration.pools.iter().map(|pool| (&*pool.name, pool)).collect();
        let (left, of_backends) =
            (Arc::make_mut(&mut accounts.left), Arc::make_mut(&mut accounts.backends_left));
        left.retain(|pool, _| pools.contains_key(&**pool));
        // The backends that are still there, of those that the account of a backend is for.
        let mut addresses: HashMap<&str, HashSet<IpAddr>> = HashMap::new();
        let owners = of_backends.keys().map(|(pool, _)| &**pool);
        let owners = owners.chain(assigned.gone_backends.iter().map(|(key, _)| key.owner()));
        for owner in owners {
            if let Some((&name, pool)) = pools.get_key_value(owner) {
                let list = || pool.backends.iter().map(|backend| backend.address).collect();
                addresses.entry(name).or_insert_with(list);
            }
        }
        let has = |pool: &str, address: &IpAddr| {
            addresses.get(pool).is_some_and(|addresses| addresses.contains(address))
        };
        of_backends.retain(|(pool, address), _| has(pool, address));
        let reused: HashSet<_> = assigned.new_backends.iter().copied().collect();
        for left in left.values_mut().chain(of_backends.values_mut()) {
            left.settle(
                |id| reused.contains(&id),
                |id| self.sum(|stats| stats.backend(id.index())),
            );
        }
        for (key, id) in &assigned.gone_backends {
            let base = published.backend_base.get(&id.get()).copied().unwrap_or_default();
            let gone = LeftId { id: *id, since: published.ids.since(*id), base };
            if pools.contains_key(&*key.pool) {
                left.entry((*key.pool).to_owned()).or_default().ids.push(gone);
            }
            // A backend whose own id is gone was removed, and one that is there now is another one.
            if key.owner.is_some() && has(key.owner(), &key.address) {
                let name = (key.owner().to_owned(), key.address);
                of_backends.entry(name).or_default().ids.push(gone);
            }
        }
    }

    fn sum(&self, of: impl Fn(&Reader) -> Traffic) -> Traffic {
        self.workers.iter().map(of).sum()
    }
}

/// What turns the counters of ids into those of services, backends and pools: see [`Published`].
#[derive(Debug, Default)]
struct Accounts {
    services: Arc<HashMap<u32, Traffic>>,
    backends: Arc<HashMap<u32, Traffic>>,
    left: Arc<HashMap<String, Left>>,
    backends_left: Arc<HashMap<BackendName, Left>>,
}

impl Accounts {
    fn of(published: &Published) -> Accounts {
        Accounts {
            services: Arc::clone(&published.service_base),
            backends: Arc::clone(&published.backend_base),
            left: Arc::clone(&published.left),
            backends_left: Arc::clone(&published.left_backends),
        }
    }
}

fn published(compiled: &Compiled, accounts: Accounts) -> Published {
    Published {
        generation: compiled.tables.generation(),
        configuration: Arc::clone(&compiled.state.intent.configuration),
        text: Arc::clone(&compiled.state.intent.text),
        settings: compiled.state.intent.settings().clone(),
        pins: compiled.state.pins.clone(),
        ids: Arc::clone(&compiled.ids),
        pools: compiled.pools.clone(),
        routing: compiled.state.observation.routing.clone(),
        service_base: accounts.services,
        backend_base: accounts.backends,
        left: accounts.left,
        left_backends: accounts.backends_left,
    }
}
