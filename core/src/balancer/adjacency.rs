//! What the fast path needs of a backend: its pool, its port and the bytes to put before a packet.
//!
//! Each backend has one, in a table beside the full records: two cache lines, of which plain GRE over IPv4 needs one.

use super::backend::{Backend, Serving};
use super::encapsulation::{Class, Rewrite};
use super::id::{PoolIndex, PortIndex};

/// A backend as the fast path sees it.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Adjacency {
    pub(super) rewrite: Rewrite,
    /// The backend's pool if the fast path may serve it (accepts new flows, next hop known); otherwise
    /// [`PoolIndex::NONE`], which no packet's service has. With a rewrite nevertheless if the backend serves existing flows.
    pub(super) pool: PoolIndex,
    pub(super) port: PortIndex,
}

const _: () = assert!(size_of::<Adjacency>() == 128);

impl Adjacency {
    /// The adjacency of a backend that only the full path serves.
    const CLOSED: Adjacency =
        Adjacency { pool: PoolIndex::NONE, port: PortIndex::NONE, rewrite: Rewrite::NONE };

    /// The adjacency of a backend, closed unless the fast path may serve it.
    pub(super) fn new(backend: &Backend) -> Adjacency {
        let open = backend.route.as_ref().and_then(|route| {
            let pool = match backend.serving {
                Serving::All => backend.pool,
                Serving::Existing => PoolIndex::NONE,
                Serving::Nothing => return None,
            };
            Some(Adjacency { pool, port: route.port, rewrite: Rewrite::compile(&route.template)? })
        });
        open.unwrap_or(Adjacency::CLOSED)
    }

    /// What a loop needs to rewrite packets for the backend; the least if it is closed. Packets of flows that a closed
    /// backend keeps are rewritten apart from the loop.
    pub(super) fn class(&self) -> Class {
        match self.pool {
            PoolIndex::NONE => Class::GreV4,
            _ => self.rewrite.class(),
        }
    }
}
