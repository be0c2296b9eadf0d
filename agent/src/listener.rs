//! Listeners: one socket for each local address and each tunnel.

use std::io;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use guideway_output::Queue;
use rustix::io::Errno;

use crate::decapsulation::{self, Carrier, Encapsulation, Settings, Tunnel};
use crate::receiver::{ANY, Receiver};

/// One socket, and the tunnel that arrives at it.
pub(crate) struct Listener {
    /// The socket.
    pub(crate) receiver: Receiver,
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
    /// Index of its encapsulation in the names that [`open`] returns.
    pub(crate) encapsulation: usize,
}

/// The error of a host without the address family.
const NO_FAMILY: Errno = Errno::AFNOSUPPORT;

/// Opens the tunnels of `chosen` (if empty: of all encapsulations) at `local` (if empty: at any
/// address of the families that this host has). Returns the listeners, and the names of their
/// encapsulations.
///
/// An encapsulation or address that the operator asked for must work. If no encapsulation was asked
/// for, one whose port another program or the kernel has is skipped with a warning: the owner of
/// the port decapsulates it.
pub(crate) fn open(
    local: &[IpAddr],
    chosen: &[Encapsulation],
    settings: &Settings,
    errors: &Queue,
) -> Result<(Vec<Listener>, Vec<&'static str>)> {
    let all = if chosen.is_empty() { decapsulation::ALL } else { chosen };
    let (mut listeners, mut names) = (Vec::new(), Vec::new());
    for encapsulation in all.iter().filter(distinct()) {
        match sockets(local, encapsulation, settings) {
            Ok(opened) => {
                let index = names.len();
                names.push(encapsulation.name());
                listeners.extend(opened.into_iter().map(|(receiver, tunnel)| Listener {
                    receiver,
                    tunnel,
                    encapsulation: index,
                }));
            }
            Err(error) if chosen.is_empty() && is_in_use(&error) => {
                let name = encapsulation.name();
                let warning = format!("guideway-agent: warning: skipping {name}: {error:#}\n");
                errors.offer(warning.as_bytes());
            }
            Err(error) => return Err(error),
        }
    }
    ensure!(!listeners.is_empty(), "this host has neither IPv4 nor IPv6");
    Ok((listeners, names))
}

fn sockets(
    local: &[IpAddr],
    encapsulation: &Encapsulation,
    settings: &Settings,
) -> Result<Vec<(Receiver, Tunnel)>> {
    let mut opened = Vec::new();
    for tunnel in encapsulation.tunnels(settings) {
        for &address in if local.is_empty() { &ANY } else { local } {
            match Receiver::open(address, tunnel.carrier) {
                Ok(receiver) => opened.push((receiver, tunnel)),
                // A host may lack IPv6, unless the operator gave an IPv6 address.
                Err(error) if local.is_empty() && errno(&error) == Some(NO_FAMILY) => {}
                Err(error) => {
                    let name = encapsulation.name();
                    let carrier = tunnel.carrier;
                    let hint = match (errno(&error), carrier) {
                        (Some(Errno::ADDRINUSE), _) => {
                            "another program or the kernel has the port (`ss -lunp`; a tunnel of the \
                             kernel shows no process); list only the others in --encapsulation"
                        }
                        (_, Carrier::Ip(_)) => {
                            "this needs root or CAP_NET_RAW, and an address that this host has"
                        }
                        (_, Carrier::Udp(_)) => "this needs an address that this host has",
                    };
                    return Err(error).with_context(|| {
                        format!("cannot receive {name} ({carrier}) at {address}: {hint}")
                    });
                }
            }
        }
    }
    Ok(opened)
}

/// A filter that passes each encapsulation once, even if given twice or by two names.
fn distinct() -> impl FnMut(&&Encapsulation) -> bool {
    let mut seen = Vec::new();
    move |encapsulation| {
        let new = !seen.contains(&encapsulation.name());
        seen.push(encapsulation.name());
        new
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().and_then(errno) == Some(Errno::ADDRINUSE)
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}
