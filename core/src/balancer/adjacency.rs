//! What the fast path needs of a backend: its pool, its port and the bytes to put before a packet.
//!
//! Each backend has one, in a table beside the full records. Over IPv4 the fast path reads a single cache line
//! of it.

use super::backend::{Backend, Serving};
use super::encapsulation::GreRewrite;
use super::id::{PoolIndex, PortIndex};

/// A backend as the fast path sees it.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Adjacency {
    /// The backend's pool if the fast path may serve it (accepts new flows, next hop known, plain GRE);
    /// otherwise [`PoolIndex::NONE`], which no packet's service has.
    pub(super) pool: PoolIndex,
    pub(super) port: PortIndex,
    pub(super) gre_rewrite: GreRewrite,
}

impl Adjacency {
    /// The adjacency of a backend that only the full path serves.
    const CLOSED: Adjacency =
        Adjacency { pool: PoolIndex::NONE, port: PortIndex::NONE, gre_rewrite: GreRewrite::NONE };

    /// The adjacency of a backend, closed unless the fast path may serve it.
    pub(super) fn new(backend: &Backend) -> Adjacency {
        let route = backend.route.as_ref().filter(|_| backend.serving == Serving::All);
        let open = route.and_then(|route| {
            let gre_rewrite = route.template.gre_rewrite()?.clone();
            Some(Adjacency { pool: backend.pool, port: route.port, gre_rewrite })
        });
        open.unwrap_or(Adjacency::CLOSED)
    }
}
