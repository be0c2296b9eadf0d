//! What the pages of the server are made by.

use std::sync::Arc;

use bytes::Bytes;

/// What `/metrics` is narrowed to. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// The values of `scope=`, in order.
    pub scope: Vec<String>,
    /// The values of `name=`, in order.
    pub name: Vec<String>,
}

/// An answer of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 or else 503.
    pub is_well: bool,
    /// JSON.
    pub body: Bytes,
}

/// Makes the metrics for a query. An error says what is wrong with the query.
pub type Metrics = Arc<dyn Fn(&Query) -> Result<Bytes, String> + Send + Sync>;

/// What makes the pages.
#[derive(Clone)]
pub struct Pages {
    /// `node.name`.
    pub node: Arc<dyn Fn() -> String + Send + Sync>,
    /// `/metrics`. It may take its time: it runs on a thread of its own, two at once. `None` while the daemon starts or stops.
    pub metrics: Option<Metrics>,
    /// `/healthz`. It must not wait: it runs on the server's thread.
    pub healthz: Arc<dyn Fn() -> Answer + Send + Sync>,
    /// `/readyz`, like `/healthz`.
    pub readyz: Arc<dyn Fn() -> Answer + Send + Sync>,
}
