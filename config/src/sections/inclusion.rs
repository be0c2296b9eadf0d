//! What each pool can choose from: its own backends, those of the pools that it names, and those of its backups.

use super::pool::{Inclusion, Inclusions, PoolDraft};
use crate::findings::Checked;
use crate::section::Section;

/// What each pool can choose from.
pub(crate) fn read(
    _root: &Section<'_>,
    pools: &Checked<Vec<PoolDraft>>,
) -> Checked<Vec<Inclusions>> {
    let pools = pools.as_ref().map_err(|reported| *reported)?;
    let own = |(pool, draft): (usize, &PoolDraft)| {
        let backends = draft.backends.as_ref().map_err(|reported| *reported)?;
        let included = (0..backends.len()).map(|backend| Inclusion { pool, backend, level: 0 });
        Ok(Inclusions { levels: vec![pool], included: included.collect() })
    };
    pools.iter().enumerate().map(own).collect()
}
