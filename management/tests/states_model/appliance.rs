//! The appliance without devices: the manager's steps, one by one with a time that the test gives, and one worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use etherparse::PacketBuilder;

use guideway_config::{self as config, Configuration};
use guideway_core::balancer::{Balancer, Tables, Time};

use guideway_core::balancer::action::{Actions, BurstActions};
use guideway_core::balancer::burst::Batch;
use guideway_core::balancer::exception::Exceptions;
use guideway_core::balancer::fragment::Capacity;
use guideway_core::balancer::frame::{Buffer, BufferBurst, Buffers, Frame};
use guideway_core::balancer::handoff::Handoff;
use guideway_core::balancer::hash::LocalSeed;
use guideway_core::balancer::id::{BackendId, PortIndex};
use guideway_core::balancer::passed::Passed;
use guideway_core::balancer::pipeline::{Pipeline, Round};
use guideway_core::balancer::punt::Class;

use guideway_chassis::wall::Wall;
use guideway_core::stats::{self, DropReason, Reader, Reply, Verdict, Writer};
use guideway_management::compile::{Compiled, compile};
use guideway_management::ids::Allocators;
use guideway_management::progress::Progress;
use guideway_management::state::standing::{BackendStanding, PoolServing};
use guideway_management::state::{BackendChange, PortFacts, State};

use crate::interpreter::{Change, Kind, Outcome, Tuple};
use crate::world::{self, World};

/// When the test begins, in milliseconds from 1970 on.
pub(crate) const BEGIN: u64 = 1_700_000_000_000;

const HEADROOM: usize = 128;
/// Far more than there are tuples, so that every flow finds a slot.
const FLOW_ENTRIES: usize = 1 << 14;
const IDS: usize = 1 << 12;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

type WorkerPipeline = Pipeline<Box<Buffer>, Buffers>;

pub(crate) struct Appliance {
    allocators: Allocators,
    compiled: Compiled,
    state: State,
    /// The generation whose tables a whole sweep used.
    swept: u64,
    pipeline: WorkerPipeline,
    reader: Reader,
    batch: Batch<BufferBurst>,
    frames: BTreeMap<(Tuple, Kind), Vec<u8>>,
    received: u64,
}

impl Appliance {
    pub(crate) fn new(world: &World, now: u64) -> Appliance {
        Appliance::of(state(world, now))
    }

    fn of(state: State) -> Appliance {
        let mut allocators = Allocators::default();
        let assigned =
            allocators.assign(&state.intent.configuration, 1, Progress::default()).unwrap();
        let compiled = compile(1, &state, &Arc::new(assigned.ids), None);
        let (pipeline, reader) = worker();
        let (batch, frames) = (Batch::new(), BTreeMap::new());
        Appliance {
            allocators,
            compiled,
            state,
            swept: 0,
            pipeline,
            reader,
            batch,
            frames,
            received: 0,
        }
    }

    // What happens.

    pub(crate) fn configure(&mut self, world: &World, now: u64) {
        let (configuration, text) = configuration(world);
        let generation = self.compiled.tables.generation() + 1;
        let progress = Progress { generation: generation - 1, swept: self.swept };
        let assigned = self.allocators.assign(&configuration, generation, progress).unwrap();
        self.state.configure(configuration, text);
        self.state.settle(Wall(now));
        let ids = Arc::new(assigned.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    /// A start of the daemon with the settings of an earlier run.
    pub(crate) fn restart(&mut self, world: &World, now: u64) {
        let settings = self.state.intent.settings().clone();
        let mut state = state(world, now);
        assert!(state.restore(settings, Wall(now)).is_empty());
        let frames = std::mem::take(&mut self.frames);
        *self = Appliance { frames, ..Appliance::of(state) };
    }

    /// Sets something for backends, all at once.
    pub(crate) fn set(&mut self, changes: &[Change], now: u64) {
        for &((pool, number), source, order, until) in changes {
            let address = world::backend_address(pool, number).into();
            self.state.intent.set(&BackendChange {
                source,
                at: Wall(now),
                until: until.map(Wall),
                ..BackendChange::new(world::pool_name(pool), address, order)
            });
        }
        self.settle(now);
    }

    /// Settles whenever the state asks for it.
    pub(crate) fn advance(&mut self, to: u64) {
        while let Some(next) = self.state.next().filter(|next| next.0 <= to) {
            self.settle(next.0);
            assert!(self.state.next().is_none_or(|later| later > next), "it asks again at once");
        }
    }

    fn settle(&mut self, now: u64) {
        self.state.settle(Wall(now));
        let generation = self.compiled.tables.generation() + 1;
        let ids = Arc::clone(&self.compiled.ids);
        self.compiled = compile(generation, &self.state, &ids, Some(&self.compiled));
    }

    pub(crate) fn sweep(&mut self, now: u64) {
        let tables = Arc::clone(&self.compiled.tables);
        while !self.pipeline.balancer.sweep(&tables, time(now)) {}
        self.swept = tables.generation();
    }

    /// Receives a packet. Returns what became of it.
    pub(crate) fn packet(&mut self, tuple: Tuple, kind: Kind, now: u64) -> Outcome {
        let frame = self.frames.entry((tuple, kind)).or_insert_with(|| frame(tuple, kind));
        self.batch.burst.push(Box::new(Buffer::new(frame, HEADROOM)));
        let before = OTHERS.map(|(verdict, _)| self.reader.verdict(verdict));
        let mut sent = Vec::new();
        let tables: &Tables = &self.compiled.tables;
        let mut round = Round { tables, now: time(now), actions: Output(&mut sent) };
        self.pipeline.process(&mut round, PortIndex(0), &mut self.batch);
        self.received += 1;
        assert_eq!(self.reader.verdicts(), self.received, "one verdict for each packet");
        let ended = OTHERS.into_iter().zip(before);
        let ended = ended.filter(|&((verdict, _), before)| self.reader.verdict(verdict) > before);
        let ended = ended.map(|((_, outcome), _)| outcome).next();
        let (outcome, protocol) = match (ended, &sent[..]) {
            (None, [sent]) => {
                let [_, _, pool, backend] = sent[30..34].try_into().unwrap();
                (Outcome::Forwarded(pool.into(), backend), 47)
            }
            (Some(outcome @ Outcome::RstReplied), [_]) => (outcome, 6),
            (Some(outcome @ Outcome::UnreachableReplied), [_]) => (outcome, 1),
            (Some(outcome), []) => return outcome,
            (ended, sent) => panic!("{ended:?} and {} frames", sent.len()),
        };
        assert_eq!(sent[0][23], protocol);
        outcome
    }

    // What there is.

    pub(crate) fn standing(&self, pool: usize, number: u8) -> &BackendStanding {
        let (pool, backend) = self.place(pool, number);
        &self.state.standing.pools[pool].backends[backend]
    }

    /// Which level of a pool serves, by the number of its pool.
    pub(crate) fn serving(&self, pool: usize) -> (PoolServing, Option<usize>) {
        let name = world::pool_name(pool);
        let pools = &self.state.intent.configuration.pools;
        let index = pools.iter().position(|pool| pool.name == name).unwrap();
        let serving = self.state.standing.pools[index].serving;
        let level = match serving {
            PoolServing::Level(level) => {
                let name = &pools[pools[index].levels[level]].name;
                Some(name.trim_start_matches('p').parse().unwrap())
            }
            PoolServing::Down | PoolServing::Nobody => None,
        };
        (serving, level)
    }

    /// The live flows of a backend, over all pools that chose it.
    pub(crate) fn flows_of(&self, pool: usize, number: u8) -> u64 {
        let (pool, backend) = self.place(pool, number);
        let ids = self.compiled.ids.of_backend(pool, backend);
        ids.map(|id: BackendId| self.reader.backend(id.index()).live).sum()
    }

    pub(crate) fn flows_of_service(&self, number: usize) -> u64 {
        let name = format!("s{number}");
        let services = &self.state.intent.configuration.services;
        let index = services.iter().position(|service| service.name == name).unwrap();
        self.reader.service(self.compiled.ids.services[index].index()).live
    }

    /// The live flows of every backend id, in use or not.
    pub(crate) fn flows(&self) -> u64 {
        (0..self.compiled.ids.end).map(|id| self.reader.backend(id).live).sum()
    }

    fn place(&self, pool: usize, number: u8) -> (usize, usize) {
        let (name, address) = (world::pool_name(pool), world::backend_address(pool, number));
        let pools = &self.state.intent.configuration.pools;
        let pool = pools.iter().position(|pool| pool.name == name).unwrap();
        let backends = &pools[pool].backends;
        (
            pool,
            backends
                .iter()
                .position(|backend| backend.address == std::net::IpAddr::from(address))
                .unwrap(),
        )
    }
}

/// The outcomes that have a counter, other than being forwarded.
const OTHERS: [(Verdict, Outcome); 7] = [
    (Verdict::Replied(Reply::Reset), Outcome::RstReplied),
    (Verdict::Replied(Reply::Unreachable), Outcome::UnreachableReplied),
    (Verdict::Dropped(DropReason::NoVip), Outcome::NoService),
    (Verdict::Dropped(DropReason::NoService), Outcome::NoService),
    (Verdict::Dropped(DropReason::NoBackend), Outcome::NoBackend),
    (Verdict::Dropped(DropReason::BackendDraining), Outcome::BackendDraining),
    (Verdict::Dropped(DropReason::DrainOver), Outcome::DrainOver),
];

fn time(now: u64) -> Time {
    Time::from_millis(now - BEGIN + 1)
}

fn configuration(world: &World) -> (Configuration, String) {
    let text = world.text();
    match config::parse(&text) {
        Ok(parsed) => (parsed.configuration, text),
        Err(mistakes) => panic!("{mistakes:?}\n{text}"),
    }
}

fn state(world: &World, now: u64) -> State {
    let (configuration, text) = configuration(world);
    let ports = vec![PortFacts { device_mac: MAC, filter: true }];
    State::new(configuration, text, ports, Wall(now))
}

fn worker() -> (WorkerPipeline, Reader) {
    let seed = LocalSeed::new(7);
    let (writer, reader) = stats::channel(IDS, IDS);
    let waiting =
        Capacity { datagrams: 4, packets: 4, bytes: 4096, packets_per_datagram: 4, timeout_ms: 1 };
    let allocator = Buffers { headroom: HEADROOM, room: 2048 };
    let exceptions = Exceptions::new(0, 1, true, waiting, seed, allocator);
    (Pipeline::new(Balancer::new(FLOW_ENTRIES, seed), writer, exceptions), reader)
}

fn frame(tuple: Tuple, kind: Kind) -> Vec<u8> {
    let (address, port) = world::service_address(tuple.service);
    let ip = PacketBuilder::ethernet2(CLIENT_MAC, MAC).ipv4(tuple.client_address(), address, 64);
    let payload: &[u8] = if matches!(kind, Kind::Data | Kind::Datagram) { &[7; 10] } else { &[] };
    let mut frame = Vec::new();
    if kind == Kind::Datagram {
        ip.udp(tuple.port, port).write(&mut frame, payload).unwrap();
        return frame;
    }
    let tcp = ip.tcp(tuple.port, port, 1000, 64_240);
    let tcp = match kind {
        Kind::Syn => tcp.syn(),
        Kind::Ack | Kind::Data => tcp.ack(1),
        Kind::Fin => tcp.fin().ack(1),
        Kind::Reset | Kind::Datagram => tcp.rst(),
    };
    tcp.write(&mut frame, payload).unwrap();
    frame
}

/// Keeps what is sent.
struct Output<'a>(&'a mut Vec<Vec<u8>>);

impl Actions<Box<Buffer>> for Output<'_> {
    fn transmit(&mut self, port: PortIndex, frame: Box<Buffer>, stats: &mut Writer) {
        let sent = self.transmit_decided(port, frame, stats);
        stats.verdict(sent.map_or_else(Verdict::Dropped, |()| Verdict::Forwarded), 1);
    }

    fn transmit_decided(
        &mut self,
        _port: PortIndex,
        frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        self.0.push(frame.bytes().to_vec());
        Ok(())
    }

    fn punt(
        &mut self,
        _port: PortIndex,
        _class: Class,
        _frame: Box<Buffer>,
        _stats: &mut Writer,
    ) -> Result<(), DropReason> {
        panic!("nothing is for the kernel")
    }

    fn hand_off(&mut self, _worker: u16, _frame: Box<Buffer>, _handoff: Handoff, _: &mut Writer) {
        panic!("there is one worker")
    }
}

impl BurstActions<BufferBurst> for Output<'_> {
    fn transmit_burst(&mut self, port: PortIndex, burst: &mut BufferBurst, stats: &mut Writer) {
        burst.drain(..).for_each(|frame| self.transmit(port, frame, stats));
    }

    fn divides(&self) -> bool {
        false
    }

    fn pass(&mut self, _passed: &Passed, frame: Box<Buffer>) -> Result<(), Box<Buffer>> {
        Err(frame)
    }
}
