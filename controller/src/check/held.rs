//! Results that wait: failures, which may turn out to be the forwarder's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::state::ProbeResult;
use super::target::TargetKey;

/// The results, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Held {
    results: VecDeque<(Instant, TargetKey, ProbeResult)>,
    /// The targets that have any, and how many.
    targets: BTreeMap<TargetKey, usize>,
}

impl Held {
    /// Holds a result until then.
    pub(super) fn push(&mut self, until: Instant, key: TargetKey, result: ProbeResult) {
        *self.targets.entry(key.clone()).or_default() += 1;
        self.results.push_back((until, key, result));
    }

    /// The next result that has waited long enough.
    pub(super) fn next(&mut self, now: Instant) -> Option<(TargetKey, ProbeResult)> {
        self.due().filter(|&due| due <= now)?;
        let (_, key, result) = self.results.pop_front()?;
        if let Some(count) = self.targets.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.targets.remove(&key);
            }
        }
        Some((key, result))
    }

    /// When the next one has waited long enough. After a reload with another `announce.stall` one may wait for those before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.results.front().map(|&(until, ..)| until)
    }

    /// Takes the results of a target, whether they have waited or not.
    pub(super) fn of(&mut self, key: &TargetKey) -> Vec<ProbeResult> {
        if self.targets.remove(key).is_none() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.results.retain(|(_, of, result)| {
            let is_of = of == key;
            if is_of {
                found.push(result.clone());
            }
            !is_of
        });
        found
    }

    /// Drops all results: they were the forwarder's.
    pub(super) fn clear(&mut self) {
        self.results.clear();
        self.targets.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use guideway_api::CheckCode;

    use super::*;
    use crate::check::testing::tunnel_plan;

    fn result(code: CheckCode) -> ProbeResult {
        ProbeResult { code, status: None, detail: "".into(), latency: Duration::ZERO }
    }

    #[test]
    fn results_come_when_they_have_waited_in_their_order() {
        let plan = tunnel_plan(2);
        let keys: Vec<_> = plan.targets.keys().collect();
        let (mut held, now) = (Held::default(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        held.push(after(10), keys[0].clone(), result(CheckCode::L4Tout));
        held.push(after(20), keys[1].clone(), result(CheckCode::L4Con));
        held.push(after(30), keys[0].clone(), result(CheckCode::L7Sts));
        assert_eq!(held.due(), Some(after(10)));
        assert!(held.next(after(9)).is_none());
        assert_eq!(held.next(after(10)).unwrap().1.code, CheckCode::L4Tout);
        assert!(held.next(after(10)).is_none());
        let codes: Vec<_> = held.of(keys[0]).iter().map(|result| result.code).collect();
        assert_eq!(codes, [CheckCode::L7Sts]);
        assert!(held.of(keys[0]).is_empty());
        assert_eq!(held.targets.len(), 1);
        assert_eq!(held.next(after(99)).unwrap().0, *keys[1]);
        held.push(after(40), keys[0].clone(), result(CheckCode::L4Tout));
        held.clear();
        assert_eq!(held.due(), None);
        assert!(held.targets.is_empty());
    }
}
