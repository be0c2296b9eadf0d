//! The HTTP server: metrics for Prometheus, and the health of the node.

mod pages;

pub use pages::{Answer, Metrics, Pages, Query};
