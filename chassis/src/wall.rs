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

    /// The time as requests and events give it: RFC 3339 in UTC, with milliseconds.
    pub fn rfc3339(self) -> String {
        /// The last millisecond of the year 9999, behind which there is no such text.
        const LAST: u64 = 253_402_300_799_999;
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(LAST));
        humantime::format_rfc3339_millis(time).to_string()
    }

    /// The time from `earlier` to this, none if that is later.
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_has_a_text() {
        assert_eq!(Wall(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Wall(1_767_323_045_678).rfc3339(), "2026-01-02T03:04:05.678Z");
        assert_eq!(Wall(u64::MAX).rfc3339(), "9999-12-31T23:59:59.999Z");
    }
}
