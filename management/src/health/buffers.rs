//! Whether a pool of packet buffers has some left.

use guideway_api::Happening;

/// A pool, as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    free: u32,
    is_low: bool,
}

impl Level {
    /// Notes how many buffers of a pool are free. Returns what has happened to the pool.
    pub(super) fn note(&mut self, name: &str, free: u32, total: u32) -> Option<Happening> {
        self.free = free;
        let percent = u64::from(free) * 100;
        let (low, enough) = (u64::from(total) * 5, u64::from(total) * 10);
        let mempool = || name.to_owned();
        if !self.is_low && percent < low {
            self.is_low = true;
            return Some(Happening::BuffersLow { mempool: mempool(), free, total });
        }
        if self.is_low && percent > enough {
            self.is_low = false;
            return Some(Happening::BuffersRecovered { mempool: mempool(), free, total });
        }
        None
    }

    /// How many buffers are free, if there are few.
    pub(super) fn low(&self) -> Option<u32> {
        self.is_low.then_some(self.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_low_below_5_percent_and_until_10_percent() {
        let mut level = Level::default();
        let mut note = |free| {
            let happening = level.note("packets", free, 2000);
            (happening.map(|happening| happening.name()), level.low())
        };
        assert_eq!(note(2000), (None, None));
        assert_eq!(note(100), (None, None));
        assert_eq!(note(99), (Some("buffers_low"), Some(99)));
        assert_eq!(note(0), (None, Some(0)));
        assert_eq!(note(200), (None, Some(200)));
        assert_eq!(note(201), (Some("buffers_recovered"), None));
        assert_eq!(note(150), (None, None));
    }

    #[test]
    fn a_pool_without_buffers_is_not_low() {
        assert_eq!(Level::default().note("none", 0, 0), None);
        let happening = Level::default().note("packets", 1, u32::MAX);
        assert_eq!(
            happening,
            Some(Happening::BuffersLow { mempool: "packets".into(), free: 1, total: u32::MAX })
        );
    }
}
