//! The HTTP server: metrics for Prometheus, and the health of the node. It can only be read.
//!
//! One thread serves every connection; `/metrics` is made on two more, so that a large page delays no other answer.
//! A client delays only itself, and holds what it holds for a bounded time:
//! - [`CONNECTIONS`] at once. One more evicts the connection that has waited longest for its client: for the header of
//!   a request, or for [`STALL_TIME`] and more for a byte of its answer to be taken. If there is none, the new one gets
//!   503.
//! - [`HEADER_BYTES`] and [`HEADERS`] of a request, [`HEADER_TIME`] from its first byte to its last. A request has no
//!   body.
//! - [`IDLE_TIME`] between two requests.
//! - [`ANSWER_TIME`] from a request to the last byte of its answer, and [`PROGRESS_TIME`] from one byte that the client
//!   takes to the next.
//! - [`SCRAPES`] connections hold a page of metrics. One more evicts the oldest if that has held its page for
//!   [`SCRAPE_TIME`]; otherwise it gets 503. A page that several get is in memory once.
//!
//! A request names an address, `localhost`, the node or one of the names that the daemon was given as its `Host`. Otherwise a page in a
//! browser could name this server by a name of its own and read from it (DNS rebinding). At a unix socket any name may
//! stand there: no browser resolves a name to a path.

mod bounds;
mod connection;
mod listener;
mod pages;
mod query;
mod respond;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use guideway_config as config;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::runtime::{self, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::sleep;

use bounds::Limits;
pub use bounds::{
    ANSWER_TIME, CONNECTIONS, HEADER_BYTES, HEADER_TIME, HEADERS, IDLE_TIME, PROGRESS_TIME,
    SCRAPE_TIME, SCRAPES, STALL_TIME,
};
use connection::{Admitted, Connections};
pub use listener::Error;
use listener::{Accepting, Listener};
pub use pages::{Answer, Metrics, Pages, Query};
use respond::Shared;
use stream::Stream;

/// Threads that make pages.
const PAGE_THREADS: usize = 2;
/// How long a thread that makes pages waits for the next one.
const PAGE_THREAD_TIME: Duration = Duration::from_secs(10);
/// How long the stop waits for a page that is being made.
const STOP_TIME: Duration = Duration::from_millis(500);
/// The pause after a connection could not be accepted, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A server that is bound and does not accept connections yet.
pub struct Server {
    listeners: Vec<Listener>,
    hosts: (&'static str, Vec<String>),
    limits: Limits,
}

impl Server {
    /// Binds these listeners. `hosts` are names by which clients may address the server, with the setting that has them.
    /// Members of a group, which comes with the setting that names it, may connect to a unix socket; without one, those
    /// of the group of the process.
    ///
    /// # Errors
    /// What the operator has to change.
    pub fn bind(
        listen: &[config::Listen],
        hosts: (&'static str, &[String]),
        group: Option<(&'static str, &str)>,
    ) -> Result<Server, Error> {
        let listeners = listen.iter().map(|listen| Listener::bind(listen, group));
        Ok(Server {
            listeners: listeners.collect::<Result<_, _>>()?,
            hosts: (hosts.0, hosts.1.iter().map(|host| host.to_ascii_lowercase()).collect()),
            limits: Limits::default(),
        })
    }

    /// Serves these pages until the handle is stopped or dropped. Without a listener there is no thread.
    ///
    /// # Errors
    /// If the operating system refuses a thread or a descriptor.
    pub fn start(self, pages: Pages) -> io::Result<Handle> {
        let pages = Arc::new(ArcSwap::from_pointee(pages));
        let stop = Arc::new(Notify::new());
        if self.listeners.is_empty() {
            return Ok(Handle { pages, stop, thread: None });
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(PAGE_THREADS)
            .thread_keep_alive(PAGE_THREAD_TIME)
            .thread_name("http-page")
            .build()?;
        let (served, stopped) = (Arc::clone(&pages), Arc::clone(&stop));
        let serve = move || self.serve(runtime, served, &stopped);
        let thread = thread::Builder::new().name("http".into()).spawn(serve)?;
        Ok(Handle { pages, stop, thread: Some(thread) })
    }

    /// The server's thread.
    fn serve(self, runtime: Runtime, pages: Arc<ArcSwap<Pages>>, stop: &Notify) {
        let connections = Connections::new(self.limits);
        let shared = Rc::new(Shared { pages, hosts: self.hosts, connections });
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            for listener in self.listeners {
                spawn_local(accept(listener, Rc::clone(&shared)));
            }
            stop.notified().await;
        });
        // Closes every connection, and removes the unix sockets.
        drop(tasks);
        runtime.shutdown_timeout(STOP_TIME);
    }
}

/// A running server. Dropping the handle stops the server, as [`Handle::stop`] does.
pub struct Handle {
    pages: Arc<ArcSwap<Pages>>,
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Serves these pages from now on.
    pub fn serve(&self, pages: Pages) {
        self.pages.store(Arc::new(pages));
    }

    /// Closes every connection at once and waits for the thread.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the HTTP server's thread panicked");
        }
    }
}

/// Gives each connection of a listener a task.
async fn accept(listener: Listener, shared: Rc<Shared>) {
    let accepting = match Accepting::new(listener) {
        Ok(accepting) => accepting,
        Err(error) => return tracing::error!(%error, "a listener of the HTTP server fails"),
    };
    loop {
        match accepting.accept().await {
            Ok(stream) => admit(stream, &shared),
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        // A flood of connections must not keep those that are there from being served.
        yield_now().await;
    }
}

fn admit(stream: Stream, shared: &Rc<Shared>) {
    let Some(connection) = shared.connections.admit() else {
        return stream.refuse(respond::FULL.as_bytes());
    };
    let served = Rc::clone(&connection);
    let task = spawn_local(serve(stream, served, Rc::clone(shared)));
    connection.runs_as(task.abort_handle());
}

/// Serves a connection until the client closes it or uses up its time.
async fn serve(stream: Stream, connection: Rc<Admitted>, shared: Rc<Shared>) {
    let is_local = matches!(stream, Stream::Unix(_));
    let answer = service_fn(|request| respond::respond(&shared, &connection, is_local, request));
    let serving = http1::Builder::new()
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        // `connection` measures the time, since this one also ends connections that are idle.
        .header_read_timeout(None)
        // Some clients send a request and say at once that it was the last.
        .half_close(true)
        .serve_connection(stream.watched(Rc::clone(&connection)), answer);
    // The client's fault or its end: there is nobody to tell.
    connection.within_time(serving).await;
}
