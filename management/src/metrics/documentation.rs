//! `docs/metrics.md`, from the list.

use guideway_chassis::metrics::{HEAD, row};

use super::families::Scope;
use super::list::METRICS;

const TITLE: &str = "\
# Metrics

<!-- Written by ci/reference.sh from the list in management/src/metrics/list.rs: edit that. -->

Every metric of `/metrics`. [Operations](operations.md#metrics-and-health) says how to ask for the page, and what a scrape of many
backends may leave out. A section is a scope: `?scope=services` gives its metrics alone.

The last column has the alert rules of `packaging/prometheus/` that need the metric; or it says that the dashboard shows it.
";

/// The page with every metric.
pub fn reference() -> String {
    let mut page = TITLE.to_owned();
    for scope in Scope::ALL {
        let name = scope.name();
        page += &format!("\n## `{name}`\n\n{}\n", about(scope));
        page += &format!("\n{HEAD}");
        for metric in METRICS.iter().filter(|metric| metric.scope == scope) {
            page += &row(metric.kind, metric.name, metric.labels, metric.help, metric.watch);
        }
    }
    page
}

/// What the series of a scope have in common.
fn about(scope: Scope) -> &'static str {
    match scope {
        Scope::Node => {
            "The node as a whole. `guideway_scrape_series` and what was left out stand at the end of every page."
        }
        Scope::Workers => "A worker is named by its index.",
        Scope::Ports => "A port is named by `port.name`.",
        Scope::Pools => {
            "A pool's counters include backends that have left it. A pool that is removed and added again starts at 0."
        }
        Scope::Services => {
            "A service is named by `service.name`, its address, protocol and port. One that is removed and added again \
             starts at 0."
        }
        Scope::Backends => {
            "A backend is named by its pool, `backend.name` and its address. One that is removed and added again starts \
             at 0."
        }
    }
}
