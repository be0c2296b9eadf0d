//! Whether what was published is in force.

use std::time::Duration;

use super::MOST;

/// The oldest tables that some worker has not loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct Force {
    waiting: Option<(u64, Duration)>,
}

impl Force {
    /// Notes the generation that was published last and the oldest one that a worker runs.
    pub(super) fn note(&mut self, published: u64, in_force: u64, passed: Duration) {
        self.waiting = match self.waiting {
            // A node that publishes again and again must not begin again each time.
            Some((generation, age)) if in_force < generation => {
                Some((generation, age + passed.min(MOST)))
            }
            _ => (in_force < published).then_some((published, Duration::ZERO)),
        };
    }

    /// The oldest tables that some worker has not loaded, and for how long.
    pub(super) fn waiting(&self) -> Option<(u64, Duration)> {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::PERIOD;

    #[test]
    fn tables_wait_until_every_worker_runs_them() {
        let mut force = Force::default();
        force.note(3, 3, PERIOD);
        assert_eq!(force.waiting(), None);
        force.note(4, 3, PERIOD);
        force.note(4, 3, PERIOD);
        assert_eq!(force.waiting(), Some((4, PERIOD)));
        force.note(4, 4, PERIOD);
        assert_eq!(force.waiting(), None);
    }

    #[test]
    fn newer_tables_do_not_excuse_older_ones() {
        let mut force = Force::default();
        for published in 4..100 {
            force.note(published, 3, PERIOD);
        }
        assert_eq!(force.waiting(), Some((4, PERIOD * 95)));
        force.note(100, 99, PERIOD);
        assert_eq!(force.waiting(), Some((100, Duration::ZERO)));
    }
}
