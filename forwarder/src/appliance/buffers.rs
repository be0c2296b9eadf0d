//! The number of packet buffers, the size of each, and their pools.

use tracing::warn;

use super::umem::UmemBuffers;
use super::wiring::{self, Queues};
use crate::dpdk::port::Facts;
use crate::dpdk::{self, Eal, Mempool};
use guideway_config::Configuration;

/// Buffers in a thread's cache.
const POOL_CACHE: u32 = 256;
/// Buffers beyond the known needs: bursts in the workers' hands.
const SPARE: u32 = 4096;

/// The number of buffers of a pool, and the bytes of each. A pool has a buffer for every packet
/// that queues, rings, caches and fragments can hold at the same time. It has more if configured,
/// because a driver may keep buffers of its own.
///
/// A device may free the buffers of another's packets, and a worker holds those of any. So where
/// each NUMA node has a pool, each pool is as large as if it were the only one.
pub(super) fn needed<'a>(
    configuration: &Configuration,
    devices: impl Iterator<Item = (Facts, &'a Queues)>,
    workers: u16,
    umem_buffers: &UmemBuffers,
) -> (u32, u16) {
    // Only a part of the rings for exceptions is in use at a time.
    let siblings = u32::from(workers) * u32::from(workers - 1) * wiring::SMALL_RING / 4;
    let fragments = u32::try_from(configuration.fragments.packets).unwrap_or(u32::MAX);
    let mut buffers =
        u32::from(workers) * (2 * POOL_CACHE).saturating_add(fragments) + siblings + SPARE;
    let mut room = 0;
    for (port, (facts, queues)) in configuration.ports.iter().zip(devices) {
        room = room.max(facts.room(port.mtu));
        buffers += u32::from(queues.receive) * u32::from(port.rx_descriptors)
            + u32::from(queues.transmit) * u32::from(port.tx_descriptors)
            + queues.in_rings(workers);
    }
    let buffers =
        (buffers + umem_buffers.kept + umem_buffers.unsent).max(configuration.dpdk.buffers);
    (buffers, room.saturating_add(umem_buffers.headroom))
}

/// Makes the pool of a NUMA node. `node` is `None` afterwards if DPDK has no memory there.
pub(super) fn pool(
    eal: &Eal,
    buffers: u32,
    data_room: u16,
    in_pages: bool,
    node: &mut Option<u32>,
) -> Result<Mempool, dpdk::Error> {
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
