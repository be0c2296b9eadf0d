//! Watches whether devices spread flows over their receive queues, on a thread of its own.
//!
//! A device may offer RSS and yet deliver everything to one queue, as net_vmxnet3 does on a host
//! that emulates it. Then one worker does all the work, although `STEERING` claims otherwise. The
//! watch reports a crowded queue once, when at least [`FLOWS`] new flows came to one queue of a
//! port within [`SPAN`] periods and no packet came to another.
//!
//! Workers count new flows of all ports together. So packets of other ports, each of which may have
//! begun a flow, are subtracted. The remaining flows certainly came by this port.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use guideway_api as api;
use tracing::{error, warn};

use crate::dpdk::port::{Port, Started};
use guideway_core::balancer::FlowEvent;
use guideway_core::stats::Reader;

/// New flows that do not come to one queue by chance if a device spreads them.
const FLOWS: u64 = 64;
/// How often the counters are sampled.
const PERIOD: Duration = Duration::from_secs(1);
/// The number of periods in which the flows must come.
const SPAN: usize = 10;

/// The crowded queue of a port, which the watch sets and listings read.
#[derive(Clone, Debug, Default)]
pub(super) struct CrowdedQueue(Arc<OnceLock<api::CrowdedQueue>>);

impl CrowdedQueue {
    /// The crowded queue, once there is one.
    pub(super) fn get(&self) -> Option<api::CrowdedQueue> {
        self.0.get().copied()
    }
}

/// A port to watch.
pub(super) struct WatchedPort {
    pub(super) name: String,
    pub(super) port: Weak<Port<Started>>,
    pub(super) polling: Polling,
    pub(super) crowded_queue: CrowdedQueue,
}

/// Which workers poll a port.
#[derive(Clone, Debug)]
pub(super) struct Polling {
    /// The worker of each receive queue.
    pub(super) pollers: Vec<usize>,
    /// The workers hand packets to the owners of their flows.
    pub(super) divides: bool,
}

/// The running watch.
pub(super) struct RssWatch {
    thread: JoinHandle<()>,
    _stop: Sender<()>,
}

impl RssWatch {
    /// Watches these ports. `workers` are the counters of the workers, which have not begun.
    /// Returns `None` if no device should spread flows.
    pub(super) fn start(
        ports: Vec<WatchedPort>,
        workers: Vec<Reader>,
    ) -> io::Result<Option<RssWatch>> {
        let spreads = |port: &WatchedPort| !port.polling.divides && port.polling.pollers.len() > 1;
        if workers.len() < 2 || !ports.iter().any(spreads) {
            return Ok(None);
        }
        let (stop, stopped) = bounded(0);
        // Sample before the workers begin.
        let first = Sample::at(&ports, &workers);
        let run = move || run(&ports, &workers, first, &stopped);
        let thread = thread::Builder::new().name("spread".into()).spawn(run)?;
        Ok(Some(RssWatch { thread, _stop: stop }))
    }

    /// Ends the watch. Call this before the ports are closed.
    pub(super) fn stop(self) {
        let RssWatch { thread, _stop: stop } = self;
        drop(stop);
        if thread.join().is_err() {
            error!("the watch of the queues panicked");
        }
    }
}

fn run(ports: &[WatchedPort], workers: &[Reader], first: Sample, stopped: &Receiver<()>) {
    let polling: Vec<Polling> = ports.iter().map(|port| port.polling.clone()).collect();
    let mut samples = VecDeque::from([first]);
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let now = Sample::at(ports, workers);
        for (index, port) in ports.iter().enumerate() {
            let Some(crowded) = now.crowded(&samples[0], &polling, index) else { continue };
            let api::CrowdedQueue { queue, flows } = crowded;
            if port.crowded_queue.0.set(crowded).is_ok() {
                warn!(
                    "port \"{}\": {flows} new flows came to receive queue {queue} and none to the other {}: \
                     the device does not spread flows, and one worker does all the work; set port.steering \
                     = \"ring\"",
                    port.name,
                    port.polling.pollers.len() - 1
                );
            }
        }
        samples.push_back(now);
        if samples.len() > SPAN {
            samples.pop_front();
        }
    }
}

/// Counters at one time, or a few packets apart.
#[derive(Clone, Debug)]
struct Sample {
    /// Packets received, by port and queue.
    packets: Vec<Vec<u64>>,
    /// New flows, by worker.
    flows: Vec<u64>,
}

impl Sample {
    fn at(ports: &[WatchedPort], workers: &[Reader]) -> Sample {
        let begun = |stats: &Reader| {
            let events = [FlowEvent::New, FlowEvent::NewDisplacing];
            events.map(|event| stats.event(event.into())).iter().sum()
        };
        let flows = workers.iter().map(begun).collect();
        let received = |port: &WatchedPort| port.port.upgrade().map(|port| port.received());
        Sample {
            packets: ports.iter().map(|port| received(port).unwrap_or_default()).collect(),
            flows,
        }
    }

    /// The queue of a port that got all packets since `before`, and the least number of flows that
    /// began there. `None` if there is no such queue or there are too few flows.
    fn crowded(&self, before: &Sample, all: &[Polling], port: usize) -> Option<api::CrowdedQueue> {
        let polling = &all[port];
        if polling.divides || polling.pollers.len() < 2 {
            return None;
        }
        let came = |port: usize, queue: usize| {
            let count =
                |sample: &Sample| sample.packets[port].get(queue).copied().unwrap_or_default();
            count(self).wrapping_sub(count(before))
        };
        let mut busy = (0..polling.pollers.len()).filter(|&queue| came(port, queue) > 0);
        let queue = busy.next()?;
        if busy.next().is_some() {
            return None;
        }
        let worker = polling.pollers[queue];
        let mut others = 0;
        for (other, polling) in all.iter().enumerate().filter(|(other, _)| *other != port) {
            let to_worker = |&(_, poller): &(usize, &usize)| polling.divides || *poller == worker;
            let queues = polling.pollers.iter().enumerate().filter(to_worker);
            others += queues.map(|(queue, _)| came(other, queue)).sum::<u64>();
        }
        let flows = self.flows[worker].wrapping_sub(before.flows[worker]).saturating_sub(others);
        let queue = u16::try_from(queue).ok()?;
        (flows >= FLOWS).then_some(api::CrowdedQueue { queue, flows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(pollers: &[usize]) -> Polling {
        Polling { pollers: pollers.to_vec(), divides: false }
    }

    fn sample(packets: &[&[u64]], flows: &[u64]) -> Sample {
        Sample {
            packets: packets.iter().map(|queues| queues.to_vec()).collect(),
            flows: flows.to_vec(),
        }
    }

    fn crowded(queue: u16, flows: u64) -> Option<api::CrowdedQueue> {
        Some(api::CrowdedQueue { queue, flows })
    }

    #[test]
    fn many_flows_on_one_queue_are_noticed() {
        let before = sample(&[&[1000, 900]], &[50, 60]);
        let found = |packets: [u64; 2], flows: [u64; 2]| {
            sample(&[&packets], &flows).crowded(&before, &[spread(&[0, 1])], 0)
        };
        assert_eq!(found([1064, 900], [114, 60]), crowded(0, 64));
        assert_eq!(found([1000, 980], [50, 140]), crowded(1, 80));
        assert_eq!(found([1063, 900], [113, 60]), None, "too few");
        assert_eq!(found([9000, 900], [51, 60]), None, "an elephant");
        assert_eq!(found([1064, 901], [114, 60]), None, "the other queue gets packets");
        assert_eq!(found([1000, 900], [114, 60]), None, "nothing came at all");
    }

    #[test]
    fn flows_that_another_port_may_have_brought_do_not_count() {
        let before = sample(&[&[0, 0], &[0, 0]], &[0, 0]);
        // Port 1 begins with worker 1.
        let polling = [spread(&[0, 1]), spread(&[1, 0])];
        let now = sample(&[&[500, 0], &[300, 100]], &[200, 300]);
        assert_eq!(now.crowded(&before, &polling, 0), crowded(0, 100));
        assert_eq!(now.crowded(&before, &polling, 1), None);
        let ring = [polling[0].clone(), Polling { pollers: vec![1], divides: true }];
        let now = sample(&[&[500, 0], &[150]], &[200, 0]);
        assert_eq!(now.crowded(&before, &ring, 0), None, "a ring brings flows to any worker");
        assert_eq!(
            sample(&[&[500, 0], &[136]], &[200, 0]).crowded(&before, &ring, 0),
            crowded(0, 64)
        );
    }

    #[test]
    fn only_ports_that_should_spread_flows_are_judged() {
        let before = sample(&[&[0, 0]], &[0, 0]);
        let now = sample(&[&[100, 0]], &[100, 0]);
        for pollers in [vec![0], vec![0, 1]] {
            let ring = [Polling { pollers, divides: true }];
            assert_eq!(now.crowded(&before, &ring, 0), None);
        }
        assert_eq!(now.crowded(&before, &[spread(&[0])], 0), None);
    }
}
