//! One connection: the greeting, then requests and replies in turn, until either side ends it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use guideway_api::{
    Daemon, Error, ErrorKind, Greeting, Happening, PROTOCOL_VERSION, Request, Response,
};
use rustix::event::PollFlags;

use super::admission::{Admission, Permit};
use super::bounds::{Bounds, MAX_LONG_REQUESTS};
use super::line::{self, End, encoded, is_temporary};
use super::long_requests::{LongRequest, LongRequests};
use super::monitor::{Ended, Monitor, Wanted};
use super::request::parse_request;
use super::stop::{Stop, Wake, wait};
use crate::event::{Attempt, Recorder};
use crate::peer::{Access, Peer};

/// Bytes of one read.
const CHUNK: usize = 16 << 10;

/// Carries out one request of a client on the connection's thread. Several threads call it at once.
pub type Handler = Arc<dyn Fn(&Peer, Request) -> Response + Send + Sync>;

/// Everything that a connection's thread needs.
pub(super) struct Shared {
    pub(super) daemon: Daemon,
    pub(super) handler: Handler,
    pub(super) access: Access,
    pub(super) events: Recorder,
    /// Connections that follow the events.
    pub(super) followers: AtomicUsize,
    pub(super) stop: Arc<Stop>,
    pub(super) bounds: Bounds,
    pub(super) admission: Admission,
    pub(super) long_requests: LongRequests,
}

/// Greets and refuses a client that gets no permit. It never waits: both lines fit the empty
/// buffer of a new socket.
pub(super) fn refuse(mut stream: &UnixStream, daemon: Daemon, message: String) {
    tracing::debug!("control connection refused: {message}");
    let error = Error::new(ErrorKind::Failed, message + "; try again later");
    let mut lines = encoded(&greeting(daemon));
    lines.extend(encoded(&Response::Error(error)));
    let _ = stream.write(&lines);
}

/// Serves one connection to its end.
pub(super) fn serve(stream: Arc<UnixStream>, permit: Permit<'_>, shared: &Shared) {
    let ended = Peer::of(&*stream, shared.access).map_err(End::Failed).and_then(|peer| {
        let mut connection = Connection {
            stream,
            permit,
            shared,
            peer,
            introduced: None,
            buffer: Vec::new(),
            start: 0,
            long_request: None,
        };
        connection.run()
    });
    match ended {
        Ok(()) | Err(End::Stopped | End::Evicted) => {}
        Err(End::Slow(doing)) => tracing::debug!("control client dropped: too slow {doing}"),
        Err(End::Failed(error)) => tracing::debug!("control client lost: {error}"),
    }
}

/// What the client sent next.
enum Line {
    /// A whole line: the bytes up to this position of the buffer, newline excluded.
    Until(usize),
    TooLong,
    /// The line is long, and other connections hold as many long ones as there may be.
    TooManyLong,
    Unfinished,
    Closed,
}

struct Connection<'a> {
    stream: Arc<UnixStream>,
    permit: Permit<'a>,
    shared: &'a Shared,
    peer: Peer,
    /// The client has said what it is.
    introduced: Option<Introduced<'a>>,
    /// What was read; never more than one request and one chunk.
    buffer: Vec<u8>,
    /// The start of the next line in `buffer`.
    start: usize,
    /// Held as long as a long line is in the buffer or its request is carried out.
    long_request: Option<LongRequest<'a>>,
}

impl Connection<'_> {
    fn run(&mut self) -> Result<(), End> {
        self.write(&encoded(&greeting(self.shared.daemon)))?;
        loop {
            match self.read_line()? {
                Line::Until(end) => {
                    let request = parse_request(&self.buffer[self.start..end]);
                    self.start = end + 1;
                    let reply = match request {
                        Ok(Request::Monitor { since, instance, kinds, follow }) => {
                            self.end_long_request();
                            let wanted = Wanted::new((since, instance), &kinds, follow);
                            match self.monitor().respond(&wanted)? {
                                Ended::Answered => continue,
                                Ended::Closed => return Ok(()),
                            }
                        }
                        Ok(Request::Hello { client, version }) => self.hello(client, version),
                        Ok(request) => self.carry_out(request),
                        Err(error) => Response::Error(error),
                    };
                    self.end_long_request();
                    self.write(&encoded(&reply))?;
                }
                Line::TooLong => {
                    let limit = self.shared.bounds.request_bytes;
                    let message = format!("a request has at most {limit} bytes");
                    return self.close_with(ErrorKind::BadRequest, message);
                }
                Line::TooManyLong => {
                    let short = self.shared.bounds.short_request_bytes;
                    let message = format!(
                        "there are {MAX_LONG_REQUESTS} requests of more than {short} bytes already; \
                         try again later"
                    );
                    return self.close_with(ErrorKind::Failed, message);
                }
                Line::Unfinished => {
                    let message = "the request ends without a newline".into();
                    return self.close_with(ErrorKind::BadRequest, message);
                }
                Line::Closed => return Ok(()),
            }
        }
    }

    fn monitor(&self) -> Monitor<'_> {
        Monitor {
            stream: &self.stream,
            stop: &self.shared.stop,
            ring: self.shared.events.ring(),
            followers: &self.shared.followers,
            client_timeout: self.shared.bounds.client_timeout,
        }
    }

    fn carry_out(&self, request: Request) -> Response {
        let daemon = self.shared.daemon;
        if let Some(other) = request.daemon().filter(|&other| other != daemon) {
            let message = format!(
                "`{}` is for {other}, by default at {}; this is {daemon}",
                request.name(),
                other.socket()
            );
            return Response::Error(Error::new(ErrorKind::BadRequest, message));
        }
        // A panic would end this thread and leave the client without a reply.
        catch_unwind(AssertUnwindSafe(|| (self.shared.handler)(&self.peer, request)))
            .unwrap_or_else(|_| failure("the daemon failed on this request; see its log"))
    }

    fn hello(&mut self, client: String, version: String) -> Response {
        if self.introduced.is_some() {
            let message = "this connection has said hello already";
            return Response::Error(Error::new(ErrorKind::BadRequest, message));
        }
        let Peer { uid, pid, access, .. } = self.peer;
        let name = client.clone();
        let connected =
            |unrecorded| Happening::ClientConnected { client, version, uid, pid, unrecorded };
        let is_recorded = self.shared.events.record_attempt(Attempt::Hello, access, connected);
        self.introduced = Some(Introduced { shared: self.shared, client: name, pid, is_recorded });
        Response::Hello {}
    }

    /// Finds the next line, reading as much as it takes.
    fn read_line(&mut self) -> Result<Line, End> {
        let mut scanned = self.start;
        let mut deadline = None;
        loop {
            // Lines that are in the buffer need no poll, so the stop is checked here.
            if self.shared.stop.is_raised() {
                return Err(End::Stopped);
            }
            let newline = self.buffer[scanned..].iter().position(|&byte| byte == b'\n');
            let end = newline.map_or(self.buffer.len(), |offset| scanned + offset);
            // The newline counts: a line of that many bytes without one is too long already.
            if end - self.start >= self.shared.bounds.request_bytes {
                return Ok(Line::TooLong);
            }
            // Before more of a long line is read, and before a complete one is carried out.
            if end - self.start >= self.shared.bounds.short_request_bytes
                && self.long_request.is_none()
            {
                if !self.wait_for_long_request()? {
                    return Ok(Line::TooManyLong);
                }
                // The wait must not count against the client.
                deadline = None;
            }
            if newline.is_some() {
                return Ok(Line::Until(end));
            }

            // Only here, so that a buffer of many short lines is not moved once per line.
            self.buffer.drain(..self.start);
            self.start = 0;
            scanned = self.buffer.len();
            if self.buffer.is_empty() {
                self.buffer.shrink_to(CHUNK);
            } else {
                // One deadline for the whole line: single bytes do not extend it.
                deadline.get_or_insert_with(|| Instant::now() + self.shared.bounds.client_timeout);
            }
            if self.read(deadline)? == 0 {
                let rest = if self.buffer.is_empty() { Line::Closed } else { Line::Unfinished };
                return Ok(rest);
            }
        }
    }

    /// Waits until this connection may hold a long request; false if that takes too long.
    fn wait_for_long_request(&mut self) -> Result<bool, End> {
        let deadline = Instant::now() + self.shared.bounds.client_timeout;
        let (wake, permit) = self.shared.long_requests.take(&self.shared.stop, deadline)?;
        self.long_request = permit;
        match wake {
            Wake::Ready => Ok(true),
            Wake::Late => Ok(false),
            Wake::Stopped => Err(End::Stopped),
        }
    }

    /// Gives back what a long request took: first the bytes, then the permit.
    fn end_long_request(&mut self) {
        if self.long_request.is_some() {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.shrink_to(CHUNK);
            self.long_request = None;
        }
    }

    /// Reads some bytes, 0 at the end. Without a deadline the connection is idle until bytes arrive.
    fn read(&mut self, deadline: Option<Instant>) -> Result<usize, End> {
        let mut chunk = [0; CHUNK];
        loop {
            if deadline.is_none() {
                self.permit.idle();
            }
            let wake = wait(&self.stream, PollFlags::IN, &self.shared.stop, deadline)?;
            // Before the read, so that eviction never loses a part of a request.
            if deadline.is_none() && !self.permit.busy() {
                return Err(End::Evicted);
            }
            match wake {
                Wake::Ready => {}
                Wake::Stopped => return Err(End::Stopped),
                Wake::Late => return Err(End::Slow("to send the rest of a request")),
            }
            match (&*self.stream).read(&mut chunk) {
                Ok(read) => {
                    self.buffer.extend_from_slice(&chunk[..read]);
                    return Ok(read);
                }
                Err(error) if is_temporary(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), End> {
        let Shared { stop, bounds, .. } = self.shared;
        line::write(&self.stream, bytes, stop, bounds.client_timeout)
    }

    /// Sends the last reply. For a while the rest of the client's bytes is read and discarded: if the
    /// socket closed at once, the client would fail to send and not read the reason.
    fn close_with(&mut self, kind: ErrorKind, message: String) -> Result<(), End> {
        self.start = self.buffer.len();
        self.end_long_request();
        let error = Error::new(kind, message);
        self.write(&encoded(&Response::Error(error)))?;
        self.stream.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + self.shared.bounds.client_timeout;
        while Instant::now() < deadline {
            self.buffer.clear();
            if self.read(Some(deadline))? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// A client that has said what it is. Dropping it records that the client has gone if its coming was recorded, unless
/// the daemon stops.
struct Introduced<'a> {
    shared: &'a Shared,
    client: String,
    pid: u32,
    is_recorded: bool,
}

impl Drop for Introduced<'_> {
    fn drop(&mut self) {
        if self.is_recorded && !self.shared.stop.is_raised() {
            let (client, pid) = (std::mem::take(&mut self.client), self.pid);
            self.shared.events.record(Happening::ClientDisconnected { client, pid });
        }
    }
}

pub(super) fn greeting(daemon: Daemon) -> Greeting {
    Greeting {
        server: daemon.name().into(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol: PROTOCOL_VERSION,
    }
}

fn failure(message: &str) -> Response {
    Response::Error(Error::new(ErrorKind::Failed, message))
}
