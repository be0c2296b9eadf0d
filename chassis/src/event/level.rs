//! The level of the log. The program owns the log; the daemon reads and sets its level.

use std::sync::Arc;

use guideway_api::LogLevel;

/// Reads and sets the level of the log.
#[derive(Clone)]
pub struct Level(Arc<dyn Fn(Option<LogLevel>) -> LogLevel + Send + Sync>);

impl Level {
    /// A level that `change` sets, if it is given one; it returns the level in force.
    pub fn new(change: impl Fn(Option<LogLevel>) -> LogLevel + Send + Sync + 'static) -> Level {
        Level(Arc::new(change))
    }

    /// The level in force.
    pub fn now(&self) -> LogLevel {
        (self.0)(None)
    }

    /// Sets a level, and returns the level in force.
    pub fn set(&self, level: LogLevel) -> LogLevel {
        (self.0)(Some(level))
    }
}

/// A level that nothing can change, as of a replay.
impl Default for Level {
    fn default() -> Level {
        Level::new(|_| LogLevel::Info)
    }
}
