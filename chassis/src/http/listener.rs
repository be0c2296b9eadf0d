//! Where the server listens: TCP and unix sockets.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

use guideway_config::Listen;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::stream::Stream;
use crate::server::{self, Socket};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 256;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unix socket cannot be served.
    #[error(transparent)]
    Socket(#[from] server::Error),
    /// Something else has the address.
    #[error("{0}: another program listens there already; stop it or choose another port")]
    InUse(SocketAddr),
    /// No interface has the address.
    #[error("{0}: this machine does not have the address")]
    NoAddress(SocketAddr),
    /// The operating system refused.
    #[error("cannot listen on {0}: {1}")]
    System(SocketAddr, io::Error),
}

/// A listener that is bound.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// Its file is removed with it.
    Unix(Socket),
}

impl Listener {
    /// Binds. Members of a group, which comes with the key that names it, may connect to a unix socket.
    pub(super) fn bind(
        listen: &Listen,
        group: Option<(&'static str, &str)>,
    ) -> Result<Listener, Error> {
        match listen {
            Listen::Tcp(address) => {
                tcp(*address).map(Listener::Tcp).map_err(|error| match error.kind() {
                    ErrorKind::AddrInUse => Error::InUse(*address),
                    ErrorKind::AddrNotAvailable => Error::NoAddress(*address),
                    _ => Error::System(*address, error),
                })
            }
            Listen::Unix(path) => Ok(Listener::Unix(Socket::bind(path, group)?)),
        }
    }
}

/// A listener of one family: `[::]` is not `0.0.0.0`, so that both may be given.
fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// A listener that the server's thread polls.
pub(super) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix {
        listener: tokio::net::UnixListener,
        /// Removes its file in the end.
        _socket: Socket,
    },
}

impl Accepting {
    pub(super) fn new(listener: Listener) -> io::Result<Accepting> {
        Ok(match listener {
            Listener::Tcp(listener) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Listener::Unix(socket) => {
                let listener = socket.listener.try_clone()?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Accepting::Unix { listener, _socket: socket }
            }
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Accepting::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is written whole: there is nothing to gather.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Accepting::Unix { listener, .. } => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}
