//! Which worker polls what, and the rings between them.
//!
//! A port with a receive queue for each worker gives each worker its own; the device divides the
//! flows. A port with fewer gives each of its queues to one worker, which hands packets to the owners
//! of their flows. In the same way a port has a transmit queue for each worker, or rings to those
//! workers that have one. The first queue of port p is worker p's, the next the next worker's, so
//! that ports with one queue burden different workers.

use crate::balancer::tables::PortIndex;
use crate::control::config::{Port, Steering};
use crate::dpdk::clock::TimestampField;
use crate::dpdk::port::Capabilities;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::{Eal, Error, ring};
use crate::worker::{Intake, Lane, Outlet, Owners, Relay, Source, Via};

/// Packets that a ring between two workers holds, for packets of a port.
pub(super) const RING: u32 = 1024;
/// The same, for packets that are no ordinary ones, and for those that have their verdict.
pub(super) const SMALL_RING: u32 = 256;

/// How many queues a port has, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) receive: u16,
    pub(super) transmit: u16,
    /// For the operator.
    pub(super) steering: String,
}

impl Queues {
    /// The queues of a port among so many workers.
    pub(super) fn of(port: &Port, can: &Capabilities, workers: u16) -> Queues {
        let transmit = can.max_tx_queues.clamp(1, workers);
        let (receive, steering) = match port.steering {
            _ if workers == 1 => (1, "one worker".to_owned()),
            Steering::Ring => (1, "ring: as configured".to_owned()),
            Steering::Auto if !can.rss => {
                (1, format!("ring: {} offers no RSS over addresses and ports", can.driver))
            }
            Steering::Auto | Steering::Queues if can.max_rx_queues >= workers => {
                (workers, "queues: a queue for each worker".to_owned())
            }
            Steering::Auto | Steering::Queues => {
                let queues = can.max_rx_queues.max(1);
                (queues, format!("ring: {queues} receive queues for {workers} workers"))
            }
        };
        Queues { receive, transmit, steering }
    }

    /// Packets that the rings of this port hold among so many workers.
    pub(super) fn in_rings(&self, workers: u16) -> u32 {
        let handing = if self.deals_flows(workers) { 0 } else { u32::from(self.receive) };
        let relays = u32::from(workers - self.transmit);
        handing * u32::from(workers - 1) * RING + relays * (RING + SMALL_RING)
    }

    /// Whether the device deals flows to the workers, by a hash that is not ours.
    pub(super) fn deals_flows(&self, workers: u16) -> bool {
        workers > 1 && self.receive >= workers
    }
}

/// What one worker is connected to.
#[derive(Default)]
pub(super) struct Ends {
    pub(super) sources: Vec<Source>,
    pub(super) relays: Vec<Relay>,
    pub(super) outlets: Vec<Outlet>,
    /// By worker; none to itself.
    pub(super) peers: Vec<Option<Outlet>>,
    /// The device queues among the sources, `port:queue`.
    pub(super) queues: Vec<String>,
}

/// What distinguishes connections of one run from those of another.
pub(super) struct Manner {
    /// Packets wait where a ring is full.
    pub(super) lossless: bool,
    /// Every transmit queue notes time stamps.
    pub(super) note_sent: Option<TimestampField>,
    /// The NUMA node of each worker, where what it reads should lie.
    pub(super) nodes: Vec<Option<u32>>,
}

/// Connects the queues of one port, the `index`-th, to the workers. Answers which of them poll it.
///
/// # Errors
/// There is no memory for a ring.
pub(super) fn connect(
    eal: &Eal,
    index: PortIndex,
    name: &str,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
    manner: &Manner,
    workers: &mut [Ends],
) -> Result<Vec<usize>, Error> {
    let count = workers.len();
    let mut pollers = Vec::new();
    let first = usize::from(index.0) % count;
    let ring_between = |kind: &str, from: usize, to: usize, size| {
        ring::channel(eal, &format!("{kind}{}_{from}_{to}", index.0), size, manner.nodes[to])
    };

    let spread = rx.len() < count;
    for (q, queue) in rx.into_iter().enumerate() {
        let poller = (first + q) % count;
        pollers.push(poller);
        workers[poller].queues.push(format!("{name}:{q}"));
        let mut owners = None;
        if spread {
            let mut outlets = Vec::with_capacity(count);
            for (owner, ends) in workers.iter_mut().enumerate() {
                if owner == poller {
                    outlets.push(None);
                    continue;
                }
                let (sender, receiver) = ring_between("rx", poller, owner, RING)?;
                ends.sources.push(Source { port: index, intake: Intake::Ring(receiver) });
                let lane = Lane::new(sender, manner.lossless);
                outlets.push(Some(Outlet::new(Via::Ring(lane))));
            }
            owners = Some(Owners { outlets });
        }
        let intake = Intake::Queue { queue, owners };
        workers[poller].sources.push(Source { port: index, intake });
    }

    let queues = tx.len();
    let mut tx: Vec<Option<TxQueue>> = tx.into_iter().map(Some).collect();
    for worker in 0..count {
        let turn = (worker + count - first) % count;
        let via = match tx.get_mut(turn).and_then(Option::take) {
            Some(queue) => {
                Via::Queue { queue, sent: manner.note_sent.map(|field| (field, Vec::new())) }
            }
            None => {
                let owner = (first + turn % queues) % count;
                let (ring, receiver) = ring_between("tx", worker, owner, RING)?;
                let relay = Relay { port: index, ring: receiver, decided: false };
                workers[owner].relays.push(relay);
                let (decided, receiver) = ring_between("td", worker, owner, SMALL_RING)?;
                let relay = Relay { port: index, ring: receiver, decided: true };
                workers[owner].relays.push(relay);
                let lane = |ring| Lane::new(ring, manner.lossless);
                Via::Relay { ring: lane(ring), decided: lane(decided) }
            }
        };
        workers[worker].outlets.push(Outlet::new(via));
    }
    Ok(pollers)
}

/// Connects the workers with one another.
///
/// # Errors
/// There is no memory for a ring.
pub(super) fn connect_peers(eal: &Eal, manner: &Manner, workers: &mut [Ends]) -> Result<(), Error> {
    let count = workers.len();
    for from in 0..count {
        for to in 0..count {
            let mut peer = None;
            if from != to {
                let name = format!("peer_{from}_{to}");
                let (sender, receiver) = ring::channel(eal, &name, SMALL_RING, manner.nodes[to])?;
                let intake = Intake::Peer(receiver);
                // The port is on each packet's note.
                workers[to].sources.push(Source { port: PortIndex(0), intake });
                peer = Some(Outlet::new(Via::Ring(Lane::new(sender, manner.lossless))));
            }
            workers[from].peers.push(peer);
        }
    }
    Ok(())
}
