//! Identifications for datagrams that this node fragments.
//!
//! Other workers, other nodes and the backends send from the same virtual addresses, so plain counters would collide.
//! Each identification is a hash of the worker and a count under the seed of this process. Nobody without the seed can
//! predict it (RFC 7739 section 5).

use crate::balancer::hash::LocalSeed;

/// The identifications of one worker.
#[derive(Clone, Debug)]
pub struct Identifications {
    seed: LocalSeed,
    worker: u16,
    drawn: u64,
}

impl Identifications {
    /// The identifications of a worker. The seed differs from process to process, except in replays.
    pub fn new(seed: LocalSeed, worker: u16) -> Identifications {
        Identifications { seed, worker, drawn: 0 }
    }

    /// The next identification.
    #[expect(clippy::cast_possible_truncation, reason = "a part of a hash")]
    pub fn draw(&mut self) -> u32 {
        self.drawn = self.drawn.wrapping_add(1);
        let mut bytes = [0; 10];
        bytes[..2].copy_from_slice(&self.worker.to_be_bytes());
        bytes[2..].copy_from_slice(&self.drawn.to_be_bytes());
        self.seed.hash_bytes(&bytes) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn workers_and_processes_draw_apart() {
        let mut seen = BTreeSet::new();
        for (seed, worker) in [(1, 0), (1, 1), (2, 0)] {
            let mut identifications = Identifications::new(LocalSeed::new(seed), worker);
            seen.extend((0..100).map(|_| identifications.draw()));
        }
        assert_eq!(seen.len(), 300);
        let draw = || Identifications::new(LocalSeed::new(1), 0).draw();
        assert_eq!(draw(), draw(), "a replay writes the same bytes");
    }
}
