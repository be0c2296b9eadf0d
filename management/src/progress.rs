//! How far the workers are.

use guideway_core::stats::{Gauge, Reader};

/// The lowest generations that all workers have reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every worker runs tables of this generation or a newer one.
    pub generation: u64,
    /// No worker has a flow of a backend or of a service that was removed before this generation.
    pub swept: u64,
}

impl Progress {
    /// The progress of these workers.
    pub fn of<'a>(workers: impl Iterator<Item = &'a Reader> + Clone) -> Progress {
        let least = |gauge| workers.clone().map(|stats| stats.gauge(gauge)).min().unwrap_or(0);
        Progress { generation: least(Gauge::Generation), swept: least(Gauge::SweptGeneration) }
    }
}
