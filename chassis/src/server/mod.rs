//! The control socket: a unix stream socket for requests of `guidewayctl` and other clients.
//!
//! [`guideway_api`] defines the protocol. One thread accepts connections, and each connection has a
//! thread of its own, so that a client delays only itself. A daemon may serve two sockets, one of them for
//! clients that only read: the handler gets the client as a [`Peer`], with what it may do.
//!
//! The server itself carries out two requests, because they concern the connection: `monitor`, which may have any
//! number of responses, and `hello`.
//!
//! Bounds:
//! - [`CONNECTIONS`] at once. One more evicts the connection that has been idle for longest. If none
//!   is idle, the new one gets an error and is closed.
//! - [`CLIENT_TIMEOUT`] for the rest of a line that has begun, and for the client to take a reply. Between
//!   requests a connection may idle until it is evicted.
//! - [`FOLLOWERS`] of them that follow the events; one more gets an error. They are never idle, and may take as long
//!   as they like to read.
//! - A request line of [`guideway_api::MAX_REQUEST`] bytes. Only [`MAX_LONG_REQUESTS`] connections at once
//!   hold a line of more than [`LONG_REQUEST_BYTES`] bytes, until its reply. Others wait for a permit, for
//!   [`CLIENT_TIMEOUT`] at most, then get an error and are closed. All requests together therefore take at
//!   most 62 MiB and 2 times 32 MiB.

mod admission;
mod bounds;
mod connection;
mod line;
mod long_requests;
mod monitor;
mod request;
mod socket;
mod stop;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use guideway_api::{Daemon, MAX_REQUEST};
use rustix::event::PollFlags;

use admission::Admission;
use bounds::Bounds;
pub use bounds::{CLIENT_TIMEOUT, CONNECTIONS, FOLLOWERS, LONG_REQUEST_BYTES, MAX_LONG_REQUESTS};
pub use connection::Handler;
use connection::Shared;
use long_requests::LongRequests;
pub use request::parse_request;
pub use socket::Error;
pub(crate) use socket::Socket;
use socket::system;
use stop::{Stop, Wake, wait};

use crate::event::Recorder;
use crate::peer::Access;
#[cfg(doc)]
use crate::peer::Peer;

/// The pause after a connection could not be accepted, for example for lack of descriptors: the listener
/// stays readable, and the thread would spin.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A control socket that is bound and does not accept connections yet.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    socket: Socket,
    stop: Stop,
    long_requests: LongRequests,
    bounds: Bounds,
    access: Access,
}

impl Server {
    /// Binds `path`, creates its directory if it is missing, and replaces a socket that no daemon
    /// serves, for this daemon. Members of a group, which comes with the setting that names it, or else of the
    /// group of the process, may connect, and have this access.
    pub fn bind(
        daemon: Daemon,
        path: &Path,
        group: Option<(&'static str, &str)>,
        access: Access,
    ) -> Result<Server, Error> {
        let bounds = Bounds {
            connections: CONNECTIONS,
            client_timeout: CLIENT_TIMEOUT,
            request_bytes: MAX_REQUEST,
            short_request_bytes: LONG_REQUEST_BYTES,
        };
        let stop = Stop::new().map_err(system("make an event descriptor for", path))?;
        let long_requests = LongRequests::new(MAX_LONG_REQUESTS)
            .map_err(system("make an event descriptor for", path))?;
        let socket = Socket::bind(path, group)?;
        Ok(Server { daemon, socket, stop, long_requests, bounds, access })
    }

    /// Serves until the handle is stopped or dropped. Clients read the events that `events` records.
    ///
    /// # Panics
    /// If the operating system refuses a thread.
    pub fn start(self, handler: Handler, events: Recorder) -> Handle {
        let stop = Arc::new(self.stop);
        let shared = Shared {
            daemon: self.daemon,
            handler,
            access: self.access,
            events,
            followers: AtomicUsize::new(0),
            stop: Arc::clone(&stop),
            bounds: self.bounds,
            admission: Admission::new(self.bounds.connections),
            long_requests: self.long_requests,
        };
        let socket = self.socket;
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(socket, &shared))
            .expect("a thread for the control socket");
        Handle { stop, thread: Some(thread) }
    }
}

/// A running server. Dropping the handle stops the server, as [`Handle::stop`] does.
#[derive(Debug)]
pub struct Handle {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Removes the socket, closes every connection and waits for the threads. A request that is being
    /// carried out is finished first; everything else ends at once.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.raise();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control socket's thread panicked");
        }
    }
}

/// The accepting thread: gives each connection a thread, until the stop.
fn accept(socket: Socket, shared: &Shared) {
    // The scope's end joins the connections' threads.
    thread::scope(|scope| {
        loop {
            match wait(&socket.listener, PollFlags::IN, &shared.stop, None) {
                Ok(Wake::Ready) => {}
                Ok(Wake::Stopped | Wake::Late) => break,
                Err(error) => {
                    tracing::error!(%error, "the control socket fails and is closed");
                    break;
                }
            }
            let stream = match accept_one(&socket.listener) {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control connection");
                    pause(&shared.stop);
                    continue;
                }
            };
            let Some(permit) = shared.admission.take(&stream) else {
                let limit = shared.bounds.connections;
                connection::refuse(
                    &stream,
                    shared.daemon,
                    format!("there are {limit} connections already"),
                );
                continue;
            };
            let spawned = thread::Builder::new().name("control".into()).spawn_scoped(scope, || {
                connection::serve(stream, permit, shared);
            });
            if let Err(error) = spawned {
                tracing::warn!(%error, "no thread for a control connection");
            }
        }
        // The socket goes before the threads, so that no client connects to a daemon that stops.
        drop(socket);
    });
}

fn accept_one(listener: &UnixListener) -> io::Result<Arc<UnixStream>> {
    let (stream, _) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok(Arc::new(stream))
}

/// Waits [`ACCEPT_PAUSE`], or until the stop.
fn pause(stop: &Stop) {
    let until = Instant::now() + ACCEPT_PAUSE;
    // No flags of the descriptor are polled, so that only the stop or the deadline ends the wait.
    let _ = wait(&stop.event.as_fd(), PollFlags::empty(), stop, Some(until));
}
