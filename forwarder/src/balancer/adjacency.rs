//! What the fast path needs to know of a backend, in as little memory as it can be.

use super::backend::{Backend, Serving};
use super::encapsulation::GreRewrite;
use super::id::{PoolIndex, PortIndex};

/// A backend as the fast path has it: over IPv4, one cache line of it is read.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Adjacency {
    /// The pool of which it takes all flows by a route that there is; of no pool if there is more to it.
    pub(super) pool: PoolIndex,
    pub(super) port: PortIndex,
    pub(super) gre_rewrite: GreRewrite,
}

impl Adjacency {
    /// No packet adjacencies here.
    const CLOSED: Adjacency =
        Adjacency { pool: PoolIndex::NONE, port: PortIndex::NONE, gre_rewrite: GreRewrite::NONE };

    pub(super) fn new(backend: &Backend) -> Adjacency {
        let route = backend.route.as_ref().filter(|_| backend.serving == Serving::All);
        let open = route.and_then(|route| {
            let gre_rewrite = route.template.gre_rewrite()?.clone();
            Some(Adjacency { pool: backend.pool, port: route.port, gre_rewrite })
        });
        open.unwrap_or(Adjacency::CLOSED)
    }
}
