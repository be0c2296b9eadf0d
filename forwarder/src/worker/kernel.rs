//! A worker's ends of the queues to and from the thread `kernel`.

use std::sync::Arc;

use crate::dpdk::{Burst, OwnedMbuf, ring};
use crate::kernel::{Counters, Doorbell, mark};
use guideway_core::balancer::DropReason;
use guideway_core::balancer::id::PortIndex;
use guideway_core::balancer::punt::Class;
use guideway_core::stats::Writer;
use guideway_management::daemon::Probing;

use super::io::Output;
use super::ring_queue::RingQueue;

/// What connects a worker with the kernel. The default is no connection.
#[derive(Default)]
pub struct KernelEnds {
    /// What the worker gives to the kernel.
    pub punts: Punts,
    /// What the kernel sends by this worker's transmit queues.
    pub relays: Vec<KernelRelay>,
    /// The packets of the node's probes, for the worker that sends them.
    pub probes: Option<ProbeRelay>,
    /// Wakes the worker, if the kernel sends by it.
    pub doorbell: Option<Arc<Doorbell>>,
}

/// The queues to the kernel.
#[derive(Default)]
pub struct Punts {
    /// For each class a ring, or one ring for all. Without a ring, frames are dropped: in a replay
    /// whose punted frames nobody wants.
    pub rings: Vec<RingQueue>,
    /// Wakes the thread.
    pub doorbell: Option<Arc<Doorbell>>,
    /// The counters of each port.
    pub counters: Vec<Arc<Counters>>,
}

impl Punts {
    /// Gives a frame of a port to the kernel.
    ///
    /// # Errors
    /// There is no room, and the frame was dropped.
    #[cold]
    pub(super) fn punt(
        &mut self,
        port: PortIndex,
        class: Class,
        mut mbuf: OwnedMbuf,
    ) -> Result<(), DropReason> {
        let last = self.rings.len().saturating_sub(1);
        let Some(ring) = self.rings.get_mut(class.index().min(last)) else { return Ok(()) };
        mark(&mut mbuf, port);
        let mut burst = Burst::new();
        // A burst has room for one.
        let _ = burst.push(mbuf);
        let is_taken = ring.send(&mut burst) > 0;
        if let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        }
        if is_taken {
            return Ok(());
        }
        if let Some(counters) = self.counters.get(usize::from(port.0)) {
            counters.queue_full();
        }
        Err(DropReason::PuntQueueFull)
    }

    /// Sends frames that wait for room in a ring. Returns whether any still wait.
    pub(super) fn retry(&mut self) -> bool {
        let waits = self.rings.iter_mut().fold(false, |waits, ring| ring.retry() | waits);
        if let Some(doorbell) = self.doorbell.as_ref().filter(|_| waits) {
            doorbell.ring();
        }
        waits
    }

    /// Whether a burst fits, whatever its classes.
    pub(super) fn has_room(&self) -> bool {
        self.rings.iter().all(RingQueue::has_room)
    }
}

/// A ring from the thread to a transmit queue of this worker.
pub struct KernelRelay {
    /// The port by which the frames leave.
    pub port: PortIndex,
    /// The ring.
    pub ring: ring::Receiver,
    /// The port's counters.
    pub counters: Arc<Counters>,
}

impl KernelRelay {
    /// Passes a burst of waiting frames on to the port. Returns whether there were any.
    pub(super) fn pass(&mut self, outputs: &mut [Output], stats: &mut Writer) -> bool {
        if self.ring.is_empty() {
            return false;
        }
        let output = &mut outputs[usize::from(self.port.0)];
        let refused = output.send_of_kernel(&mut self.ring, stats);
        if refused > 0 {
            self.counters.not_sent(refused);
        }
        true
    }
}

/// A ring from the thread to the worker that sends the packets of the node's probes.
pub struct ProbeRelay {
    /// The ring.
    pub ring: ring::Receiver,
    /// Counts what becomes of them.
    pub counters: Arc<Probing>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{eal, packets, pool, unique};

    #[test]
    fn a_punted_frame_waits_in_the_ring_of_its_class_or_in_the_only_one() {
        let pool = pool(255);
        for rings in [Class::ALL.len(), 1] {
            let (mut punts, mut ends) = (Punts::default(), Vec::new());
            for _ in 0..rings {
                let (to, from) = ring::channel(eal(), &unique("punt"), 32, None).unwrap();
                punts.rings.push(RingQueue::new(to, false));
                ends.push(from);
            }
            assert_eq!(Class::ALL.len(), 6, "a packet for each class is made below");
            for (class, mbuf) in Class::ALL.iter().zip(packets(&pool, 6).drain()) {
                punts.punt(PortIndex(7), *class, mbuf).unwrap();
            }
            let mut burst = Burst::new();
            for end in &mut ends {
                assert_eq!(end.receive(&mut burst), Class::ALL.len() / rings);
                assert!(burst.iter().all(|mbuf| mbuf.metadata() == Some([7, 0])));
            }
        }
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_frame_without_room_is_counted_for_its_port() {
        let pool = pool(255);
        let counters = [Arc::<Counters>::default(), Arc::default()];
        let (to, _from) = ring::channel(eal(), &unique("punt"), 32, None).unwrap();
        let rings = vec![RingQueue::new(to, false)];
        let mut punts = Punts { rings, doorbell: None, counters: counters.to_vec() };
        for number in 0..40 {
            let mbuf = packets(&pool, 1).drain().next().unwrap();
            let result = punts.punt(PortIndex(1), Class::Own, mbuf);
            assert_eq!(result.is_ok(), number < 31);
        }
        assert_eq!(counters.each_ref().map(|c| c.read().to_kernel_queue_full), [0, 9]);
        let mut nobody = Punts::default();
        let mbuf = packets(&pool, 1).drain().next().unwrap();
        assert_eq!(nobody.punt(PortIndex(0), Class::Own, mbuf), Ok(()));
        drop(punts);
        assert_eq!(pool.in_use(), 31, "the other end of the ring is still there");
    }
}
