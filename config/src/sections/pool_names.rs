//! Finding a pool by its name.

use std::collections::HashMap;

use super::pool::PoolDraft;
use crate::findings::{Checked, excerpt};
use crate::section::Section;

/// The pools by name.
pub(super) struct PoolNames<'a> {
    names: Vec<&'a str>,
    indices: HashMap<&'a str, usize>,
    /// `Err` if the name of a pool is unknown because of a mistake. A reference may mean that pool, so
    /// a name that is not found is no mistake of its own then.
    complete: Checked<()>,
}

impl<'a> PoolNames<'a> {
    pub(super) fn new(entries: &'a Checked<Vec<PoolDraft>>) -> Self {
        let complete = entries.as_ref().map(|_| ()).map_err(|reported| *reported);
        let mut pools = PoolNames { names: Vec::new(), indices: HashMap::new(), complete };
        for (index, pool) in entries.iter().flatten().enumerate() {
            match &pool.name {
                Ok(name) => {
                    pools.names.push(name);
                    pools.indices.entry(name).or_insert(index);
                }
                Err(reported) => pools.complete = Err(*reported),
            }
        }
        pools
    }

    /// The index of the pool that a key of a section names.
    pub(super) fn find(&self, section: &Section<'_>, key: &str, name: &str) -> Checked<usize> {
        if let Some(&index) = self.indices.get(name) {
            return Ok(index);
        }
        self.complete?;
        let nearest = match section.findings.nearest(name, &self.names) {
            Some(nearest) => format!("; the nearest is {}", excerpt(nearest)),
            None => String::new(),
        };
        let message = format!("there is no pool {}{nearest}", excerpt(name));
        Err(section.mistake(key, message))
    }
}
