//! A client of the control protocol, for `guidewayctl` and for the controller: it connects, checks the greeting,
//! sends requests and reads the responses to them in their order.
//!
//! The daemon may be hung, of another release, or no daemon at all. So every step has the timeout of
//! [`Client::connect`], also if the other side sends a byte at a time; a response has at most 64 MiB; and a
//! response must be to the request that was sent. An error says whether the request may have been carried out: after
//! [`Error::NoResponse`] and [`Error::Response`] it may have been, after the others it was not.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use guideway_api::{Daemon, Greeting, MAX_REQUEST, PROTOCOL_VERSION, Request, Response};
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, socket, sockopt::PeerCredentials,
};

/// The time from one attempt to connect to the next, while the backlog is full.
const RETRY: Duration = Duration::from_millis(5);

/// Bytes of a response at the most. The longest, a full flow listing, has a few megabytes.
const MAX_RESPONSE: usize = 64 << 20;

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request did not reach the daemon, so it was not carried out.
    #[error("cannot reach {wanted} at {socket}: {reason}")]
    Unreachable {
        /// The daemon.
        wanted: Daemon,
        /// The socket.
        socket: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server at the socket is another one.
    #[error("the server at {socket} is not {wanted}; is the path of the socket right?")]
    NotIt {
        /// The socket.
        socket: PathBuf,
        /// The daemon that was wanted.
        wanted: Daemon,
    },
    /// The daemon has another protocol version.
    #[error(
        "the daemon (release {release}) speaks protocol {protocol}, this program (release {}) \
         {PROTOCOL_VERSION}; use programs of one release, or restart the daemon if it has been upgraded \
         since its start",
        env!("CARGO_PKG_VERSION")
    )]
    Protocol {
        /// The daemon's release.
        release: String,
        /// Its protocol.
        protocol: u32,
    },
    /// The request was sent, and no response came.
    #[error("no response from the daemon: {reason}; the request may have been carried out")]
    NoResponse {
        /// Why.
        reason: String,
    },
    /// The response is not of this protocol, or not to this request.
    #[error("the daemon's response is invalid: {reason}")]
    Response {
        /// Why.
        reason: String,
    },
    /// The daemon refused the request.
    #[error("{}", .0.message)]
    Refused(guideway_api::Error),
    /// The request is too long. Only control characters, each six bytes in JSON, can cause this.
    #[error(
        "the request has more than {MAX_REQUEST} bytes; are there control characters in the file? \
         TOML forbids them"
    )]
    TooLong,
}

/// A connection to a daemon of this protocol version.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    wanted: Daemon,
    socket: PathBuf,
    timeout: Duration,
}

impl Client {
    /// Connects and checks that this daemon greets. `timeout` is for each step: connecting, the greeting, sending a
    /// request, and its response.
    ///
    /// # Errors
    /// If the daemon cannot be reached, or is another. [`Error`] says which requests may have been carried out.
    pub fn connect(socket: &Path, wanted: Daemon, timeout: Duration) -> Result<Client, Error> {
        let unreachable = |reason| Error::Unreachable { wanted, socket: socket.into(), reason };
        let stream = connect(socket, timeout).map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => "; is it running?",
                ErrorKind::PermissionDenied => "; be root or of the socket's group",
                _ => "",
            };
            unreachable(format!("{error}{advice}"))
        })?;
        let stream = BufReader::new(stream);
        let mut client = Client { stream, wanted, socket: socket.into(), timeout };
        let line = client.line().map_err(|error| unreachable(error.to_string()))?;

        let greeting = serde_json::from_slice::<Greeting>(&line).ok();
        let Some(greeting) = greeting.filter(|greeting| greeting.server == wanted.name()) else {
            return Err(Error::NotIt { socket: socket.into(), wanted });
        };
        if greeting.protocol != PROTOCOL_VERSION {
            let Greeting { version: release, protocol, .. } = greeting;
            return Err(Error::Protocol { release, protocol });
        }
        Ok(client)
    }

    /// Sends a request and waits for its response. A refusal is an error.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send(&mut self, request: &Request) -> Result<Response, Error> {
        self.post(request)?;
        self.receive(request)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn post(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(|error| Error::Response {
            reason: format!("cannot write the request as JSON: {error}"),
        })?;
        line.push(b'\n');
        if line.len() > MAX_REQUEST {
            return Err(Error::TooLong);
        }
        let stream = self.stream.get_mut();
        let sent = stream
            .set_write_timeout(Some(self.timeout))
            .and_then(|()| stream.write_all(&line).map_err(|error| timely(error, self.timeout)));
        let Err(error) = sent else { return Ok(()) };
        // The daemon may have sent an error before it read the whole request.
        match self.receive(request) {
            Err(refusal @ Error::Refused(_)) => Err(refusal),
            _ => Err(Error::Unreachable {
                wanted: self.wanted,
                socket: self.socket.clone(),
                reason: format!("sending the request failed: {error}"),
            }),
        }
    }

    /// Waits for the next response to a request that was sent. A refusal is an error.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn receive(&mut self, request: &Request) -> Result<Response, Error> {
        let line = self.line().map_err(|error| Error::NoResponse { reason: error.to_string() })?;
        match serde_json::from_slice(&line) {
            Ok(Response::Error(error)) => Err(Error::Refused(error)),
            Ok(response) if fits(&response, request) => Ok(response),
            Ok(_) => Err(Error::Response { reason: "it is to another request".into() }),
            Err(error) => Err(Error::Response { reason: error.to_string() }),
        }
    }

    /// Whether some of a response is here already, so that the socket may have nothing more.
    pub fn has_bytes(&self) -> bool {
        !self.stream.buffer().is_empty()
    }

    /// The number of the daemon's process, which a restart changes; 0 in another namespace of processes.
    pub fn daemon(&self) -> Option<i32> {
        Some(getsockopt(self.stream.get_ref(), PeerCredentials).ok()?.pid())
    }

    /// Reads one line.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.timeout;
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero would wait for ever.
            self.stream.get_ref().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let read = match self.stream.fill_buf() {
                Ok([]) => return Err(io::Error::other("it closed the connection")),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(timely(error, self.timeout)),
            };
            let end = read.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            line.extend_from_slice(&read[..taken]);
            self.stream.consume(taken);
            if end.is_some() {
                return Ok(line);
            }
            if line.len() > MAX_RESPONSE {
                return Err(io::Error::other("it is too long"));
            }
            if left.is_zero() {
                return Err(timely(ErrorKind::TimedOut.into(), self.timeout));
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}

/// Connects within `timeout`. The kernel has no timeout for this: it waits while the backlog of a hanging daemon is
/// full, or says so at once if it may not wait.
fn connect(socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let deadline = Instant::now() + timeout;
    loop {
        match connect_at_once(socket) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(RETRY);
            }
            connected => return connected.map_err(|error| timely(error, timeout)),
        }
    }
}

/// Connects without a wait. The error of a full backlog is [`ErrorKind::WouldBlock`].
fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let descriptor = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Whether a process listens at a socket, even if it accepts nobody.
pub fn is_listening(socket: &Path) -> bool {
    match connect_at_once(socket) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Names a timeout in plain words; the kernel calls it "temporarily unavailable".
fn timely(error: io::Error, timeout: Duration) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::other(format!("nothing received within {} s", timeout.as_secs()))
        }
        _ => error,
    }
}

/// Whether the response is of the request's kind.
fn fits(response: &Response, request: &Request) -> bool {
    matches!(
        (request, response),
        (Request::Status {}, Response::Status(_))
            | (Request::ServiceList {}, Response::Services(_))
            | (Request::BackendList {}, Response::Backends(_))
            | (Request::BackendSet { .. }, Response::BackendsSet { .. })
            | (Request::WorkerList {}, Response::Workers(_))
            | (Request::PortList {}, Response::Ports(_))
            | (Request::PortStats { .. }, Response::PortStats(_))
            | (Request::Stats {}, Response::Stats(_))
            | (Request::ConfigShow {}, Response::Config { .. })
            | (Request::ConfigCheck { .. }, Response::Checked { .. })
            | (
                Request::ConfigApply { .. } | Request::ConfigReload { .. },
                Response::Applied { .. }
            )
            | (Request::FlowList(_), Response::Flows(_))
            | (Request::InterfaceList {}, Response::Interfaces(_))
            | (Request::NeighborList {}, Response::Neighbors(_))
            | (Request::RouteShow { .. }, Response::Route(_))
            | (Request::PuntList {}, Response::Punts(_))
            | (Request::PinSet { .. }, Response::PinsSet { .. })
            | (Request::PinList {}, Response::Pins(_))
            | (Request::Monitor { .. }, Response::Events(_))
            | (Request::LogLevel { .. }, Response::LogLevel { .. })
            | (Request::Hello { .. }, Response::Hello {})
            | (Request::VipList {}, Response::Vips(_))
            | (Request::VipSet { .. }, Response::VipsSet { .. })
            | (Request::NodeShow {}, Response::Node(_))
            | (Request::NodeSet { .. }, Response::NodeSet { .. })
            | (Request::BgpList {}, Response::BgpPeers(_))
            | (Request::BgpShow { .. }, Response::BgpPeer(_))
            | (Request::CheckList {}, Response::Checks(_))
            | (Request::CheckShow { .. }, Response::Check(_))
            | (Request::CheckRun { .. }, Response::CheckRan(_))
    )
}
