//! The time of the wall clock, which restarts of the daemon and of the machine do not set back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds from 1970 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// The time now.
    pub fn now() -> Wall {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time some time later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Wall {
        Wall(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this, none if that is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
