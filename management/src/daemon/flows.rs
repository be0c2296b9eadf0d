//! Flow listings: names become ids, workers scan, ids become names.

use std::collections::HashMap;

use guideway_api as api;
use guideway_api::{ErrorKind, FlowFilter};

use super::convert::{from_flow_state, from_protocol, to_flow_state};
use super::overview::Overview;
use crate::manager::Published;
use guideway_core::balancer::flow::FlowKey;
use guideway_core::balancer::scan::{FlowMatch, FlowScan};

impl Overview {
    pub(super) fn flows(&self, filter: &FlowFilter) -> Result<api::Flows, api::Error> {
        // An id may change its owner, so the names are read before the scan.
        let published = self.published.load_full();
        let (flow_match, names) = (flow_match(&published, filter)?, names(&published));
        let limit = filter.limit.unwrap_or(api::DEFAULT_FLOWS).min(api::MAX_FLOWS);
        let mut flows = api::Flows::default();
        for (index, worker) in (0..).zip(&self.workers) {
            if filter.worker.is_some_and(|worker| worker != index) {
                continue;
            }
            let scan = FlowScan::new(flow_match.clone(), limit - flows.flows.len());
            let Some(scan) = (worker.scan)(scan) else {
                return Err(api::Error::new(
                    ErrorKind::Failed,
                    format!("worker {index} did not answer in time"),
                ));
            };
            flows.truncated |= scan.truncated;
            flows.flows.extend(scan.rows.iter().filter_map(|row| {
                let (pool, backend) = names.get(&row.backend.get())?;
                Some(api::Flow {
                    worker: index,
                    tag: format!("{:016x}", row.tag),
                    pool: pool.clone(),
                    backend: backend.clone(),
                    state: to_flow_state(row.state),
                    idle_ms: row.idle_ms.into(),
                })
            }));
        }
        if filter.worker.is_some_and(|worker| usize::from(worker) >= self.workers.len()) {
            return Err(not_found(format!("there are {} workers", self.workers.len())));
        }
        Ok(flows)
    }
}

fn not_found(message: String) -> api::Error {
    api::Error { kind: ErrorKind::NotFound, message, details: Vec::new() }
}

/// The filter as workers understand it: keys and ids instead of names.
fn flow_match(published: &Published, filter: &FlowFilter) -> Result<FlowMatch, api::Error> {
    let flow = match &filter.flow {
        None => None,
        Some(tuple) => Some(flow_key(tuple).ok_or_else(|| {
            api::Error::new(
                ErrorKind::BadRequest,
                "source and destination must be of one address family".to_owned(),
            )
        })?),
    };
    let named = filter.pool.is_some() || filter.backend.is_some();
    let backends = named.then(|| {
        let mut ids: Vec<_> = (0..)
            .zip(&published.configuration.pools)
            .filter(|(_, pool)| filter.pool.as_ref().is_none_or(|name| *name == pool.name))
            .flat_map(|(n, pool)| {
                (0..).zip(&pool.backends).map(move |(m, backend)| (n, m, backend))
            })
            .filter(|(.., b)| filter.backend.as_ref().is_none_or(|name| *name == b.name))
            .flat_map(|(pool, backend, _)| published.ids.of_backend(pool, backend))
            .collect();
        ids.sort_unstable();
        ids
    });
    if backends.as_ref().is_some_and(Vec::is_empty) {
        return Err(not_found(format!(
            "no backend {}in {}",
            filter.backend.as_ref().map(|name| format!("\"{name}\" ")).unwrap_or_default(),
            filter.pool.as_ref().map_or("any pool".to_owned(), |name| format!("a pool \"{name}\"")),
        )));
    }
    Ok(FlowMatch { flow, backends, state: filter.state.map(from_flow_state) })
}

/// The name of the pool that has the backend, and the backend's name, of each backend id.
fn names(published: &Published) -> HashMap<u32, (String, String)> {
    let mut names = HashMap::new();
    for (n, pool) in published.configuration.pools.iter().enumerate() {
        for (m, backend) in pool.backends.iter().enumerate() {
            for id in published.ids.of_backend(n, m) {
                names.insert(id.get(), (pool.name.clone(), backend.name.clone()));
            }
        }
    }
    names
}

fn flow_key(tuple: &api::FlowTuple) -> Option<FlowKey> {
    FlowKey::new(tuple.source, tuple.destination, from_protocol(tuple.protocol).number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::Manager;
    use crate::sample::{THREE, ports, text};

    #[test]
    fn flows_that_any_pool_gave_to_a_backend_are_its_own() {
        let text = text(THREE) + "[[pool]]\nname = \"all\"\npools = [\"web\"]\nbackends = []\n";
        let configuration = guideway_config::parse(&text).unwrap().configuration;
        let manager = Manager::new(configuration, text, ports()[..1].to_vec()).unwrap();
        let published = manager.published().load_full();
        let ids = |pool: Option<&str>, backend: Option<&str>| {
            let [pool, backend] = [pool, backend].map(|name| name.map(str::to_owned));
            let filter = FlowFilter { pool, backend, ..FlowFilter::default() };
            flow_match(&published, &filter).map(|found| found.backends.unwrap().len())
        };
        assert_eq!(ids(Some("web"), Some("b")), Ok(2));
        assert_eq!(ids(Some("web"), None), Ok(6));
        assert_eq!(ids(None, Some("c")), Ok(2));
        assert!(ids(Some("all"), None).is_err(), "it has no backend of its own");
        let names = names(&published);
        let of = |name: &str| names.values().filter(|known| known.1 == name).count();
        assert_eq!((names.len(), of("a"), of("b"), of("c")), (6, 2, 2, 2));
        assert!(names.values().all(|(pool, _)| pool == "web"));
    }
}
