//! The rules of docs/operations.md in plain maps: what is set, what follows from it and from the time, and what becomes
//! of each packet. It looks at everything again at each tick, and shares nothing with the appliance but the hashes and
//! the Maglev table.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use guideway_api::{BackendOrder, SetState, Source};
use guideway_core::balancer::flow::FlowKey;
use guideway_core::balancer::hash::FleetKey;
use guideway_core::balancer::maglev::{self, Candidate, Table};

use crate::world::{self, Pool, Service, World, timeout};

/// All times are multiples of it, in milliseconds.
pub(crate) const TICK: u64 = 250;

const SECOND: u64 = 1000;
const TABLE_SIZE: u32 = 2503;
const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// The drain timeout of UDP services that say nothing.
const UDP_DRAIN: u64 = 300 * SECOND;

/// A client's address and port, and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tuple {
    pub(crate) client: u8,
    pub(crate) port: u16,
    pub(crate) service: usize,
}

impl Tuple {
    pub(crate) fn client_address(self) -> [u8; 4] {
        [198, 51, 100, 1 + self.client]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Syn,
    Ack,
    Data,
    Fin,
    Reset,
    Datagram,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes to a backend, by its pool and number.
    Forwarded(usize, u8),
    RstReplied,
    UnreachableReplied,
    NoService,
    NoBackend,
    BackendDraining,
    DrainOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Draining,
    Disabled,
    Down,
}

#[derive(Clone, Copy, Debug)]
struct Set<T> {
    value: T,
    at: u64,
    until: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    state: Option<Set<SetState>>,
    weight: Option<Set<u32>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) state: State,
    pub(crate) since: u64,
    pub(crate) weight: u32,
    /// It returns slowly.
    is_slow: bool,
}

/// Which backends of a pool get new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// The active ones of the level of this pool.
    Level(usize),
    Down,
    Nobody,
}

/// A backend by its pool and number, who sets what for it, and when that ends.
pub(crate) type Change = ((usize, u8), Source, BackendOrder, Option<u64>);

/// A backend that a pool chooses: the pool, the pool that has it, and its number.
type Choosable = (usize, usize, u8);

/// What a backend accepts of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepts {
    All,
    Existing,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Move,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Syn,
    Established,
    HalfClosed,
    Closing,
    Reset,
    Unconfirmed,
    Udp,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    chosen: Choosable,
    /// The birth of what was chosen: the same backend of a later birth is another one.
    born: u64,
    /// The birth of the service that recorded the flow.
    service_born: u64,
    connection: Connection,
    last: u64,
}

/// How often the rules that matter were needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    /// Packets of flows that stay at a backend without new ones.
    pub(crate) kept: usize,
    /// Packets of flows that move.
    pub(crate) moved: usize,
    /// Packets of flows whose drain is over.
    pub(crate) refused: usize,
    /// Flows that found a backend during a slow start.
    pub(crate) slow: usize,
    /// Flows that found a backend of another pool.
    pub(crate) other_pools: usize,
    /// Flows that found a backend that is down.
    pub(crate) to_down: usize,
    /// Changes of the level that serves.
    pub(crate) levels: usize,
}

/// A Maglev table, and what it was built from.
struct Built {
    candidates: Vec<(usize, u8, u32)>,
    table: Table,
}

pub(crate) struct Interpreter {
    pub(crate) now: u64,
    pub(crate) world: World,
    settings: BTreeMap<(usize, u8), [Layer; 2]>,
    backends: BTreeMap<(usize, u8), Backend>,
    serving: BTreeMap<usize, Serving>,
    /// Since when levels that are better than the one that serves have been enough, by pool and the level's pool.
    enough: BTreeMap<(usize, usize), u64>,
    births: u64,
    /// What each pool can choose: the pool that has it, its number there, and the level.
    included: BTreeMap<usize, Vec<(usize, u8, usize)>>,
    choosable: BTreeMap<Choosable, u64>,
    services: BTreeMap<usize, u64>,
    flows: BTreeMap<Tuple, Flow>,
    built: BTreeMap<usize, Built>,
    pub(crate) coverage: Coverage,
}

impl Interpreter {
    pub(crate) fn new(world: World, now: u64) -> Interpreter {
        let mut new = Interpreter {
            now,
            world,
            settings: BTreeMap::new(),
            backends: BTreeMap::new(),
            serving: BTreeMap::new(),
            enough: BTreeMap::new(),
            births: 0,
            included: BTreeMap::new(),
            choosable: BTreeMap::new(),
            services: BTreeMap::new(),
            flows: BTreeMap::new(),
            built: BTreeMap::new(),
            coverage: Coverage::default(),
        };
        new.bear();
        new.settle();
        new
    }

    // What happens.

    pub(crate) fn configure(&mut self, world: World) {
        self.world = world;
        let has = |world: &World, &(pool, number): &(usize, u8)| {
            world.pool(pool).is_some_and(|pool| pool.backends.iter().any(|b| b.number == number))
        };
        self.settings.retain(|name, _| has(&self.world, name));
        self.backends.retain(|name, _| has(&self.world, name));
        self.serving.retain(|&pool, _| self.world.pool(pool).is_some());
        self.enough.retain(|(pool, _), _| self.world.pool(*pool).is_some());
        self.bear();
        self.settle();
    }

    /// A start of the daemon: what is set at run time is all that is left.
    pub(crate) fn restart(&mut self) {
        let before = std::mem::replace(self, Interpreter::new(self.world.clone(), self.now));
        (self.settings, self.coverage) = (before.settings, before.coverage);
        (self.backends, self.serving) = (BTreeMap::new(), BTreeMap::new());
        self.settle();
    }

    /// Sets something for backends, all at once.
    pub(crate) fn set(&mut self, changes: &[Change]) {
        for &(name, source, order, until) in changes {
            self.set_one(name, source, order, until);
        }
        self.settle();
    }

    fn set_one(
        &mut self,
        (pool, number): (usize, u8),
        source: Source,
        order: BackendOrder,
        until: Option<u64>,
    ) {
        let Some(configured) = self.world.pool(pool) else { return };
        let Some(configured) = configured.backends.iter().find(|b| b.number == number) else {
            return;
        };
        let is_enabled = configured.is_enabled;
        let layers = self.settings.entry((pool, number)).or_default();
        let layer = &mut layers[usize::from(source == Source::Operator)];
        match order {
            BackendOrder::State(SetState::Enabled)
                if source == Source::Operator && is_enabled && until.is_none() =>
            {
                layer.state = None;
            }
            BackendOrder::State(value) => {
                let at =
                    layer.state.filter(|set| set.value == value).map_or(self.now, |set| set.at);
                layer.state = Some(Set { value, at, until });
            }
            BackendOrder::Weight(value) => {
                let at =
                    layer.weight.filter(|set| set.value == value).map_or(self.now, |set| set.at);
                layer.weight = Some(Set { value, at, until });
            }
            BackendOrder::UnsetState => layer.state = None,
            BackendOrder::UnsetWeight => layer.weight = None,
        }
    }

    pub(crate) fn advance(&mut self, to: u64) {
        while self.now < to {
            self.now += TICK;
            self.settle();
        }
    }

    /// Removes what the sweep of the whole table removes.
    pub(crate) fn sweep(&mut self) {
        let gone = |(tuple, flow): (&Tuple, &Flow)| {
            let service = self.services.get(&tuple.service) == Some(&flow.service_born);
            let service = self.world.service(tuple.service).filter(|_| service);
            let is_moved = service.is_none_or(|service| self.fate(flow, service) == Fate::Move);
            (self.has_expired(flow) || is_moved).then_some(*tuple)
        };
        let gone: Vec<Tuple> = self.flows.iter().filter_map(gone).collect();
        gone.iter().for_each(|tuple| {
            self.flows.remove(tuple);
        });
    }

    /// The flows of each backend, after a sweep.
    pub(crate) fn flows_of(&self, pool: usize, number: u8) -> u64 {
        self.flows.values().filter(|flow| (flow.chosen.1, flow.chosen.2) == (pool, number)).count()
            as u64
    }

    /// The flows of a service, after a sweep.
    pub(crate) fn flows_of_service(&self, number: usize) -> u64 {
        self.flows.keys().filter(|tuple| tuple.service == number).count() as u64
    }

    pub(crate) fn flows(&self) -> u64 {
        self.flows.len() as u64
    }

    // Who there is.

    /// Gives a birth to everything that was not there before.
    fn bear(&mut self) {
        let included = self.world.pools.iter().map(|pool| (pool.number, self.included(pool)));
        self.included = included.collect();
        let included = self.included.iter().flat_map(|(&pool, included)| {
            included.iter().map(move |&(owner, number, _)| (pool, owner, number))
        });
        let included: Vec<Choosable> = included.collect();
        let services: Vec<usize> =
            self.world.services.iter().map(|service| service.number).collect();
        self.choosable.retain(|choosable, _| included.contains(choosable));
        self.services.retain(|service, _| services.contains(service));
        self.births += 1;
        for choosable in included {
            self.choosable.entry(choosable).or_insert(self.births);
        }
        for service in services {
            self.services.entry(service).or_insert(self.births);
        }
    }

    /// The pools that stand in for one another: the pool itself, its backup, and so on.
    fn levels(&self, pool: &Pool) -> Vec<usize> {
        let mut levels = vec![pool.number];
        let mut next = pool.backup;
        while let Some(number) = next {
            levels.push(number);
            next = self.world.pool(number).unwrap().backup;
        }
        levels
    }

    /// What a pool can choose: the pool that has it, its number there, and the level.
    fn included(&self, pool: &Pool) -> Vec<(usize, u8, usize)> {
        let mut included: Vec<(usize, u8, usize)> = Vec::new();
        for level in self.levels(pool) {
            for owner in self.world.family(level) {
                for backend in &self.world.pool(owner).unwrap().backends {
                    if !included
                        .iter()
                        .any(|&(pool, number, _)| (pool, number) == (owner, backend.number))
                    {
                        included.push((owner, backend.number, level));
                    }
                }
            }
        }
        included
    }

    // What follows from settings and the time.

    fn settle(&mut self) {
        for layers in self.settings.values_mut() {
            for layer in layers {
                layer.state =
                    layer.state.filter(|set| set.until.is_none_or(|until| until > self.now));
                layer.weight =
                    layer.weight.filter(|set| set.until.is_none_or(|until| until > self.now));
            }
        }
        for pool in &self.world.pools {
            for configured in &pool.backends {
                let name = (pool.number, configured.number);
                let (state, weight, at) = self.resolve(name, configured);
                let mut backend = match self.backends.get(&name) {
                    None => {
                        Backend { state, since: at.unwrap_or(self.now), weight, is_slow: false }
                    }
                    Some(&before) if before.state == state => Backend { weight, ..before },
                    Some(before) => Backend {
                        state,
                        since: self.now,
                        weight,
                        is_slow: state == State::Active
                            && matches!(before.state, State::Disabled | State::Down),
                    },
                };
                backend.is_slow &= share(pool, backend.since, self.now).is_some();
                self.backends.insert(name, backend);
            }
        }
        for pool in self.world.pools.clone() {
            let serving = self.settle_level(&pool);
            let before = self.serving.insert(pool.number, serving);
            self.coverage.levels += usize::from(before.is_some_and(|before| before != serving));
        }
    }

    fn resolve(&self, name: (usize, u8), configured: &world::Backend) -> (State, u32, Option<u64>) {
        let mut state = if configured.is_enabled { State::Active } else { State::Disabled };
        let (mut weight, mut at) = (configured.weight, None);
        let [controller, operator] = self.settings.get(&name).copied().unwrap_or_default();
        let mut has_controller = false;
        for (layer, is_operator) in [(controller, false), (operator, true)] {
            if let Some(set) = layer.state {
                let said = match set.value {
                    SetState::Active => Some(State::Active),
                    SetState::Enabled if is_operator && has_controller => None,
                    SetState::Enabled => Some(State::Active),
                    SetState::Draining => Some(State::Draining),
                    SetState::Disabled => Some(State::Disabled),
                    SetState::Down => Some(State::Down),
                };
                if let Some(said) = said {
                    (state, at) = (said, Some(set.at));
                }
                has_controller |= !is_operator;
            }
            if let Some(set) = layer.weight {
                weight = set.value;
            }
        }
        (state, weight, at)
    }

    fn settle_level(&mut self, pool: &Pool) -> Serving {
        let (levels, included) = (self.levels(pool), &self.included[&pool.number]);
        let of = |level: usize, state: State| {
            let of_level = included.iter().filter(|&&(_, _, of)| of == level);
            let backends = of_level.map(|&(owner, number, _)| self.backends[&(owner, number)]);
            backends.filter(|backend| backend.state == state && backend.weight > 0).count()
        };
        let active: Vec<usize> = levels.iter().map(|&level| of(level, State::Active)).collect();
        let needed = |n: usize| self.world.pool(levels[n]).unwrap().min_active;
        let is_enough: Vec<bool> = (0..levels.len()).map(|n| active[n] >= needed(n)).collect();
        let in_use = match self.serving.get(&pool.number) {
            Some(&Serving::Level(level)) => levels.iter().position(|&other| other == level),
            _ => None,
        };
        let in_use = in_use.filter(|&n| active[n] > 0);
        let since = |n: usize| {
            let since = self.enough.get(&(pool.number, levels[n])).copied().unwrap_or(self.now);
            is_enough[n].then_some(since)
        };
        let is_back = |&n: &usize| {
            let hold = self.world.pool(levels[n]).unwrap().backup_hold * SECOND;
            since(n).is_some_and(|since| since + hold <= self.now)
        };
        let chosen = match in_use {
            Some(n) if is_enough[n] => Some((0..n).find(is_back).unwrap_or(n)),
            _ => (0..levels.len())
                .find(|&n| is_enough[n])
                .or_else(|| (0..levels.len()).find(|&n| active[n] > 0)),
        };
        let waiting: Vec<((usize, usize), u64)> = (0..chosen.unwrap_or(0))
            .filter_map(|n| Some(((pool.number, levels[n]), since(n)?)))
            .collect();
        let has_down = of(pool.number, State::Down) > 0;
        self.enough.retain(|&(of, _), _| of != pool.number);
        self.enough.extend(waiting);
        match chosen {
            Some(n) => Serving::Level(levels[n]),
            None if pool.on_empty == "all" && has_down => Serving::Down,
            None => Serving::Nobody,
        }
    }

    pub(crate) fn backend(&self, pool: usize, number: u8) -> Backend {
        self.backends[&(pool, number)]
    }

    pub(crate) fn serving(&self, pool: usize) -> Serving {
        self.serving[&pool]
    }

    /// The share of a backend, of 1000.
    pub(crate) fn share(&self, pool: usize, number: u8) -> u32 {
        let backend = self.backends[&(pool, number)];
        let pool = self.world.pool(pool).unwrap();
        let share = share(pool, backend.since, self.now).filter(|_| backend.is_slow);
        share.unwrap_or(1000)
    }

    fn accepts(&self, (pool, owner, number): Choosable) -> Accepts {
        let backend = self.backends[&(owner, number)];
        let included = &self.included[&pool];
        let (_, _, level) =
            included.iter().find(|&&(of, n, _)| (of, n) == (owner, number)).unwrap();
        match (backend.state, self.serving[&pool]) {
            (State::Disabled, _) => Accepts::Nothing,
            (State::Active, Serving::Level(serving)) if serving == *level && backend.weight > 0 => {
                Accepts::All
            }
            (State::Down, Serving::Down) if *level == pool && backend.weight > 0 => Accepts::All,
            _ => Accepts::Existing,
        }
    }

    fn fate(&self, flow: &Flow, service: &Service) -> Fate {
        let (pool, owner, number) = flow.chosen;
        if self.choosable.get(&flow.chosen) != Some(&flow.born) || pool != service.pool {
            return Fate::Move;
        }
        match self.accepts(flow.chosen) {
            Accepts::All => return Fate::Keep,
            Accepts::Nothing => return Fate::Move,
            Accepts::Existing => {}
        }
        let backend = self.backends[&(owner, number)];
        let is_over = |seconds: u64| backend.since + seconds * SECOND <= self.now;
        match backend.state {
            State::Down => {
                let moves = match service.on_down {
                    Some("move") => true,
                    None if !world::is_tcp(service.number) => true,
                    _ => service.keep_for.is_some_and(is_over),
                };
                if moves { Fate::Move } else { Fate::Keep }
            }
            State::Draining => {
                let by_default = (!world::is_tcp(service.number)).then_some(UDP_DRAIN / SECOND);
                match service.drain_timeout.or(by_default) {
                    Some(drain) if is_over(drain) => match service.drain_then {
                        Some("reset") => Fate::Refuse,
                        Some("keep") => Fate::Keep,
                        _ => Fate::Move,
                    },
                    _ => Fate::Keep,
                }
            }
            State::Active | State::Disabled => Fate::Keep,
        }
    }

    // What becomes of a packet.

    pub(crate) fn packet(&mut self, tuple: Tuple, kind: Kind) -> Outcome {
        let Some(service) = self.world.service(tuple.service).cloned() else {
            return Outcome::NoService;
        };
        let begins = kind == Kind::Syn;
        let flow = self.flows.get(&tuple).copied().filter(|flow| !self.has_expired(flow));
        let Some(flow) = flow else {
            let Some(chosen) = self.choose(&service, tuple) else {
                return self.refuse(&service, kind, Outcome::NoBackend);
            };
            let connection = if begins { Connection::Syn } else { Connection::Unconfirmed };
            return self.record(tuple, chosen, connection, self.now);
        };
        let existing = self.choosable.contains_key(&flow.chosen)
            && self.choosable[&flow.chosen] == flow.born
            && self.accepts(flow.chosen) == Accepts::Existing;
        match self.fate(&flow, &service) {
            Fate::Keep if existing && begins && !self.has_ended(&flow) => {
                return Outcome::BackendDraining;
            }
            Fate::Keep if existing && begins => {}
            Fate::Keep => {
                self.coverage.kept += usize::from(existing);
                let flow = self.after(flow, kind);
                self.flows.insert(tuple, flow);
                return Outcome::Forwarded(flow.chosen.1, flow.chosen.2);
            }
            Fate::Refuse if begins => {}
            Fate::Refuse => {
                self.coverage.refused += 1;
                // From here on only the end of its time awaits it.
                let connection = match flow.connection {
                    Connection::Established | Connection::HalfClosed => Some(Connection::Reset),
                    Connection::Udp => Some(Connection::Unconfirmed),
                    _ => None,
                };
                if let Some(connection) = connection {
                    self.flows.insert(tuple, Flow { connection, last: self.now, ..flow });
                }
                return self.refuse(&service, kind, Outcome::DrainOver);
            }
            Fate::Move => self.coverage.moved += 1,
        }
        // The flow moves.
        let after = if existing && begins { flow } else { self.after(flow, kind) };
        self.flows.insert(tuple, after);
        let Some(chosen) = self.choose(&service, tuple) else {
            return self.refuse(&service, kind, Outcome::NoBackend);
        };
        match begins {
            true => self.record(tuple, chosen, Connection::Syn, self.now),
            false => self.record(tuple, chosen, after.connection, after.last),
        }
    }

    fn record(
        &mut self,
        tuple: Tuple,
        chosen: Choosable,
        connection: Connection,
        last: u64,
    ) -> Outcome {
        let (born, service_born) = (self.choosable[&chosen], self.services[&tuple.service]);
        self.flows.insert(tuple, Flow { chosen, born, service_born, connection, last });
        Outcome::Forwarded(chosen.1, chosen.2)
    }

    fn refuse(&self, service: &Service, kind: Kind, reason: Outcome) -> Outcome {
        let answers = reason == Outcome::DrainOver
            || self.world.pool(service.pool).unwrap().on_empty == "reset";
        match kind {
            _ if !answers => reason,
            Kind::Reset => reason,
            Kind::Datagram => Outcome::UnreachableReplied,
            Kind::Syn | Kind::Ack | Kind::Data | Kind::Fin => Outcome::RstReplied,
        }
    }

    fn choose(&mut self, service: &Service, tuple: Tuple) -> Option<Choosable> {
        let pool = self.world.pool(service.pool).unwrap();
        let included =
            self.included[&pool.number].iter().map(|&(owner, number, _)| (owner, number));
        let takes: Vec<(usize, u8)> = included
            .filter(|&(owner, number)| self.accepts((pool.number, owner, number)) == Accepts::All)
            .collect();
        let is_slow = takes.iter().any(|&(owner, number)| self.share(owner, number) < 1000);
        let candidates = takes.iter().map(|&(owner, number)| {
            let share = if is_slow { self.share(owner, number) } else { 1 };
            (owner, number, self.backends[&(owner, number)].weight * share)
        });
        let mut candidates: Vec<(usize, u8, u32)> = candidates.collect();
        candidates.sort_unstable();
        let key = FleetKey::new(KEY);
        let by = pool.choice;
        if self.built.get(&pool.number).is_none_or(|built| built.candidates != candidates) {
            let of_table: Vec<Candidate> = (0..)
                .zip(&candidates)
                .map(|(value, &(owner, number, weight))| {
                    let identity =
                        maglev::identity(IpAddr::from(world::backend_address(owner, number)));
                    Candidate { identity, weight, value }
                })
                .collect();
            let table = Table::build(&key, TABLE_SIZE, &of_table);
            self.built.insert(service.pool, Built { candidates, table });
        }
        let built = &self.built[&service.pool];
        let (address, port) = world::service_address(tuple.service);
        let source = SocketAddr::new(tuple.client_address().into(), tuple.port);
        let protocol = if world::is_tcp(tuple.service) { 6 } else { 17 };
        let flow = FlowKey::new(source, SocketAddr::new(address.into(), port), protocol).unwrap();
        let hash = if by == "source-hash" { key.hash_source(&flow) } else { key.hash(&flow) };
        let (owner, number, _) = built.candidates[built.table.choose(hash)? as usize];
        self.coverage.slow += usize::from(is_slow);
        self.coverage.other_pools += usize::from(owner != service.pool);
        self.coverage.to_down += usize::from(self.backends[&(owner, number)].state == State::Down);
        Some((service.pool, owner, number))
    }

    // A connection as the appliance sees it: the client's packets only.

    fn has_expired(&self, flow: &Flow) -> bool {
        let seconds = match flow.connection {
            Connection::Syn => timeout::SYN,
            Connection::Established => timeout::ESTABLISHED,
            Connection::HalfClosed => timeout::HALF_CLOSED,
            Connection::Closing | Connection::Reset => timeout::CLOSING,
            Connection::Unconfirmed => timeout::UNCONFIRMED,
            Connection::Udp => timeout::UDP,
        };
        self.now - flow.last > seconds * SECOND
    }

    /// Whether a SYN may begin another connection.
    fn has_ended(&self, flow: &Flow) -> bool {
        let idle = self.now - flow.last;
        match flow.connection {
            Connection::Syn => true,
            Connection::Closing => idle >= SECOND,
            Connection::Reset => idle >= 30 * SECOND,
            _ => idle > timeout::REUSE * SECOND,
        }
    }

    /// The flow after a packet.
    fn after(&self, flow: Flow, kind: Kind) -> Flow {
        use Connection::{Closing, Established, HalfClosed, Reset, Syn, Udp, Unconfirmed};
        let goes_on = self.now - flow.last >= SECOND;
        // The next state, or none if the packet proves nothing and does not count.
        let next = match (flow.connection, kind) {
            (Udp, _) => Some(Udp),
            (Unconfirmed, Kind::Datagram) => goes_on.then_some(Udp),
            (Syn, Kind::Syn) => Some(Syn),
            (Syn, Kind::Fin | Kind::Reset) => None,
            (Syn, _) => Some(Established),
            (Unconfirmed, Kind::Syn) => Some(Syn),
            (Unconfirmed, Kind::Reset) => None,
            (Unconfirmed, Kind::Fin) => goes_on.then_some(Closing),
            (Unconfirmed, _) => goes_on.then_some(Established),
            (Established | HalfClosed, Kind::Fin) => Some(Closing),
            (Established | HalfClosed, Kind::Reset) => Some(Reset),
            (Established | HalfClosed, _) => Some(flow.connection),
            // Only its name changes, not its time.
            (Closing | Reset, Kind::Reset) => return Flow { connection: Reset, ..flow },
            (Reset, Kind::Fin) => return Flow { connection: Closing, ..flow },
            (Closing, Kind::Fin) => Some(Closing),
            (Closing | Reset, Kind::Syn) => Some(Syn),
            (Reset, _) | (Closing, Kind::Data) => Some(Established),
            (Closing, _) => goes_on.then_some(HalfClosed),
        };
        next.map_or(flow, |connection| Flow { connection, last: self.now, ..flow })
    }
}

/// The share of a backend that returned at `since`; `None` if it has its whole share.
fn share(pool: &Pool, since: u64, now: u64) -> Option<u32> {
    let length = pool.slow_start? * SECOND;
    // What holds for a second is the curve at the middle of the part of it that the slow start has.
    let second = now / SECOND * SECOND;
    let middle = (second.max(since) + second + SECOND) / 2 - since;
    let part = match pool.curve {
        "linear" => 1000 * middle / length,
        _ => 1000 * middle * middle / (length * length),
    };
    (middle < length).then(|| u32::try_from(part).unwrap().max(1))
}
