//! What is counted for each service and each backend.

use super::cell::Cell;

/// Services or backends whose counters lie in two cache lines, which CPUs fetch in pairs.
const IN_PAIR: usize = 128 / size_of::<TrafficCells>();

/// The counters of so many services or backends, and behind them a pair of cache lines that stays unused. So those of the
/// next worker, which may follow in memory, share no line with them. What else workers write begins and ends with
/// a line.
pub(super) fn table(n: usize) -> Box<[TrafficCells]> {
    std::iter::repeat_with(TrafficCells::default).take(n + IN_PAIR).collect()
}

/// The counters of a service or of a backend. Their alignment keeps them in one cache line.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(super) struct TrafficCells {
    pub(super) packets: Cell,
    pub(super) bytes: Cell,
    pub(super) flows: Cell,
    pub(super) live: Cell,
}

const _: () = assert!(size_of::<TrafficCells>() == 32);

/// What was forwarded for a service or to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Their bytes as received.
    pub bytes: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flow table entries now.
    pub live: u64,
}

impl std::ops::Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
            flows: self.flows.wrapping_add(other.flows),
            live: self.live.wrapping_add(other.live),
        }
    }
}

impl std::iter::Sum for Traffic {
    fn sum<I: Iterator<Item = Traffic>>(all: I) -> Traffic {
        all.fold(Traffic::default(), |a, b| a + b)
    }
}

/// What was counted since an earlier reading. The live flows are those of now: they are no counter.
impl std::ops::Sub for Traffic {
    type Output = Traffic;

    fn sub(self, earlier: Traffic) -> Traffic {
        Traffic {
            packets: self.packets.wrapping_sub(earlier.packets),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
            flows: self.flows.wrapping_sub(earlier.flows),
            live: self.live,
        }
    }
}

/// The counters of what is forwarded.
#[derive(Debug)]
pub struct Counting<'w> {
    pub(super) services: &'w [TrafficCells],
    pub(super) backends: &'w [TrafficCells],
}

impl Counting<'_> {
    /// Counts a packet of a service, by its index, for a backend, by its number.
    #[inline(always)]
    pub fn count(&mut self, service: usize, backend: usize, bytes: u64) {
        let count = |traffic: &TrafficCells| {
            traffic.packets.add(1);
            traffic.bytes.add(bytes);
        };
        self.services.get(service).map(count);
        self.backends.get(backend).map(count);
    }

    /// Counts a packet as [`Counting::count`] does, and so many flows that begin with it.
    #[inline(always)]
    pub fn count_with_flows(&mut self, service: usize, backend: usize, bytes: u64, flows: u64) {
        let count = |traffic: &TrafficCells| {
            traffic.packets.add(1);
            traffic.bytes.add(bytes);
            traffic.flows.add(flows);
        };
        self.services.get(service).map(count);
        self.backends.get(backend).map(count);
    }
}
