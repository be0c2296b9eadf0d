//! Events: what happens is recorded, logged, and read by clients.
//!
//! A [`Recorder`] numbers what happened, keeps it in the [`Ring`] and logs it. Any thread of the daemon may record
//! and none waits: the lock is held for a few moves of memory. No worker records; workers count.

mod ring;

use std::sync::Arc;
use std::time::SystemTime;

use guideway_api::{Happening, KEPT_EVENTS, Severity};

pub use ring::{Batch, Ring};

/// Records what happens. Clones record into the same ring.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Ring>);

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder(Arc::new(Ring::new(KEPT_EVENTS)))
    }
}

impl Recorder {
    /// Records what has happened just now, and logs it.
    pub fn record(&self, happening: Happening) {
        log(&happening);
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        self.0.push(time, happening);
    }

    /// What was recorded.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.0
    }
}

fn log(happening: &Happening) {
    let (event, fields) = (happening.name(), serde_json::to_string(happening).unwrap_or_default());
    match happening.severity() {
        Severity::Error => tracing::error!(event, "{fields}"),
        Severity::Warning => tracing::warn!(event, "{fields}"),
        Severity::Info => tracing::info!(event, "{fields}"),
    }
}
