//! Metrics for Prometheus: what the manager has decided and knows, as the page `/metrics`.
//!
//! | file | what |
//! |---|---|
//! | `list.rs` | every metric, in one list |
//! | `metric.rs` | what a metric is |
//!
//! A page is made of one view of the manager and one snapshot of the checks, and takes no lock.

mod list;
mod metric;

use bytes::{Bytes, BytesMut};
use guideway_chassis::http::Query;
use guideway_chassis::metrics::{CONTROLLER, HEAD, Process, row, write};

use crate::check::Snapshot;
use crate::manager::View;

pub use list::METRICS;
use metric::Seen;
pub use metric::{Metric, Scope};

/// The page for a query. `checks` are none if it is not known what they have found.
///
/// # Errors
/// What is wrong with the query.
pub fn page(
    view: &View,
    checks: Option<&Snapshot>,
    is_stored: bool,
    query: &Query,
) -> Result<Bytes, String> {
    let names = || Scope::ALL.map(Scope::name);
    if let Some(unknown) = query.scope.iter().find(|scope| !names().contains(&scope.as_str())) {
        return Err(format!("there is no scope {unknown:?}; there are {}", names().join(", ")));
    }
    if !query.name.is_empty() {
        return Err("the controller's metrics are not narrowed by name; there is scope".to_owned());
    }
    // Without checks there is nothing to say about them.
    let checks = checks.filter(|checks| checks.targets > 0);
    let seen = Seen { view, checks, is_stored, process: Process::read() };
    let mut page = BytesMut::new();
    let is_wanted = |metric: &&Metric| {
        let scope = metric.scope().name();
        query.scope.is_empty() || query.scope.iter().any(|wanted| wanted == scope)
    };
    for metric in METRICS.iter().filter(is_wanted) {
        write(metric.kind, metric.name, metric.help, metric.samples(&seen), &mut page);
    }
    Ok(page.freeze())
}

/// The controller's part of `docs/metrics.md`.
pub fn reference() -> String {
    let mut page = CONTROLLER.to_owned();
    page += "
<!-- Written by ci/reference.sh from the list in controller/src/metrics/list.rs: edit that. -->

Every metric of the controller's own `/metrics`, which it serves at `--listen`. `?scope=node`, `vips`, `peers` or `checks`
gives a part of them. It has the metrics `process_*` too, with the meaning that they have above.
";
    for scope in Scope::ALL {
        let about = match scope {
            Scope::Node => "The controller, and the node as it sees it.",
            Scope::Vips => "A virtual address is named by itself.",
            Scope::Peers => {
                "A peer is named by `bgp.peer.name`. They are there if `announce.bgp` is `\"managed\"`."
            }
            Scope::Checks => {
                "A check is named by `check.name`, a backend by its pool and `backend.name`. They are there if backends have checks."
            }
        };
        page += &format!("\n### Controller: `{}`\n\n{about}\n\n{HEAD}", scope.name());
        let is_own =
            |metric: &&Metric| metric.scope() == scope && !metric.name.starts_with("process_");
        for metric in METRICS.iter().filter(is_own) {
            page += &row(metric.kind, metric.name, metric.labels(), metric.help, metric.watch);
        }
    }
    page
}

#[cfg(test)]
mod tests;
