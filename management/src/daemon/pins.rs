//! Requests for pins: the controller says which backend packets of its probes go to.
//!
//! They are no settings of an operator, and there may be many of them at each start. So a request that sets pins has no line
//! in the audit trail.

use std::net::SocketAddr;
use std::sync::Arc;

use guideway_api as api;
use guideway_api::{ErrorKind, Response};
use rustc_hash::FxHashMap;

use super::{Daemon, refusal};
use crate::manager::Change;
use crate::state::{MAX_PINS, PinChange, Pinned};

impl Daemon {
    /// Sets and removes pins, and waits until that is in force.
    pub(super) fn set_pins(
        &self,
        pins: Vec<api::Pin>,
        removed: Vec<SocketAddr>,
        only: bool,
    ) -> Response {
        let change = change(pins, removed, only);
        let mut after = self.overview.published.load().pins.clone();
        after.set(&change);
        if after.len() > MAX_PINS {
            let message = format!("that would be {} pins; {MAX_PINS} are kept", after.len());
            return Response::Error(api::Error::new(ErrorKind::Failed, message));
        }
        match self.changes().send(Change::Pins(change)).outcome() {
            Ok(generation) => {
                let pins = self.overview.published.load().pins.len();
                tracing::debug!(generation, pins, "pins are set");
                Response::PinsSet { generation, pins }
            }
            Err(error) => Response::Error(refusal(error)),
        }
    }

    /// The pins, also those whose backend is not configured.
    pub(super) fn pins(&self) -> Vec<api::Pin> {
        let pin = |(source, pinned): (SocketAddr, &Pinned)| api::Pin {
            source,
            pool: pinned.pool.to_string(),
            backend: pinned.backend.to_string(),
        };
        self.overview.published.load().pins.iter().map(pin).collect()
    }
}

/// The change of a request. Names that come again share their text.
fn change(pins: Vec<api::Pin>, removed: Vec<SocketAddr>, only: bool) -> PinChange {
    let mut known: FxHashMap<String, Arc<str>> = FxHashMap::default();
    let mut name = |text: String| match known.get(&text) {
        Some(name) => Arc::clone(name),
        None => Arc::clone(known.entry(text.clone()).or_insert_with(|| text.into())),
    };
    let pins = pins.into_iter().map(|api::Pin { source, pool, backend }| {
        (source, Pinned { pool: name(pool), backend: name(backend) })
    });
    PinChange { pins: pins.collect(), removed, only }
}
