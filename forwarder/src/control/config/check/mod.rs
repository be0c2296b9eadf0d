//! What no section can see by itself.
//!
//! A check is left out only where a value that it needs was reported already: its own findings
//! would be guesses.
//!
//! The checks stand on top of the sections: no section uses them.

mod addresses;
mod cluster;
mod draft;
mod encapsulation;
mod next_hops;
mod pools;
mod table_size;
mod tunnel_sources;
mod warnings;

pub(super) use draft::Draft;

/// Reports every mistake and warning that follows from several sections together.
pub(super) fn check(draft: &Draft<'_>) {
    draft.table_size();
    draft.tunnel_sources();
    let own = draft.own_addresses();
    draft.gateways(&own);
    draft.neighbors(&own);
    draft.backends(&own);
    draft.services(&own);
    draft.cluster(&own);
    draft.next_hops();
    draft.encapsulations();
    draft.unused_pools();
    draft.warnings();
}
