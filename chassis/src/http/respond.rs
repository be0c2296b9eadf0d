//! Answers to requests.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::task::{JoinHandle, spawn_blocking};

use super::connection::{Admitted, Connections};
use super::pages::{Answer, Metrics, Pages, Query};

/// The answer to one connection too many.
pub(super) const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 21\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    too many connections\n";

/// The page that lists the others.
const INDEX: &str = "\
/metrics  the metrics of the node, for Prometheus; ?scope= and ?name= narrow them
/healthz  whether the node is well
/readyz   whether the node takes traffic
";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What every connection needs.
pub(super) struct Shared {
    pub(super) pages: Arc<ArcSwap<Pages>>,
    /// Names of the server, in small letters, and the setting that has them.
    pub(super) hosts: (&'static str, Vec<String>),
    pub(super) connections: Connections,
}

/// Answers a request, which came by a unix socket if it is local.
pub(super) async fn respond(
    shared: &Rc<Shared>,
    connection: &Rc<Admitted>,
    is_local: bool,
    request: Request<Incoming>,
) -> Result<Response<Page>, Infallible> {
    connection.is_asked();
    let pages = shared.pages.load_full();
    let may_be_named =
        |name: &Authority| is_local || may_be_named(name, &shared.hosts.1, &*pages.node);
    let answer = match refusal(shared.hosts.0, &request, &may_be_named) {
        Some(refused) => refused,
        None => page(shared, connection, &request, &pages).await,
    };
    Ok(answer.response(connection))
}

/// An answer before it is one of hyper's.
struct Said {
    status: StatusCode,
    kind: HeaderValue,
    body: Bytes,
    header: Option<(HeaderName, &'static str)>,
}

impl Said {
    fn new(status: StatusCode, text: impl Into<String>) -> Said {
        let body = Bytes::from(text.into() + "\n");
        Said { status, kind: TEXT, body, header: None }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Said {
        Said { header: Some((name, value)), ..self }
    }

    fn response(self, connection: &Rc<Admitted>) -> Response<Page> {
        let page = Page { bytes: Some(self.body), connection: Rc::clone(connection) };
        let mut response = Response::new(page);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// Why a request gets no page. `hosts` is the setting that has names of the server.
fn refusal(
    hosts: &str,
    request: &Request<Incoming>,
    may_be_named: &dyn Fn(&Authority) -> bool,
) -> Option<Said> {
    if let Some(refused) = wrong_host(hosts, request, may_be_named) {
        return Some(refused);
    }
    if !request.body().is_end_stream() {
        // What comes next would be the body, so there is no further request.
        let refused = Said::new(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here");
        return Some(refused.with(header::CONNECTION, "close"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let refused = Said::new(StatusCode::METHOD_NOT_ALLOWED, "pages here can only be read");
        return Some(refused.with(header::ALLOW, "GET, HEAD"));
    }
    None
}

/// Refuses a request that names another server, in its target or as its `Host`.
fn wrong_host(
    hosts: &str,
    request: &Request<Incoming>,
    may_be_named: &dyn Fn(&Authority) -> bool,
) -> Option<Said> {
    let bad = |text: &str| Some(Said::new(StatusCode::BAD_REQUEST, text));
    let mut named = request.headers().get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (_, Some(_)) => return bad("there is more than one Host"),
        (None, None) if request.version() >= Version::HTTP_11 => return bad("there is no Host"),
        (None, None) => None,
        (Some(host), None) => match host.to_str().ok().and_then(|host| host.parse().ok()) {
            Some(host) => Some(host),
            None => return bad("the Host is no name or address with or without a port"),
        },
    };
    for authority in host.iter().chain(request.uri().authority()) {
        if !may_be_named(authority) {
            let name = authority.host();
            return Some(Said::new(
                StatusCode::FORBIDDEN,
                format!(
                    "the server is addressed as {name:?}; addresses, localhost and node.name may \
                     be used, and names that {hosts} has"
                ),
            ));
        }
    }
    None
}

/// Whether the server may be addressed like this.
fn may_be_named(authority: &Authority, hosts: &[String], node: &dyn Fn() -> String) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|a| a.parse::<Ipv6Addr>().is_ok());
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| name.eq_ignore_ascii_case(host))
        || name.eq_ignore_ascii_case(&node())
}

/// The page that a request is for.
async fn page(
    shared: &Shared,
    connection: &Admitted,
    request: &Request<Incoming>,
    pages: &Pages,
) -> Said {
    let query = request.uri().query().unwrap_or_default();
    let path = request.uri().path();
    if !query.is_empty() && path != "/metrics" {
        return Said::new(StatusCode::BAD_REQUEST, "only /metrics has a query");
    }
    match path {
        "/metrics" => match Query::parse(query) {
            Err(complaint) => Said::new(StatusCode::BAD_REQUEST, complaint),
            Ok(query) => match &pages.metrics {
                None => later("the daemon starts or stops"),
                Some(_) if !shared.connections.admit_scrape(connection) => {
                    later("too many clients read metrics")
                }
                Some(metrics) => scrape(Arc::clone(metrics), query).await,
            },
        },
        "/healthz" => check(&*pages.healthz),
        "/readyz" => check(&*pages.readyz),
        "/" => Said { status: StatusCode::OK, kind: TEXT, body: INDEX.into(), header: None },
        _ => {
            Said::new(StatusCode::NOT_FOUND, "there is no such page; / lists those that there are")
        }
    }
}

fn later(why: &str) -> Said {
    Said::new(StatusCode::SERVICE_UNAVAILABLE, why).with(header::RETRY_AFTER, "1")
}

async fn scrape(metrics: Metrics, query: Query) -> Said {
    let mut making = Making(spawn_blocking(move || metrics(&query)));
    match (&mut making.0).await {
        Ok(Ok(body)) => Said { status: StatusCode::OK, kind: METRICS, body, header: None },
        Ok(Err(complaint)) => Said::new(StatusCode::BAD_REQUEST, complaint),
        Err(_) => failed("/metrics"),
    }
}

/// A page that is being made. A client that has gone does not leave a page to be made.
struct Making<T>(JoinHandle<T>);

impl<T> Drop for Making<T> {
    fn drop(&mut self) {
        // A page whose making has begun is finished.
        self.0.abort();
    }
}

fn check(check: &dyn Fn() -> Answer) -> Said {
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(Answer { is_well, body }) => {
            let status = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Said { status, kind: JSON, body, header: None }
        }
        Err(_) => failed("a health check"),
    }
}

fn failed(page: &str) -> Said {
    tracing::error!("{page} panicked, which is a defect; the HTTP server goes on");
    Said::new(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made; the log says more")
}

/// The body of an answer, in one piece.
pub(super) struct Page {
    bytes: Option<Bytes>,
    connection: Rc<Admitted>,
}

impl hyper::body::Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.connection.has_page();
    }
}
