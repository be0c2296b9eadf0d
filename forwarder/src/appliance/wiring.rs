//! Which worker polls which queue, and the rings between workers.
//!
//! A port with a receive queue for each worker gives each worker its own, and the device divides
//! the flows. A port with fewer gives each of its queues to one worker, which hands packets to the
//! owners of their flows. So does a port whose device offers no RSS. In the same way, a port has a
//! transmit queue for each worker, or rings to the workers that have one.
//!
//! The first queue of port p is worker p's, the next queue is the next worker's. So ports with one
//! queue burden different workers.

use std::sync::Arc;

use super::mode::Run;
use crate::dpdk;
use crate::dpdk::port::Capabilities;
use crate::dpdk::queue::{RxQueue, TxQueue};
use crate::dpdk::ring::{self, Receiver, Sender};
use crate::dpdk::{Eal, Error, Mempool, TimestampField};
use crate::kernel::{Counters, Doorbell};
use crate::worker::{
    Input, InputKind, KernelEnds, KernelRelay, Output, OutputKind, OwnerOutput, Owners, ProbeRelay,
    Punts, Relay, RingQueue,
};
use guideway_api::{self as api, RingReason, SteeringMethod};
use guideway_config::Steering;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::punt::Class;
use guideway_management::daemon::Probing;

/// Size of a ring between two workers, for packets of one port. A ring holds one packet less.
pub(super) const RING: u32 = 1024;
/// Packets that a ring between two workers holds, for exceptions and for packets whose verdict is
/// counted.
pub(super) const SMALL_RING: u32 = 256;
#[expect(clippy::cast_possible_truncation, reason = "a few, and 32")]
const BURST: u32 = dpdk::BURST as u32;

/// Packets that a ring to or from the thread `kernel` holds: a burst of ARP, or a window of TCP.
const KERNEL_RING: u32 = 256;
/// Packets that the ring of the answers to probes holds: those to 5,000 probes a second over TCP, while the thread does
/// not run for 0.1 s. An answer that is lost looks like a server that is down.
const PROBE_RING: u32 = 1024;

/// Packets that a worker's ring of this class holds.
const fn punt_ring(class: Class) -> u32 {
    match class {
        Class::Probe => PROBE_RING,
        Class::Routing | Class::Neighbor | Class::Own | Class::LinkLocal | Class::Multicast => {
            KERNEL_RING
        }
    }
}

/// Packets that the rings to and from the kernel hold, where `workers` workers punt to `interfaces`
/// interfaces.
pub(super) fn in_kernel_rings(workers: u16, interfaces: usize) -> u32 {
    if interfaces == 0 {
        return 0;
    }
    // Probes have an interface of their own.
    let interfaces = u32::try_from(interfaces + 1).unwrap_or(u32::MAX);
    // Of an interface also the burst that is being read, with a spare buffer.
    let from = interfaces * (KERNEL_RING + BURST + 1);
    let to: u32 = Class::ALL.iter().map(|&class| punt_ring(class)).sum();
    u32::from(workers) * to + from + BURST
}

/// How many queues a port has, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queues {
    pub(super) receive: u16,
    pub(super) transmit: u16,
    /// The device may get one more receive queue, for ARP and routing sessions alone.
    pub(super) control: bool,
    /// The workers that poll a receive queue hand packets to the owners of their flows.
    pub(super) divides: bool,
    /// The reason for these numbers.
    pub(super) steering: api::Steering,
}

impl Queues {
    /// The queues of a port among this many workers.
    pub(super) fn of(steering: Steering, can: &Capabilities, workers: u16) -> Queues {
        let transmit = can.max_tx_queues.clamp(1, workers);
        let useful = can.facts.useful(can.max_rx_queues.min(workers)).max(1);
        let (wanted, method) = match steering {
            _ if workers == 1 => (1, SteeringMethod::OneWorker),
            Steering::Ring => (1, SteeringMethod::Ring(RingReason::Configured)),
            Steering::Auto if !can.rss => (1, SteeringMethod::Ring(RingReason::NoRss)),
            Steering::Auto | Steering::Queues if useful >= workers => {
                (workers, SteeringMethod::Queues { rss: can.rss })
            }
            Steering::Auto | Steering::Queues => {
                let reason = RingReason::FewQueues { queues: useful, workers };
                (useful, SteeringMethod::Ring(reason))
            }
        };
        let most = (can.max_rx_queues, can.max_tx_queues);
        let (receive, transmit) = can.facts.queues((wanted, transmit), most);
        let steering = api::Steering {
            method,
            filled_queues: (receive > wanted).then_some(receive),
            crowded_queue: None,
        };
        let divides = matches!(method, SteeringMethod::Ring(_));
        Queues { receive, transmit, control: false, divides, steering }
    }

    /// These queues, and one for ARP and routing sessions if the device may have it.
    pub(super) fn with_control(self, can: &Capabilities) -> Queues {
        let has_room = can.max_rx_queues > self.receive;
        Queues { control: has_room && can.facts.keeps_queues_apart(), ..self }
    }

    /// The most receive queues that are set up.
    pub(super) fn most_receive(&self) -> u32 {
        u32::from(self.receive) + u32::from(self.control)
    }

    /// The steering and the numbers of queues, for the log.
    pub(super) fn words(&self) -> String {
        let steering = match self.steering.method {
            SteeringMethod::OneWorker => "one worker",
            SteeringMethod::Queues { rss: true } => "queues by RSS",
            SteeringMethod::Queues { rss: false } => "queues, no RSS",
            SteeringMethod::Ring(RingReason::Configured) => "ring as configured",
            SteeringMethod::Ring(RingReason::NoRss) => "ring, no RSS",
            SteeringMethod::Ring(RingReason::FewQueues { .. }) => "ring, too few queues",
        };
        let Queues { receive, transmit, .. } = self;
        format!("{steering}, receive queues: {receive}, transmit queues: {transmit}")
    }

    /// Packets that the rings of this port hold among this many workers.
    pub(super) fn in_rings(&self, workers: u16) -> u32 {
        let handing = if self.divides { self.most_receive() } else { 0 };
        let relays = u32::from(workers.saturating_sub(self.transmit));
        handing * u32::from(workers - 1) * RING + relays * (RING + SMALL_RING)
    }

    /// Whether the device spreads flows over the workers, by a hash that Guideway does not know.
    pub(super) fn spreads_flows(&self, workers: u16) -> bool {
        workers > 1 && !self.divides
    }
}

/// What one worker is connected to.
#[derive(Default)]
pub(super) struct Wiring {
    pub(super) inputs: Vec<Input>,
    pub(super) relays: Vec<Relay>,
    pub(super) outputs: Vec<Output>,
    /// The ring to each sibling; `None` at the worker's own index.
    pub(super) siblings: Vec<Option<Output>>,
    /// What connects the worker with the kernel.
    pub(super) kernel: KernelEnds,
    /// The device queues among the inputs.
    pub(super) queues: Vec<api::RxQueue>,
}

/// The queues of a started port.
pub(super) struct Opened {
    pub(super) rx: Vec<RxQueue>,
    pub(super) tx: Vec<TxQueue>,
    /// The pool of the packets that are received.
    pub(super) pool: Mempool,
    /// The last receive queue is for ARP and routing sessions. It is polled before all others.
    pub(super) has_control_queue: bool,
    /// See [`Queues::divides`].
    pub(super) divides: bool,
}

/// The connections of ports and workers, while they are made.
pub(super) struct Connections<'a> {
    eal: &'a Eal,
    /// Packets wait if a ring is full.
    lossless: bool,
    /// Every transmit queue records time stamps.
    record_sent: Option<TimestampField>,
    /// The NUMA node of each worker, where the rings that it reads should lie.
    nodes: Vec<Option<u32>>,
    /// What each worker is connected to so far.
    pub(super) workers: Vec<Wiring>,
}

impl<'a> Connections<'a> {
    /// The workers of a run, without connections. `nodes` are the workers' NUMA nodes.
    pub(super) fn new(
        eal: &'a Eal,
        run: &Run,
        record_sent: Option<TimestampField>,
        nodes: Vec<Option<u32>>,
    ) -> Connections<'a> {
        let workers = (0..run.workers).map(|_| Wiring::default()).collect();
        Connections { eal, lossless: !run.live, record_sent, nodes, workers }
    }

    /// Connects the queues of one port, the `index`-th, to the workers. Returns the workers that
    /// poll it.
    ///
    /// # Errors
    /// There is no memory for a ring.
    pub(super) fn connect(
        &mut self,
        index: PortIndex,
        name: &str,
        opened: Opened,
    ) -> Result<Vec<usize>, Error> {
        let Opened { rx, tx, pool, has_control_queue, divides } = opened;
        let control = if has_control_queue { rx.len().checked_sub(1) } else { None };
        let count = self.workers.len();
        let first = usize::from(index.0) % count;
        let mut pollers = Vec::with_capacity(rx.len());
        for (q, queue) in (0..).zip(rx) {
            let poller = (first + usize::from(q)) % count;
            pollers.push(poller);
            self.workers[poller].queues.push(api::RxQueue { port: name.to_owned(), queue: q });
            let owners = if divides { Some(self.owners(index, q, poller, &pool)?) } else { None };
            let kind = InputKind::Queue { queue, owners };
            let inputs = &mut self.workers[poller].inputs;
            let place = if control == Some(q.into()) { 0 } else { inputs.len() };
            inputs.insert(place, Input { port: index, kind });
        }

        let queues = tx.len();
        let mut tx: Vec<Option<TxQueue>> = tx.into_iter().map(Some).collect();
        for worker in 0..count {
            let position = (worker + count - first) % count;
            let kind = match tx.get_mut(position).and_then(Option::take) {
                Some(queue) => OutputKind::Queue {
                    queue,
                    sent: self.record_sent.map(|field| (field, Vec::new())),
                },
                None => self.relay(index, worker, (first + position % queues) % count)?,
            };
            self.workers[worker].outputs.push(Output::new(kind));
        }
        Ok(pollers)
    }

    /// The rings from the worker that polls queue `q` of a port to all others.
    fn owners(
        &mut self,
        index: PortIndex,
        q: u16,
        poller: usize,
        pool: &Mempool,
    ) -> Result<Owners, Error> {
        let mut outputs = Vec::with_capacity(self.workers.len());
        for owner in 0..self.workers.len() {
            if owner == poller {
                outputs.push(None);
                continue;
            }
            let name = format!("rx{}_{q}_{owner}", index.0);
            let (queue, ring) = self.ring(&name, RING, owner)?;
            self.workers[owner].inputs.push(Input { port: index, kind: InputKind::Ring(ring) });
            outputs.push(Some(OwnerOutput::new(queue)));
        }
        Ok(Owners { pool: pool.clone(), outputs })
    }

    /// The rings by which `worker` sends through a transmit queue of `owner`.
    fn relay(
        &mut self,
        index: PortIndex,
        worker: usize,
        owner: usize,
    ) -> Result<OutputKind, Error> {
        let mut relay = |kind: &str, size, decided| {
            let name = format!("{kind}{}_{worker}_{owner}", index.0);
            let (queue, ring) = self.ring(&name, size, owner)?;
            self.workers[owner].relays.push(Relay { port: index, ring, decided });
            Ok::<_, Error>(queue)
        };
        let ring = relay("tx", RING, false)?;
        let decided = relay("td", SMALL_RING, true)?;
        Ok(OutputKind::Relay { ring, decided })
    }

    /// Connects each worker with all others.
    ///
    /// # Errors
    /// There is no memory for a ring.
    pub(super) fn connect_siblings(&mut self) -> Result<(), Error> {
        let count = self.workers.len();
        for from in 0..count {
            for to in 0..count {
                let mut sibling = None;
                if from != to {
                    let name = format!("sibling_{from}_{to}");
                    let (queue, ring) = self.ring(&name, SMALL_RING, to)?;
                    let kind = InputKind::Handoff(ring);
                    // The port is in each packet's metadata.
                    self.workers[to].inputs.push(Input { port: PortIndex(0), kind });
                    sibling = Some(Output::new(OutputKind::Ring(queue)));
                }
                self.workers[from].siblings.push(sibling);
            }
        }
        Ok(())
    }

    /// Connects each worker with the thread that serves the kernel, which `doorbell` wakes. Returns the
    /// thread's ends: for each class the rings of the workers.
    ///
    /// In a replay a worker has one ring for all classes, so that its frames stay in order: none is
    /// dropped there, so that no class must be served before another.
    ///
    /// # Errors
    /// There is no memory for a ring.
    pub(super) fn connect_kernel(
        &mut self,
        doorbell: &Arc<Doorbell>,
        counters: &[Arc<Counters>],
    ) -> Result<Vec<Vec<Receiver>>, Error> {
        let sizes = match self.lossless {
            true => vec![KERNEL_RING],
            false => Class::ALL.iter().map(|&class| punt_ring(class)).collect(),
        };
        let mut ends: Vec<Vec<Receiver>> = sizes.iter().map(|_| Vec::new()).collect();
        for worker in 0..self.workers.len() {
            let mut rings = Vec::with_capacity(sizes.len());
            for (class, (ends, &size)) in ends.iter_mut().zip(&sizes).enumerate() {
                let name = format!("punt{class}_{worker}");
                let (ring, end) = ring::channel(self.eal, &name, size, self.nodes[worker])?;
                rings.push(RingQueue::new(ring, self.lossless));
                ends.push(end);
            }
            let (doorbell, counters) = (Some(Arc::clone(doorbell)), counters.to_vec());
            self.workers[worker].kernel.punts = Punts { rings, doorbell, counters };
        }
        Ok(ends)
    }

    /// Connects the thread that serves the kernel with the worker that has the first transmit queue of
    /// a port. Returns that worker, the ring to it, and what wakes it.
    ///
    /// # Errors
    /// There is no memory for a ring, or no descriptor.
    pub(super) fn connect_interface(
        &mut self,
        index: PortIndex,
        counters: &Arc<Counters>,
    ) -> Result<(u16, Sender, Arc<Doorbell>), super::Error> {
        let owner = index.0 % u16::try_from(self.workers.len()).unwrap_or(u16::MAX);
        let (sender, ring) = self.ring_of_kernel(&format!("kernel{}", index.0), owner)?;
        let ends = &mut self.workers[usize::from(owner)].kernel;
        ends.relays.push(KernelRelay { port: index, ring, counters: Arc::clone(counters) });
        Ok((owner, sender, self.doorbell(owner)?))
    }

    /// Connects the thread that serves the kernel with the worker that sends the packets of probes. Returns what
    /// [`Connections::connect_interface`] does. Any worker sends by every port.
    ///
    /// # Errors
    /// There is no memory for a ring, or no descriptor.
    pub(super) fn connect_probes(
        &mut self,
        counters: &Arc<Probing>,
    ) -> Result<(u16, Sender, Arc<Doorbell>), super::Error> {
        const OWNER: u16 = 0;
        let (sender, ring) = self.ring_of_kernel("probes", OWNER)?;
        let probes = ProbeRelay { ring, counters: Arc::clone(counters) };
        self.workers[usize::from(OWNER)].kernel.probes = Some(probes);
        Ok((OWNER, sender, self.doorbell(OWNER)?))
    }

    /// A ring from the thread that serves the kernel to a worker.
    fn ring_of_kernel(&self, name: &str, owner: u16) -> Result<(Sender, Receiver), Error> {
        ring::channel(self.eal, name, KERNEL_RING, self.nodes[usize::from(owner)])
    }

    /// What wakes a worker that the kernel sends by.
    fn doorbell(&mut self, owner: u16) -> Result<Arc<Doorbell>, super::Error> {
        let ends = &mut self.workers[usize::from(owner)].kernel;
        Ok(match &ends.doorbell {
            Some(doorbell) => Arc::clone(doorbell),
            None => Arc::clone(ends.doorbell.insert(Arc::new(Doorbell::new()?))),
        })
    }

    /// A ring on the node of the worker that reads it.
    fn ring<N: Copy + Default>(
        &self,
        name: &str,
        size: u32,
        to: usize,
    ) -> Result<(RingQueue<N>, Receiver<N>), Error> {
        let (sender, receiver) = ring::channel_with_notes(self.eal, name, size, self.nodes[to])?;
        Ok((RingQueue::new(sender, self.lossless), receiver))
    }
}

#[cfg(test)]
mod lines;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::port::Facts;

    /// The capabilities of a driver's device, with at most `queues` of each kind.
    fn can(driver: &str, queues: u16, rss: bool) -> Capabilities {
        Capabilities {
            driver: driver.to_owned(),
            max_rx_queues: queues,
            max_tx_queues: queues,
            facts: Facts::of(driver),
            rss,
            mac: [2, 0, 0, 0, 0, 1],
            socket: None,
            interface: None,
            max_mtu: 1500,
            umem: None,
        }
    }

    #[test]
    fn all_queues_that_get_packets_are_set_up() {
        let of = |steering, can: &Capabilities, workers| {
            let Queues { receive, transmit, divides, .. } = Queues::of(steering, can, workers);
            (receive, transmit, divides)
        };
        let virtio = can("net_virtio", 4, false);
        assert_eq!(of(Steering::Auto, &virtio, 1), (1, 1, false));
        assert_eq!(of(Steering::Auto, &virtio, 2), (2, 2, true));
        assert_eq!(of(Steering::Ring, &can("net_virtio", 4, true), 3), (3, 3, true));
        assert_eq!(of(Steering::Queues, &virtio, 3), (3, 3, false));
        assert_eq!(of(Steering::Auto, &can("net_virtio", 2, true), 3), (2, 2, true));
        let packet = can("net_af_packet", 4, false);
        assert_eq!(of(Steering::Auto, &packet, 1), (4, 1, false));
        assert_eq!(of(Steering::Ring, &packet, 2), (4, 2, true));
        assert_eq!(of(Steering::Queues, &packet, 2), (4, 2, false));
        let igb = can("net_e1000_igb", 8, true);
        assert_eq!(of(Steering::Ring, &igb, 3), (1, 3, true));
        assert_eq!(of(Steering::Auto, &igb, 3), (3, 3, false));
        assert_eq!(of(Steering::Auto, &can("net_vmxnet3", 8, true), 3), (2, 3, true));
    }

    #[test]
    fn a_queue_for_control_is_one_more_where_data_stays_off_it() {
        let of = |can: &Capabilities, workers| {
            let queues = Queues::of(Steering::Auto, can, workers).with_control(can);
            (queues.receive, queues.control, queues.most_receive())
        };
        assert_eq!(of(&can("net_e1000_igb", 8, true), 3), (3, true, 4));
        assert_eq!(of(&can("net_e1000_igb", 3, true), 3), (3, false, 3));
        assert_eq!(of(&can("net_ice", 64, true), 1), (1, true, 2));
        // The kernel, or the device, spreads over all queues that are set up.
        for driver in ["net_virtio", "net_tap", "net_af_packet", "net_af_xdp", "net_bonding"] {
            assert!(!of(&can(driver, 8, true), 2).1, "{driver}");
        }
    }

    #[test]
    fn the_steering_has_its_reason() {
        let steering =
            |steering, can: &Capabilities, workers| Queues::of(steering, can, workers).steering;
        let of = |method| api::Steering { method, filled_queues: None, crowded_queue: None };
        let configured = of(SteeringMethod::Ring(RingReason::Configured));
        let virtio = can("net_virtio", 2, true);
        assert_eq!(
            steering(Steering::Ring, &virtio, 2),
            api::Steering { filled_queues: Some(2), ..configured }
        );
        assert_eq!(steering(Steering::Ring, &can("net_ice", 2, true), 2), configured);
        let by_rss = of(SteeringMethod::Queues { rss: true });
        assert_eq!(steering(Steering::Auto, &virtio, 2), by_rss);
        let own_method = of(SteeringMethod::Queues { rss: false });
        let plain = can("net_virtio", 2, false);
        assert_eq!(steering(Steering::Queues, &plain, 2), own_method);
        assert_eq!(
            steering(Steering::Auto, &plain, 2),
            api::Steering { filled_queues: Some(2), ..of(SteeringMethod::Ring(RingReason::NoRss)) }
        );
        let few = RingReason::FewQueues { queues: 2, workers: 3 };
        let vmxnet3 = can("net_vmxnet3", 8, true);
        assert_eq!(steering(Steering::Auto, &vmxnet3, 3), of(SteeringMethod::Ring(few)));
        for steered in [Steering::Auto, Steering::Queues, Steering::Ring] {
            assert_eq!(steering(steered, &vmxnet3, 1), of(SteeringMethod::OneWorker));
        }
    }

    #[test]
    fn the_log_says_the_steering_and_the_queues() {
        assert_eq!(
            Queues::of(Steering::Ring, &can("net_af_packet", 4, true), 2).words(),
            "ring as configured, receive queues: 4, transmit queues: 2"
        );
    }

    #[test]
    fn rings_are_counted_where_packets_are_handed_over() {
        let slots = |steering, can: &Capabilities| Queues::of(steering, can, 2).in_rings(2);
        assert_eq!(slots(Steering::Auto, &can("net_ice", 2, true)), 0);
        assert_eq!(slots(Steering::Ring, &can("net_ice", 2, true)), RING);
        assert_eq!(slots(Steering::Ring, &can("net_af_packet", 4, false)), 4 * RING);
    }
}
