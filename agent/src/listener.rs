//! What is listened to: a socket for each local address and each tunnel, and what its packets are.

use std::io;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use guideway_output::Queue;
use rustix::io::Errno;

use crate::decapsulation::{self, Carrier, Encapsulation, Settings, Tunnel};
use crate::receiver::{ANY, Receiver};

/// One socket with the tunnel that ends at it.
pub(crate) struct Listener {
    /// The socket.
    pub(crate) receiver: Receiver,
    /// The tunnel.
    pub(crate) tunnel: Tunnel,
    /// The place of its encapsulation among those listened to.
    pub(crate) encapsulation: usize,
}

/// What a host says of an address family that it does not have.
const NO_FAMILY: Errno = Errno::AFNOSUPPORT;

/// Opens all tunnels of `chosen`, or of all encapsulations if that is empty, at `local`, or at any
/// address of the families that this host has. Answers what is listened to for each encapsulation by name.
///
/// What was asked for must work. Where nobody asked, an encapsulation whose port another program or
/// the kernel has is left out with a warning: then whoever has the port takes it out.
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
                let place = names.len();
                names.push(encapsulation.name());
                listeners.extend(opened.into_iter().map(|(receiver, tunnel)| Listener {
                    receiver,
                    tunnel,
                    encapsulation: place,
                }));
            }
            Err(error) if chosen.is_empty() && is_in_use(&error) => {
                let name = encapsulation.name();
                let told = format!("guideway-agent: warning: {name} is left out: {error:#}\n");
                errors.offer(told.as_bytes());
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
                // A host without IPv6 is a host still, as long as nobody asked for it.
                Err(error) if local.is_empty() && errno(&error) == Some(NO_FAMILY) => {}
                Err(error) => {
                    let name = encapsulation.name();
                    let carrier = tunnel.carrier;
                    let hint = match (errno(&error), carrier) {
                        (Some(Errno::ADDRINUSE), _) => {
                            "somebody else has the port (`ss -lunp`; the kernel's own tunnels have no \
                             process); restrict --encapsulation to the others"
                        }
                        (_, Carrier::Ip(_)) => {
                            "it needs root or CAP_NET_RAW, and an address that this host has"
                        }
                        (_, Carrier::Udp(_)) => "it needs an address that this host has",
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

/// Passes each encapsulation once, however often and by whichever name it was given.
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
