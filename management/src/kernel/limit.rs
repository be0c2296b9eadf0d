//! How many events of neighbours are recorded: [`BURST`] at once, then [`PER_SECOND`]. The others are counted, and
//! one event a second says how many they were.
//!
//! Any host on a link can forge advertisements, and so make neighbours move back and forth at any rate. Without a limit
//! that would drive all other events out of memory.

use std::time::{Duration, Instant};

use guideway_api::Happening;

/// Neighbours at once: enough for a link that comes back.
const BURST: u32 = 1_000;
/// Neighbours a second after that.
const PER_SECOND: u32 = 10;
/// The time after which one more may be recorded.
const EACH: Duration = Duration::from_millis(1000 / PER_SECOND as u64);
/// The least time between two sums of those that were not recorded.
const SUM: Duration = Duration::from_secs(1);

/// What was recorded of neighbours.
#[derive(Debug, Default)]
pub(super) struct NewsLimit {
    /// When the whole burst is free again; `None` before the first.
    free: Option<Instant>,
    /// Those that were not recorded since the last sum.
    unrecorded: usize,
    summed: Option<Instant>,
}

impl NewsLimit {
    /// Of what has happened to neighbours, that which is recorded, and the sum of the others if it is due.
    pub(super) fn pass(&mut self, mut happenings: Vec<Happening>, now: Instant) -> Vec<Happening> {
        let free = self.free.map_or(now, |free| free.max(now));
        let used = (free - now).as_millis().div_ceil(EACH.as_millis());
        let left = BURST.saturating_sub(u32::try_from(used).unwrap_or(BURST));
        let passed = happenings.len().min(left as usize);
        self.unrecorded += happenings.len() - passed;
        happenings.truncate(passed);
        self.free = Some(free + EACH * u32::try_from(passed).unwrap_or(BURST));
        if self.unrecorded > 0 && self.summed.is_none_or(|summed| summed + SUM <= now) {
            self.summed = Some(now);
            let neighbors = std::mem::take(&mut self.unrecorded);
            happenings.push(Happening::NeighborStates { neighbors });
        }
        happenings
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn moved(count: u32) -> Vec<Happening> {
        let moved = |n: u32| Happening::NeighborMoved {
            port: "edge0".into(),
            vlan: None,
            address: Ipv4Addr::from(n).into(),
            from: String::new(),
            to: String::new(),
        };
        (0..count).map(moved).collect()
    }

    /// How many passed one by one, and the sum of the others.
    fn of(passed: &[Happening]) -> (usize, Option<usize>) {
        let single = passed.iter().filter(|event| event.name() == "neighbor_moved").count();
        let sum = passed.iter().find_map(|event| match event {
            Happening::NeighborStates { neighbors } => Some(*neighbors),
            _ => None,
        });
        assert_eq!(passed.len(), single + usize::from(sum.is_some()));
        (single, sum)
    }

    #[test]
    fn a_burst_passes_and_the_rest_is_summed() {
        let (mut limit, begin) = (NewsLimit::default(), Instant::now());
        let mut pass = |count, ms| of(&limit.pass(moved(count), begin + Duration::from_millis(ms)));
        assert_eq!(pass(0, 0), (0, None));
        assert_eq!(pass(1500, 0), (1000, Some(500)));
        assert_eq!(pass(7, 500), (5, None), "no sum yet");
        assert_eq!(pass(0, 999), (0, None));
        assert_eq!(pass(0, 1000), (0, Some(2)));
        assert_eq!(pass(0, 9000), (0, None));
        assert_eq!(pass(1500, 200_000), (1000, Some(500)));
    }

    #[test]
    fn neighbors_that_move_for_a_minute_leave_room_for_others() {
        let (mut limit, begin) = (NewsLimit::default(), Instant::now());
        let (mut recorded, mut told) = (0, 0);
        for round in 0..12_000_u64 {
            let passed = limit.pass(moved(200), begin + Duration::from_millis(round * 5));
            let (single, sum) = of(&passed);
            recorded += passed.len();
            told += single + sum.unwrap_or(0);
        }
        assert!((1590..=1665).contains(&recorded), "{recorded} in a minute");
        assert_eq!(told + limit.unrecorded, 12_000 * 200);
    }
}
