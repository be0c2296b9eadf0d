//! The order in which candidates take turns to claim slots.
//!
//! A candidate of weight w has a turn in every round in which `round * w` reaches another multiple of the largest
//! weight, until it has used up its quota. So its k-th turn is in round `ceil(k * heaviest / w)`. Turns are
//! ordered by round and then by candidate. With equal weights every candidate has a turn in every round, and no
//! list is needed.

/// All turns, as many as there are slots, in their order.
#[derive(Debug)]
pub(super) enum Turns {
    /// So many candidates, one after another, again and again.
    Cyclic(u32),
    /// The candidate of each turn.
    Listed(Vec<u32>),
}

/// The turns of candidates of these weights, none of which is 0, for a table of `size` slots.
pub(super) fn turns(size: u32, weights: &[u32]) -> Turns {
    let heaviest = weights.iter().copied().max().unwrap_or(0);
    if weights.iter().all(|&weight| weight == heaviest) {
        #[expect(clippy::cast_possible_truncation, reason = "candidates have 32-bit numbers")]
        return Turns::Cyclic(weights.len() as u32);
    }
    let candidates = (0u32..).zip(weights.iter().zip(quotas(size, weights)));
    let rounds = candidates.map(|(candidate, (&weight, quota))| TurnOrder {
        candidate,
        weight,
        quota,
        heaviest,
    });
    let last = rounds.clone().filter_map(|r| r.last()).max().unwrap_or(0);
    // A table with a slot for every candidate, which the configuration demands, is below this.
    match usize::try_from(last) {
        Ok(last) if last <= 4 * size as usize => Turns::Listed(counted(size, last, rounds)),
        _ => {
            let all = rounds.flat_map(|r| r.all().map(move |round| (round, r.candidate)));
            let mut all: Vec<(u64, u32)> = all.collect();
            all.sort_unstable();
            Turns::Listed(all.into_iter().map(|(_, candidate)| candidate).collect())
        }
    }
}

/// The rounds of one candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnOrder {
    pub(super) candidate: u32,
    pub(super) weight: u32,
    /// How many turns it has.
    pub(super) quota: u32,
    /// The largest weight of all candidates.
    pub(super) heaviest: u32,
}

impl TurnOrder {
    /// The round of each of its turns: `ceil(k * heaviest / weight)` for k from 1 to the quota, without a
    /// division for each.
    pub(super) fn all(self) -> impl Iterator<Item = u64> {
        let weight = u64::from(self.weight);
        let (whole, part) = (u64::from(self.heaviest) / weight, u64::from(self.heaviest) % weight);
        let (mut round, mut parts) = (0, 0);
        (0..self.quota).map(move |_| {
            round += whole;
            parts += part;
            if parts >= weight {
                parts -= weight;
                round += 1;
            }
            round + u64::from(parts > 0)
        })
    }

    /// The round of its last turn; `None` if it has no turn.
    fn last(self) -> Option<u64> {
        let turns = u64::from(self.quota) * u64::from(self.heaviest);
        (self.quota > 0).then(|| turns.div_ceil(u64::from(self.weight)))
    }
}

/// The turns, sorted by round and candidate with a counting sort. The candidates must come in their order.
fn counted(
    size: u32,
    last: usize,
    candidates: impl Iterator<Item = TurnOrder> + Clone,
) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "at most four times a u32 in a usize")]
    let index = |round: u64| round as usize;
    let mut places = vec![0u32; last + 1];
    for round in candidates.clone().flat_map(TurnOrder::all) {
        places[index(round)] += 1;
    }
    let mut before = 0;
    for place in &mut places {
        before += std::mem::replace(place, before);
    }
    let mut turns = vec![0; size as usize];
    for candidate in candidates {
        for round in candidate.all() {
            let place = &mut places[index(round)];
            turns[*place as usize] = candidate.candidate;
            *place += 1;
        }
    }
    turns
}

/// How many slots each weight gets in a table of `size`: within one of `size * weight / sum`, and `size` in all.
pub(super) fn quotas(size: u32, weights: &[u32]) -> Vec<u32> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let exact = weights.iter().map(|&w| u64::from(size) * u64::from(w));
    #[expect(clippy::cast_possible_truncation, reason = "a share is at most the size")]
    let mut quotas: Vec<u32> = exact.clone().map(|share| (share / sum) as u32).collect();
    let left = size as usize - quotas.iter().map(|&q| q as usize).sum::<usize>();
    let mut by_remainder: Vec<(u64, usize)> =
        exact.enumerate().map(|(i, share)| (share % sum, i)).collect();
    by_remainder.sort_by_key(|&(remainder, i)| (std::cmp::Reverse(remainder), i));
    for &(_, i) in by_remainder.iter().take(left) {
        quotas[i] += 1;
    }
    quotas
}
