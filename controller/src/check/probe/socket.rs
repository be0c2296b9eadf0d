//! Sockets, and whose fault their errors are.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use guideway_api::CheckCode;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UdpSocket};

use crate::check::To;

use super::outcome::Steps;
use super::trace::{Stage, Trace, Verdict};

/// Where a probe goes, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// Where it goes.
    pub to: To,
    /// An address of the node and a port, which is the identifier of an echo request. Without one the kernel chooses.
    pub source: Option<SocketAddr>,
}

/// The shortest and the longest segment that the kernel lets a socket ask for.
const SEGMENTS: std::ops::RangeInclusive<u32> = 88..=32_767;
const TCP_HEADER: u16 = 20;

/// The length of a header of IP without options.
pub(super) fn ip_header(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { 20 } else { 40 }
}

/// A fault of the node itself.
pub(super) fn own(doing: &str, error: &io::Error) -> Verdict {
    Verdict::failure(CheckCode::SockErr, format!("{doing}: {}", words(error)))
}

/// An error that came from the path or from the peer.
pub(super) fn unreachable(error: &io::Error) -> Verdict {
    let code = match error.kind() {
        ErrorKind::TimedOut => CheckCode::L4Tout,
        _ => CheckCode::L4Con,
    };
    Verdict::failure(code, words(error))
}

/// What `connect` or `send` returned at once. A server on the node itself refuses at once; all else is the node's own.
fn at_once(doing: &str, error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => unreachable(error),
        _ => own(doing, error),
    }
}

/// An error without the system's number.
pub(super) fn words(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => "the connection was refused".to_owned(),
        Some(Errno::CONNRESET | Errno::PIPE) => "the connection was reset".to_owned(),
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN) => "the host is unreachable".to_owned(),
        Some(Errno::NETUNREACH) => "the network is unreachable".to_owned(),
        Some(Errno::TIMEDOUT) => "the connection timed out".to_owned(),
        Some(Errno::MSGSIZE) => "the packet is too long for the way".to_owned(),
        Some(Errno::ADDRINUSE) => "the source address and port are in use".to_owned(),
        Some(Errno::ADDRNOTAVAIL) => {
            "the source address is not this node's, or no port is free".to_owned()
        }
        Some(Errno::MFILE | Errno::NFILE) => "too many files are open".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_owned()
        }
    }
}

/// A socket that is bound, if there is something to bind it to.
fn open(
    ip: IpAddr,
    kind: Type,
    protocol: Protocol,
    source: Option<SocketAddr>,
) -> Result<Socket, Verdict> {
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let open = || {
        let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
        if source.is_some() {
            socket.set_reuse_address(true)?;
        }
        Ok(socket)
    };
    let socket = open().map_err(|error| own("no socket", &error))?;
    bind(&socket, source)?;
    Ok(socket)
}

/// Binds a socket.
pub(super) fn bind(socket: &Socket, source: Option<SocketAddr>) -> Result<(), Verdict> {
    let Some(source) = source else { return Ok(()) };
    socket.bind(&source.into()).map_err(|error| own(&format!("bind to {source}"), &error))
}

/// Has packets of the socket's size never be cut, and ICMP errors of every kind be returned.
pub(super) fn whole_or_nothing(socket: &Socket, ip: IpAddr) -> Result<(), Verdict> {
    let cut = if ip.is_ipv4() {
        set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)
    } else {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::PROBE)
    };
    cut.map_err(|error| own("no socket", &error.into()))?;
    errors_of_any_kind(socket, ip)
}

/// Has ICMP errors of every kind be returned. Otherwise "host unreachable" is not.
fn errors_of_any_kind(socket: &Socket, ip: IpAddr) -> Result<(), Verdict> {
    let set = if ip.is_ipv4() {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    };
    set.map_err(|error| own("no socket", &error.into()))
}

/// Connects a socket that has nothing to wait for.
pub(super) fn associate(socket: &Socket, to: SocketAddr) -> Result<(), Verdict> {
    socket.connect(&to.into()).map_err(|error| own("no way", &error))
}

/// Opens a TCP connection. Until its end is known it ends by a reset.
///
/// With `size` the longest segment is that of an IP packet of this length, whatever TCP's options are; and the peer is
/// told not to send longer ones.
pub(super) async fn connect<S: Steps>(
    to: SocketAddr,
    source: Option<SocketAddr>,
    size: Option<u16>,
    trace: &mut Trace<'_, S>,
) -> Result<TcpStream, Verdict> {
    let socket = open(to.ip(), Type::STREAM, Protocol::TCP, source)?;
    let asked = size.map(|size| {
        let segment = u32::from(size.saturating_sub(ip_header(to.ip()) + TCP_HEADER));
        segment.clamp(*SEGMENTS.start(), *SEGMENTS.end())
    });
    let prepare = || {
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        asked.map_or(Ok(()), |segment| socket.set_tcp_mss(segment))
    };
    prepare().map_err(|error: io::Error| own("no socket", &error))?;
    trace.enter(Stage::Connect);
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
            return Err(at_once("connect", &error));
        }
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into()).map_err(|error| own("no socket", &error))?;
    stream.writable().await.map_err(|error| own("no socket", &error))?;
    match stream.take_error().map_err(|error| own("no socket", &error))? {
        // Only an open connection is reset. What comes next finds it closed.
        Some(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Some(error) => return Err(unreachable(&error)),
        None => {}
    }
    trace.done(|| match stream.local_addr() {
        Ok(local) => format!("from {local} to {to}{}", shorter(&stream, asked)),
        Err(_) => format!("to {to}"),
    });
    Ok(stream)
}

/// That the peer, or the way's MTU, takes no segment as long as was asked for.
fn shorter(stream: &TcpStream, asked: Option<u32>) -> String {
    /// What the option of timestamps takes, in each segment.
    const TIMESTAMPS: u32 = 12;
    match (asked, socket2::SockRef::from(stream).tcp_mss()) {
        (Some(asked), Ok(segment)) if segment + TIMESTAMPS < asked => {
            format!(", in segments of {segment} bytes: longer ones do not occur on this connection")
        }
        _ => String::new(),
    }
}

/// Opens a UDP socket that only hears the peer.
pub(super) fn datagrams(to: SocketAddr, source: Option<SocketAddr>) -> Result<UdpSocket, Verdict> {
    let socket = open(to.ip(), Type::DGRAM, Protocol::UDP, source)?;
    errors_of_any_kind(&socket, to.ip())?;
    associate(&socket, to)?;
    UdpSocket::from_std(socket.into()).map_err(|error| own("no socket", &error))
}

/// What comes next on a socket of datagrams, or an error about what was sent.
pub(super) async fn receive(socket: &UdpSocket, room: &mut Vec<u8>) -> io::Result<usize> {
    // An error alone makes a socket ready for nothing else.
    let interest = Interest::READABLE | Interest::ERROR;
    let next = socket.async_io(interest, || {
        Ok(rustix::net::recv(socket, room.as_mut_slice(), RecvFlags::DONTWAIT)?.0)
    });
    next.await
}
