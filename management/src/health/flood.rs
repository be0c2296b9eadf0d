//! Floods: many packets a second meet a limit or a full queue.

use std::time::Duration;

use guideway_api::Happening;
use guideway_core::balancer::Verdict;
use guideway_core::stats::{Event, Reader};

/// Packets a second that are a flood.
const MANY: u64 = 100;
/// A flood has ended after this time with fewer.
const QUIET: Duration = Duration::from_secs(5);

/// What counts packets that meet a limit or a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Verdict(Verdict),
    Event(Event),
}

impl Counter {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Counter> {
        const FULL: [&str; 6] = [
            "punt_queue_full",
            "reply_limited",
            "ring_full",
            "tx_full",
            "fragment_table_full",
            "fragment_buffer_full",
        ];
        let is_one = |verdict: &Verdict| {
            let name = verdict.name();
            name.starts_with("punt_limited_") || FULL.contains(&name)
        };
        let full = Counter::Event(Event::FlowTableFull);
        Verdict::all().filter(is_one).map(Counter::Verdict).chain([full])
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Counter::Verdict(verdict) => verdict.name(),
            Counter::Event(event) => event.name(),
        }
    }

    /// The sum over some workers.
    pub(super) fn read<'a>(self, workers: impl Iterator<Item = &'a Reader>) -> u64 {
        let of = |stats: &Reader| match self {
            Counter::Verdict(verdict) => stats.verdict(verdict),
            Counter::Event(event) => stats.event(event),
        };
        workers.map(of).fold(0, u64::wrapping_add)
    }
}

/// What a counter shows of floods.
#[derive(Clone, Debug, Default)]
pub(super) struct Flood {
    /// The counter, once it was read.
    last: Option<u64>,
    running: Option<Running>,
}

/// A flood that has begun.
#[derive(Clone, Debug, Default)]
struct Running {
    packets: u64,
    lasted: Duration,
    /// Since when there were fewer packets.
    quiet: Duration,
    /// How many those were.
    few: u64,
}

impl Flood {
    /// Notes the counter, some time after the last note. Returns what has happened.
    pub(super) fn note(
        &mut self,
        counter: &str,
        count: u64,
        passed: Duration,
    ) -> Option<Happening> {
        let packets = count.wrapping_sub(self.last.replace(count).unwrap_or(count));
        let many = u128::from(MANY) * passed.as_millis();
        let is_many = packets > 0 && u128::from(packets) * 1000 >= many;
        match (&mut self.running, is_many) {
            (None, false) => None,
            (None, true) => {
                self.running = Some(Running { packets, lasted: passed, ..Running::default() });
                Some(Happening::FloodBegan { counter: counter.to_owned(), packets })
            }
            (Some(running), true) => {
                running.packets += packets + std::mem::take(&mut running.few);
                running.lasted += passed + std::mem::take(&mut running.quiet);
                None
            }
            (Some(running), false) => {
                running.few += packets;
                running.quiet += passed;
                if running.quiet < QUIET {
                    return None;
                }
                let Running { packets, lasted, .. } = *running;
                self.running = None;
                let seconds = (lasted + Duration::from_millis(500)).as_secs();
                Some(Happening::FloodEnded { counter: counter.to_owned(), packets, seconds })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use guideway_core::stats;
    use guideway_core::stats::DropReason;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What is said when so many packets come in each second.
    fn said(seconds: &[u64]) -> Vec<String> {
        let mut flood = Flood::default();
        let mut count = u64::MAX - 7;
        assert_eq!(flood.note("c", count, SECOND), None);
        let mut said = Vec::new();
        for (second, packets) in seconds.iter().enumerate() {
            count = count.wrapping_add(*packets);
            said.extend(flood.note("c", count, SECOND).map(|happening| match happening {
                Happening::FloodBegan { packets, .. } => format!("{second}: began {packets}"),
                Happening::FloodEnded { packets, seconds, .. } => {
                    format!("{second}: ended {packets} {seconds}")
                }
                other => panic!("{other:?}"),
            }));
        }
        said
    }

    #[test]
    fn a_flood_begins_with_many_packets_and_ends_with_5_quiet_seconds() {
        assert_eq!(said(&[99, 0, 99]), [""; 0]);
        assert_eq!(said(&[100, 99, 1, 0, 0]), ["0: began 100"]);
        assert_eq!(said(&[100, 99, 1, 0, 0, 0]), ["0: began 100", "5: ended 100 1"]);
        // Quiet seconds in between belong to it.
        assert_eq!(
            said(&[7, 500, 0, 20, 0, 0, 300, 0, 0, 0, 0, 9, 200]),
            ["1: began 500", "11: ended 820 6", "12: began 200"]
        );
    }

    #[test]
    fn a_late_look_counts_packets_a_second() {
        let mut flood = Flood::default();
        flood.note("c", 0, SECOND);
        assert_eq!(flood.note("c", 150, 2 * SECOND), None);
        assert!(flood.note("c", 350, 2 * SECOND).is_some());
        // Several looks in one quiet time.
        assert_eq!(flood.note("c", 350, 4 * SECOND), None);
        assert_eq!(
            flood.note("c", 350, SECOND),
            Some(Happening::FloodEnded { counter: "c".into(), packets: 200, seconds: 2 })
        );
        assert_eq!(flood.note("c", 351, Duration::ZERO).map(|h| h.name()), Some("flood_began"));
    }

    #[test]
    fn what_was_counted_before_the_watch_is_no_flood() {
        assert_eq!(Flood::default().note("c", 1_000_000, SECOND), None);
    }

    #[test]
    fn limits_and_full_queues_are_watched() {
        let names: Vec<_> = Counter::all().map(Counter::name).collect();
        assert_eq!(
            names,
            [
                "ring_full",
                "tx_full",
                "reply_limited",
                "fragment_table_full",
                "fragment_buffer_full",
                "punt_limited_routing",
                "punt_limited_neighbor",
                "punt_limited_probe",
                "punt_limited_own",
                "punt_limited_link_local",
                "punt_limited_multicast",
                "punt_queue_full",
                "flow_table_full",
            ]
        );
        let (mut one, of_one) = stats::channel(0, 0);
        let (mut other, of_other) = stats::channel(0, 0);
        one.verdict(Verdict::Dropped(DropReason::RingFull), 3);
        other.verdict(Verdict::Dropped(DropReason::RingFull), 4);
        other.event(Event::FlowTableFull, 5);
        let workers = [of_one, of_other];
        let read: Vec<_> = Counter::all().map(|counter| counter.read(workers.iter())).collect();
        assert_eq!((read[0], read[12], read.iter().sum::<u64>()), (7, 5, 12));
    }
}
