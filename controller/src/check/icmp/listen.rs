//! The thread `icmp`: it receives ICMP errors, and reports those about tunnels.
//!
//! A raw socket of each family gets a copy of what comes to the node's addresses, if the kernel's filter says that it is an
//! error. A flood costs little: of the errors of a second no more than [`EACH_SECOND`] are looked at, and the kernel drops what
//! the small receive buffer does not hold. Without `CAP_NET_RAW` there is a warning and nothing else.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::quoted::{TunnelError, of_ipv4, of_ipv6};

/// How many errors are looked at in a second.
const EACH_SECOND: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);
/// The receive buffer of a socket, in bytes. With the kernel's own records it holds a hundred errors or so.
const RECEIVE_BUFFER: usize = 64 << 10;
/// Errors are no longer than 576 (RFC 1812) or 1,280 bytes (RFC 4443).
const LONGEST: usize = 2048;

/// Destination unreachable, time exceeded, and parameter problem, from the IP header on. The codes are those of
/// linux/bpf_common.h: the length of the header to X, the byte there to A, comparisons, and how much is kept.
const IPV4: [SockFilter; 7] = [
    SockFilter::new(0xb1, 0, 0, 0),
    SockFilter::new(0x50, 0, 0, 0),
    SockFilter::new(0x15, 3, 0, 3),
    SockFilter::new(0x15, 2, 0, 11),
    SockFilter::new(0x15, 1, 0, 12),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];
/// The types 1 to 4, from the ICMPv6 header on: all errors that there are.
const IPV6: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 0),
    SockFilter::new(0x15, 1, 0, 0),
    SockFilter::new(0x25, 0, 1, 4),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Listener {
    shared: Arc<Shared>,
    /// None without permission for raw sockets.
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    sources: Mutex<Arc<[IpNet]>>,
    is_over: AtomicBool,
    /// An eventfd that can be read when the thread has to end.
    wake: OwnedFd,
}

/// Starts to report ICMP errors about packets from the sources of tunnels, in the network namespace of the caller. There are
/// none at first.
///
/// # Errors
/// If the operating system refuses a thread or an eventfd. Sockets that it refuses are logged.
pub fn listen(report: impl Fn(TunnelError) + Send + 'static) -> io::Result<Listener> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let (sources, is_over) = (Mutex::new(Arc::default()), AtomicBool::new(false));
    let shared = Arc::new(Shared { sources, is_over, wake });
    let sockets = sockets();
    if sockets.is_empty() {
        return Ok(Listener { shared, thread: None });
    }
    let own = Arc::clone(&shared);
    let run = move || follow(&sockets, &own, &report);
    let thread = thread::Builder::new().name("icmp".into()).spawn(run)?;
    Ok(Listener { shared, thread: Some(thread) })
}

impl Listener {
    /// From now on, errors about packets from these addresses are reported: `node.tunnel_source`.
    pub fn set_sources(&self, sources: &[IpNet]) {
        *self.shared.sources.lock() = sources.into();
    }

    /// Whether errors are received at all.
    pub fn is_listening(&self) -> bool {
        self.thread.is_some()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Fails only if the counter would overflow; then the thread is awake anyway.
        let _ = rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that receives ICMP errors panicked");
        }
    }
}

/// A raw socket, and whether it is of IPv6.
type Raw = (Socket, bool);

fn sockets() -> Vec<Raw> {
    let mut sockets = Vec::new();
    let families =
        [(Domain::IPV4, Protocol::ICMPV4, &IPV4[..]), (Domain::IPV6, Protocol::ICMPV6, &IPV6[..])];
    for (domain, protocol, filter) in families {
        match open(domain, protocol, filter) {
            Ok(socket) => sockets.push((socket, domain == Domain::IPV6)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::warn!(
                    "ICMP errors about tunnels are not shown with checks: that needs CAP_NET_RAW"
                );
                // The other family would be refused as well.
                return Vec::new();
            }
            Err(error) if is_unknown(&error) => (),
            Err(error) => tracing::warn!("cannot receive ICMP errors about tunnels: {error}"),
        }
    }
    sockets
}

/// A kernel without this family.
fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn open(domain: Domain, protocol: Protocol, filter: &[SockFilter]) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.attach_filter(filter)?;
    Ok(socket)
}

/// Receives until the end.
fn follow(sockets: &[Raw], shared: &Shared, report: &impl Fn(TunnelError)) {
    let mut buffer = [0; LONGEST];
    let (mut left, mut until) = (EACH_SECOND, Instant::now() + SECOND);
    while !shared.is_over.load(Ordering::Acquire) {
        let now = Instant::now();
        if now >= until {
            (left, until) = (EACH_SECOND, now + SECOND);
        }
        if left == 0 {
            wait(&[], shared, Some(until - now));
            continue;
        }
        wait(sockets, shared, None);
        let sources = Arc::clone(&shared.sources.lock());
        for (socket, is_ipv6) in sockets {
            while left > 0 {
                match receive(socket, &mut buffer) {
                    Ok((message, by)) => {
                        left -= 1;
                        let error = match (is_ipv6, by) {
                            (false, _) => of_ipv4(message, &sources),
                            (true, Some(by)) => of_ipv6(by, message, &sources),
                            (true, None) => None,
                        };
                        error.into_iter().for_each(report);
                    }
                    Err(Errno::AGAIN) => break,
                    // Whatever it is, it must not keep the thread busy.
                    Err(_) => left = 0,
                }
            }
        }
    }
}

/// Waits until something is to be received, or the end.
fn wait(sockets: &[Raw], shared: &Shared, limit: Option<Duration>) {
    let mut fds = vec![PollFd::new(&shared.wake, PollFlags::IN)];
    fds.extend(sockets.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::IN)));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    // A signal ends the wait early, which is no harm.
    let _ = poll(&mut fds, limit.as_ref());
}

/// A message, empty if it is longer than any error, and who sent it, if that is an address of IPv6.
fn receive<'a>(
    socket: &Socket,
    buffer: &'a mut [u8; LONGEST],
) -> Result<(&'a [u8], Option<Ipv6Addr>), Errno> {
    let (_, length, by) = recvfrom(socket, &mut buffer[..], RecvFlags::TRUNC)?;
    let by = by.and_then(|by| SocketAddrV6::try_from(by).ok()).map(|by| *by.ip());
    Ok((buffer.get(..length).unwrap_or_default(), by))
}
