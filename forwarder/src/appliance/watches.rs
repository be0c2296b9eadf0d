//! The watches of the ports, each on a thread of its own.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::warn;

use super::link::{Watch, Watched};
use super::mode::Run;
use super::ports::RunningPort;
use super::rss_watch::{Polling, RssWatch, WatchedPort};
use crate::kernel::{self, Keeper};
use crate::probing;
use guideway_chassis::event::Recorder;
use guideway_core::stats::Reader;
use guideway_management::manager::{Changes, Published};

/// The watches that run. None in a replay.
#[derive(Default)]
pub(super) struct Watches {
    links: Option<Watch>,
    queues: Option<RssWatch>,
}

impl Watches {
    /// Starts both, in a live run. The watch of links keeps the interfaces of ports and probes in line with what is
    /// `published`, tells the manager of `changes` of links, and records `events`. `workers` are the counters of
    /// the workers, which have not begun.
    /// Also returns the counters of the watch of links. The appliance runs without a watch that does
    /// not start.
    pub(super) fn start(
        run: &Run,
        ports: &[RunningPort],
        (interfaces, probes): (Vec<Option<kernel::Interface>>, Option<probing::Keeper>),
        (published, changes, events): (&Arc<ArcSwap<Published>>, &Changes, &Recorder),
        workers: &[Reader],
    ) -> (Watches, Option<Reader>) {
        if !run.live {
            return (Watches::default(), None);
        }
        let configuration = Arc::clone(&published.load().configuration);
        let keepers = configuration.ports.iter().zip(ports).zip(interfaces).map(
            |((port, running), interface)| {
                Some(Keeper::new(port, running.can.mac, interface?, events.clone()))
            },
        );
        let watched = ports.iter().zip(keepers).map(link).collect();
        let (published, changes) = (Arc::clone(published), changes.clone());
        let (links, counters) = Watch::start((watched, probes), published, changes, events.clone())
            .inspect_err(|error| warn!("the links of the ports are not watched: {error}"))
            .map_or((None, None), |(watch, counters)| (Some(watch), Some(counters)));
        let queues = RssWatch::start(ports.iter().map(queues).collect(), workers.to_vec())
            .inspect_err(|error| warn!("the queues of the ports are not watched: {error}"))
            .unwrap_or_default();
        (Watches { links, queues }, counters)
    }

    /// Ends both. Call this before the ports are closed.
    pub(super) fn stop(self) {
        if let Some(links) = self.links {
            links.stop();
        }
        if let Some(queues) = self.queues {
            queues.stop();
        }
    }
}

fn link((port, keeper): (&RunningPort, Option<Keeper>)) -> Watched {
    Watched {
        name: port.name.clone(),
        port: Arc::downgrade(&port.device),
        changes: port.device.link_changes().and_then(|fd| fd.try_clone_to_owned().ok()),
        index: port.can.interface,
        interface: port.interface.clone(),
        keeper,
    }
}

fn queues(port: &RunningPort) -> WatchedPort {
    let data_queues = usize::from(port.queues.receive);
    let pollers = port.pollers.iter().copied().take(data_queues).collect();
    WatchedPort {
        name: port.name.clone(),
        port: Arc::downgrade(&port.device),
        polling: Polling { pollers, divides: port.queues.divides },
        crowded_queue: port.crowded_queue.clone(),
    }
}
