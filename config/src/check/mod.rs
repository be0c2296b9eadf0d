//! Mistakes and warnings that follow from several sections together.
//!
//! A check is skipped if a value that it needs has a mistake of its own: its findings would be guesses.
//!
//! Checks use sections; no section uses a check.

mod addresses;
mod announce;
mod bgp;
mod check_sources;
mod checks;
mod cluster;
mod draft;
mod encapsulation;
mod next_hops;
mod on_link;
mod policies;
mod pools;
mod probe_sizes;
mod table_size;
mod targets;
mod tunnel_sources;
mod uses;
mod warnings;

pub(super) use draft::Draft;

/// Reports every mistake and warning that follows from several sections together.
pub(super) fn check(draft: &Draft<'_>) {
    draft.table_size();
    draft.tunnel_sources();
    let own = draft.own_addresses();
    draft.other_hosts(&own);
    draft.backends_elsewhere(&own);
    draft.served_addresses(&own);
    draft.useless_pools();
    draft.cluster(&own);
    draft.next_hops();
    draft.links();
    draft.answers(&own);
    draft.encapsulations();
    draft.unused_pools();
    draft.backups();
    draft.choices();
    draft.fragments_without_agreement();
    draft.policies();
    draft.announcements();
    draft.bgp();
    draft.check_sources();
    draft.checks();
    draft.warnings();
}
