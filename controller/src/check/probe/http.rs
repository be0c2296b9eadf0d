//! Requests and responses.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use guideway_api::CheckCode;
use guideway_config::{CheckHttp, DrainSign};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::Error;
use super::outcome::Steps;
use super::search::Search;
use super::socket::words;
use super::stream::Lent;
use super::trace::{Stage, Trace, Verdict};

/// The longest head of a response.
const HEAD_BYTES: usize = 64 << 10;
/// The most headers of a response.
const HEADERS: usize = 128;
/// Bytes of padding in one header. Servers take some KiB at the most.
const PADDING_BYTES: usize = 1000;

/// The request of a check, and what has to come of it.
pub(super) struct Asking {
    check: CheckHttp,
    method: Method,
    path: Uri,
    headers: HeaderMap,
}

impl Asking {
    /// The request is at least as long as `size`, so that a packet of this length occurs.
    pub(super) fn new(check: &CheckHttp, size: Option<u16>) -> Result<Asking, Error> {
        let wrong = |key, value: &str| Error::Request { key, value: value.to_owned() };
        let method = Method::from_bytes(check.method.as_bytes())
            .map_err(|_| wrong("method", &check.method))?;
        let path: Uri = check.path.parse().map_err(|_| wrong("path", &check.path))?;
        let mut headers = HeaderMap::new();
        if let Some(host) = &check.host {
            let value = HeaderValue::from_str(host).map_err(|_| wrong("host", host))?;
            headers.insert(header::HOST, value);
        }
        headers.insert(header::USER_AGENT, HeaderValue::from_static("guideway"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut own = HeaderMap::new();
        for (name, value) in &check.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("headers", name))?;
            let value = HeaderValue::from_str(value).map_err(|_| wrong("headers", value))?;
            own.append(name, value);
        }
        headers.extend(own);
        let padding = vec![b'x'; usize::from(size.unwrap_or(0))];
        for piece in padding.chunks(PADDING_BYTES) {
            let value = HeaderValue::from_bytes(piece).map_err(|_| wrong("size", "padding"))?;
            headers.append(HeaderName::from_static("x-padding"), value);
        }
        Ok(Asking { check: check.clone(), method, path, headers })
    }

    fn request(&self, to: SocketAddr) -> Option<Request<Nothing>> {
        let mut request = Request::new(Nothing);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        let mut headers = self.headers.clone();
        if !headers.contains_key(header::HOST) {
            headers.insert(header::HOST, HeaderValue::from_str(&to.to_string()).ok()?);
        }
        *request.headers_mut() = headers;
        Some(request)
    }

    /// By what sign of the response's head the server asks to be drained.
    fn drain_sign(&self, response: &Response<Incoming>) -> Option<&DrainSign> {
        self.check.drain_signs.iter().find(|sign| match sign {
            DrainSign::Status(statuses) => statuses.contains(&response.status().as_u16()),
            DrainSign::Header(name, value) => {
                response.headers().get_all(name).iter().any(|found| match value {
                    Some(value) => {
                        let found = found.as_bytes().trim_ascii();
                        found.eq_ignore_ascii_case(value.trim().as_bytes())
                    }
                    None => true,
                })
            }
        })
    }
}

/// Sends the request over an open connection, and reads the response as far as the check needs it.
pub(super) async fn ask<T: AsyncRead + AsyncWrite + Unpin, S: Steps>(
    asking: &Asking,
    to: SocketAddr,
    stream: &mut T,
    trace: &mut Trace<'_, S>,
) -> Result<Verdict, Verdict> {
    trace.enter(Stage::Response);
    let request = asking
        .request(to)
        .ok_or_else(|| Verdict::failure(CheckCode::SockErr, "the request cannot be made"))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(Lent(stream))
        .await
        .map_err(|error| broken(&error))?;
    let mut connection = pin!(Some(connection));
    let mut response = {
        let mut response = pin!(sender.send_request(request));
        poll_fn(|cx| {
            turn(connection.as_mut(), cx);
            response.as_mut().poll(cx)
        })
        .await
        .map_err(|error| broken(&error))?
    };
    let status = response.status();
    trace.status = Some(status.as_u16());
    if let Some(sign) = asking.drain_sign(&response) {
        trace.done(|| format!("status {status}; the server asks to be drained: {}", named(sign)));
        return Ok(Verdict::success(CheckCode::L7OkC));
    }
    if !asking.check.statuses.iter().any(|expected| expected.contains(&status.as_u16())) {
        return Err(Verdict::failure(
            CheckCode::L7Sts,
            format!("the response's status {} is not expected", status.as_u16()),
        ));
    }
    trace.done(|| format!("status {status}"));
    trace.enter(Stage::Body);
    let mut reading = Reading::new(asking.check.expect.as_deref(), asking.check.body_limit);
    loop {
        let frame = poll_fn(|cx| {
            turn(connection.as_mut(), cx);
            Pin::new(response.body_mut()).poll_frame(cx)
        });
        let data = match frame.await {
            None => break,
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        trace.received += data.len();
        if let Some(verdict) = reading.takes(&data) {
            return verdict.inspect(|_| trace.done(|| reading.words()));
        }
    }
    reading.ends().inspect(|_| trace.done(|| reading.words()))
}

/// Lets the connection do what it can. How it fails is told to who waits for the response or its body.
fn turn<C: Future>(mut connection: Pin<&mut Option<C>>, cx: &mut Context<'_>) {
    if let Some(open) = connection.as_mut().as_pin_mut()
        && open.poll(cx).is_ready()
    {
        connection.set(None);
    }
}

/// A body as it comes.
struct Reading<'a> {
    search: Option<Search<'a>>,
    limit: usize,
    taken: usize,
}

impl<'a> Reading<'a> {
    fn new(expect: Option<&'a [u8]>, limit: usize) -> Reading<'a> {
        Reading { search: expect.map(Search::new), limit, taken: 0 }
    }

    /// A piece of the body. Says how the probe ends if nothing more has to be read.
    fn takes(&mut self, data: &[u8]) -> Option<Result<Verdict, Verdict>> {
        let room = self.limit - self.taken;
        let data_within = &data[..data.len().min(room)];
        self.taken += data_within.len();
        let full = self.taken == self.limit;
        let enough = match &mut self.search {
            None => full,
            Some(search) => search.found_in(data_within),
        };
        if enough {
            return Some(Ok(Verdict::success(CheckCode::L7Ok)));
        }
        (data.len() > room).then(|| {
            let limit = self.limit;
            Err(Verdict::failure(
                CheckCode::L7Rsp,
                format!("what is expected is not in the body's first {limit} bytes"),
            ))
        })
    }

    /// The body has ended.
    fn ends(&mut self) -> Result<Verdict, Verdict> {
        // An empty text is in an empty body too.
        if self.search.as_mut().is_none_or(|search| search.found_in(b"")) {
            return Ok(Verdict::success(CheckCode::L7Ok));
        }
        let bytes = self.taken;
        Err(Verdict::failure(
            CheckCode::L7Rsp,
            format!("the body's {bytes} bytes have not what is expected"),
        ))
    }

    fn words(&self) -> String {
        let expected = if self.search.is_some() { ", with what is expected" } else { "" };
        format!("{} bytes{expected}", self.taken)
    }
}

fn named(sign: &DrainSign) -> String {
    match sign {
        DrainSign::Status(statuses) => format!("status {}-{}", statuses.start(), statuses.end()),
        DrainSign::Header(name, None) => format!("header {name}"),
        DrainSign::Header(name, Some(value)) => format!("header {name}: {value}"),
    }
}

/// A response that is malformed or does not end.
fn broken(error: &hyper::Error) -> Verdict {
    let source = error.source();
    let detail = if error.is_parse_too_large() {
        format!("the response's head is longer than {HEAD_BYTES} bytes or {HEADERS} headers")
    } else if error.is_incomplete_message() {
        "the server closed before the response was whole".to_owned()
    } else if let Some(error) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        words(error)
    } else if error.is_parse() {
        format!("the response is malformed: {error}")
    } else {
        match source {
            // It has said something before, or has closed.
            Some(source) if error.is_canceled() => {
                format!("the server did not wait for the request: {source}")
            }
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    };
    Verdict::failure(CheckCode::L7Rsp, detail)
}

/// The body of requests.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(0)
    }
}
