//! The number of packet buffers, the size of each, and their pools.

use tracing::warn;

use super::mode::Run;
use super::placement::MempoolPlacement;
use super::probe::ProbedPort;
use super::umem::UmemBuffers;
use super::wiring;
use crate::dpdk::{Eal, Mempool, Result};
use guideway_config::Configuration;
use guideway_core::balancer::id::PortIndex;
use guideway_management::daemon;

/// Buffers in a thread's cache.
const POOL_CACHE: u32 = 256;
/// Buffers beyond the known needs: bursts in the workers' hands.
const SPARE: u32 = 4096;

/// The packet pools of a run.
pub(super) struct Pools {
    pools: Vec<Mempool>,
    placement: MempoolPlacement,
    umem_buffers: UmemBuffers,
}

impl Pools {
    /// Makes a pool on each NUMA node that needs one.
    pub(super) fn new(
        eal: &Eal,
        configuration: &Configuration,
        run: &Run,
        probed: &[ProbedPort],
    ) -> Result<Pools> {
        let devices: Vec<_> = probed.iter().map(|port| port.can.socket).collect();
        let workers: Vec<_> = run.cpus.iter().map(|cpu| cpu.and_then(|cpu| cpu.node)).collect();
        let nodes_count = run.live && configuration.dpdk.hugepages;
        let mut placement = MempoolPlacement::new(&devices, &workers, nodes_count);
        let ports = configuration.ports.iter().zip(probed);
        let umem_buffers = UmemBuffers::of(
            ports.map(|(port, probed)| (probed.can.umem, &probed.queues, port.rx_descriptors)),
        );
        let (buffers, data_room) = needed(configuration, probed, run, &umem_buffers);
        let nodes = placement.nodes.iter_mut();
        let pools = nodes.map(|node| pool(eal, buffers, data_room, umem_buffers.any, node));
        let pools = pools.collect::<Result<_>>()?;
        Ok(Pools { pools, placement, umem_buffers })
    }

    /// Whether all ports and workers share one pool.
    pub(super) fn is_one(&self) -> bool {
        self.pools.len() == 1
    }

    /// The pool that a port receives into.
    pub(super) fn of_port(&self, index: PortIndex) -> &Mempool {
        &self.pools[self.placement.of_port[usize::from(index.0)]]
    }

    /// The pool that a worker allocates packets from.
    pub(super) fn of_worker(&self, index: u16) -> &Mempool {
        &self.pools[self.placement.of_worker[usize::from(index)]]
    }

    /// The NUMA node of each worker's pool.
    pub(super) fn nodes_of_workers(&self) -> Vec<Option<u32>> {
        self.placement.of_worker.iter().map(|&pool| self.placement.nodes[pool]).collect()
    }

    /// What the daemon may ask about the pools. This keeps them.
    pub(super) fn views(&self) -> Vec<daemon::Buffers> {
        let view = |pool: &Mempool| {
            let (name, total, pool) = (pool.name().to_owned(), pool.capacity(), pool.clone());
            let probe = Box::new(move || total.saturating_sub(pool.in_use()));
            daemon::Buffers { name, total, probe }
        };
        self.pools.iter().map(view).collect()
    }

    /// The buffers that are missing when all devices are closed, see [`UmemBuffers::account`].
    pub(super) fn account(&self) -> (u32, u32, u32) {
        self.umem_buffers.account(self.pools.iter().map(Mempool::in_use).sum())
    }
}

/// The number of buffers of a pool, and the bytes of each. A pool has a buffer for every packet
/// that queues, rings, caches and fragments can hold at the same time. It has more if configured,
/// because a driver may keep buffers of its own.
///
/// A device may free the buffers of another's packets, and a worker holds those of any. So where
/// each NUMA node has a pool, each pool is as large as if it were the only one.
fn needed(
    configuration: &Configuration,
    probed: &[ProbedPort],
    run: &Run,
    umem_buffers: &UmemBuffers,
) -> (u32, u16) {
    let workers = run.workers;
    // Only a part of the rings for exceptions is in use at a time.
    let siblings = u32::from(workers) * u32::from(workers - 1) * wiring::SMALL_RING / 4;
    let fragments = u32::try_from(configuration.fragments.packets).unwrap_or(u32::MAX);
    let mut buffers =
        u32::from(workers) * (2 * POOL_CACHE).saturating_add(fragments) + siblings + SPARE;
    let interfaces = run.interfaces(configuration);
    if interfaces > 0 {
        // The thread that serves the kernel has a cache too.
        buffers += wiring::in_kernel_rings(workers, interfaces) + 2 * POOL_CACHE;
    }
    let mut room = 0;
    for (port, ProbedPort { can, queues, .. }) in configuration.ports.iter().zip(probed) {
        room = room.max(can.facts.room(port.mtu));
        buffers += queues.most_receive() * u32::from(port.rx_descriptors)
            + u32::from(queues.transmit) * u32::from(port.tx_descriptors)
            + queues.in_rings(workers);
    }
    let buffers =
        (buffers + umem_buffers.kept + umem_buffers.unsent).max(configuration.dpdk.buffers);
    (buffers, room.saturating_add(umem_buffers.headroom))
}

/// Makes the pool of a NUMA node. `node` is `None` afterwards if DPDK has no memory there.
fn pool(
    eal: &Eal,
    buffers: u32,
    data_room: u16,
    in_pages: bool,
    node: &mut Option<u32>,
) -> Result<Mempool> {
    let name = node.map_or_else(|| "packets".to_owned(), |node| format!("packets{node}"));
    let make = if in_pages { Mempool::in_pages } else { Mempool::new };
    let new = |node| make(eal, &name, buffers, data_room, POOL_CACHE, node);
    new(*node).or_else(|error| match node.take() {
        None => Err(error),
        Some(node) => {
            warn!("the packets of NUMA node {node} lie wherever there is memory: {error}");
            new(None)
        }
    })
}
