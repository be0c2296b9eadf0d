//! `guideway-agent`: the host side of Guideway, for any kernel.
//!
//! ```text
//! forwarder -> tunnel over IPv4 or IPv6 -> socket -> inner packet -> TUN -> the host's own stack
//!                                                                             | direct return
//!                                                                             v to the client
//! ```
//!
//! The host holds the virtual address on its loopback, so its stack accepts the inner packet and
//! replies to the client without the forwarder. A kernel that has the tunnel drivers does the same,
//! faster. The agent needs only sockets and a TUN device, and makes two system calls for each
//! packet.
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr)]

mod counters;
mod decapsulation;
mod ecn;
mod host;
mod listener;
mod peer;
mod receiver;

use std::io::Read;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
// Checks before `main` that the CPU has what this build needs.
use guideway_baseline as _;
use guideway_output::{Queue, Standard, report};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::pipe;
use tun_rs::SyncDevice;

use crate::counters::{Counters, Drop};
use crate::decapsulation::{Encapsulation, Family, Settings, Tunnel};
use crate::host::Vip;
use crate::listener::Listener;
use crate::peer::Peer;
use crate::receiver::{BUFFER, Datagram};

/// Packets received from one socket before the other sockets and the signals get their turn.
const BATCH: usize = 64;

/// How long the agent, when it ends, waits for a reader of the last counters.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Decapsulates tunnelled packets and hands them to this host, which replies to clients directly.
///
/// SIGTERM and SIGINT end the agent, which then leaves nothing behind. SIGUSR1 prints the counters;
/// the agent also prints them when it ends.
///
/// Direct server return by MAC address (the forwarder's encapsulation l2) needs no agent: packets
/// arrive as clients sent them, and the host accepts them if the virtual address is on its
/// loopback. In that case set net.ipv4.conf.all.arp_ignore=1 and arp_announce=2, or the host claims
/// the address on its link.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Receive tunnels at this address of the host [default: any, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    local: Vec<IpAddr>,
    /// Name of the TUN device through which the host gets inner packets
    #[arg(long, value_name = "NAME", default_value = "gw-tun0")]
    tun: String,
    /// MTU of the TUN device
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    mtu: u16,
    /// Virtual address to hold on the loopback while the agent runs; if any is given, the agent
    /// drops inner packets for other destinations
    #[arg(long, value_name = "ADDRESS")]
    vip: Vec<IpAddr>,
    /// Accept tunnels only from this address or prefix [default: from any]
    #[arg(long, value_name = "PREFIX")]
    peer: Vec<Peer>,
    /// Decapsulate only these encapsulations: their names in the forwarder's configuration,
    /// separated by commas [default: all whose ports are free]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    encapsulation: Vec<Encapsulation>,
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let options = guideway_output::arguments();
    // A reader that stops reading the agent's output must neither stop packets nor keep the agent
    // from ending.
    let (output, errors) = match (Queue::start(Standard::Output), Queue::start(Standard::Error)) {
        (Ok(output), Ok(errors)) => (output, errors),
        (Err(error), _) | (_, Err(error)) => {
            report(format_args!("guideway-agent: cannot start the output: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let result = run(&options, &output, &errors);
    if let Err(error) = &result {
        errors.offer(format!("guideway-agent: {error:#}\n").as_bytes());
    }
    output.flush(FLUSH_TIMEOUT);
    errors.flush(FLUSH_TIMEOUT);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options, output: &Queue, errors: &Queue) -> Result<()> {
    let quit = signalled(&[SIGTERM, SIGINT])?;
    let print_counters = signalled(&[SIGUSR1])?;
    let (mut listeners, names) =
        listener::open(&options.local, &options.encapsulation, &options.settings, errors)?;
    let tun = host::tun(&options.tun, options.mtu)?;
    if let Some(warning) = host::warning(&options.tun) {
        errors.offer(format!("guideway-agent: warning: {warning}\n").as_bytes());
    }
    let vips: Vec<Vip> =
        options.vip.iter().map(|&vip| Vip::add(vip, errors)).collect::<Result<_>>()?;
    output.offer(format!("ready: {} receives {}\n", options.tun, names.join(" ")).as_bytes());

    let mut counters = Counters::new(names);
    let mut buffer = vec![0; BUFFER];
    loop {
        let ready = wait(&listeners, &quit, &print_counters)?;
        if ready.quit {
            break;
        }
        if ready.print_counters {
            let _ = (&print_counters).read(&mut [0; 64]);
            output.offer(format!("{counters}\n").as_bytes());
        }
        for (listener, _) in
            listeners.iter_mut().zip(&ready.listeners).filter(|(_, readable)| **readable)
        {
            for _ in 0..BATCH {
                match listener.receiver.receive(&mut buffer) {
                    Ok(Some(datagram)) => {
                        let tunnel = &listener.tunnel;
                        let outcome = deliver(&datagram, tunnel, &mut buffer, options, &vips, &tun);
                        counters.count(listener.encapsulation, outcome);
                    }
                    Ok(None) => break,
                    Err(error) => return Err(error).context("cannot receive"),
                }
            }
        }
    }
    output.offer(format!("{counters}\n").as_bytes());
    Ok(())
}

/// A stream that becomes readable when one of `signals` arrives.
fn signalled(signals: &[i32]) -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().context("cannot make a socket pair")?;
    read.set_nonblocking(true).context("cannot make a socket non-blocking")?;
    for &signal in signals {
        let write = write.try_clone().context("cannot duplicate a socket")?;
        pipe::register(signal, write).context("cannot register a signal handler")?;
    }
    Ok(read)
}

/// What [`wait`] found to do.
struct Ready {
    quit: bool,
    print_counters: bool,
    listeners: Vec<bool>,
}

/// Sleeps until a signal or a packet arrives.
fn wait(listeners: &[Listener], quit: &UnixStream, print_counters: &UnixStream) -> Result<Ready> {
    let signals = [quit.as_fd(), print_counters.as_fd()].into_iter();
    let all = signals.chain(listeners.iter().map(|listener| listener.receiver.as_fd()));
    let mut polled: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot poll"),
    }
    let readable = |polled: &PollFd<'_>| polled.revents().contains(PollFlags::IN);
    Ok(Ready {
        quit: readable(&polled[0]),
        print_counters: readable(&polled[1]),
        // Any event counts: receiving clears a socket's error.
        listeners: polled[2..].iter().map(|polled| !polled.revents().is_empty()).collect(),
    })
}

/// Hands the inner packet of one outer packet to the host. Returns the bytes delivered.
fn deliver(
    datagram: &Datagram,
    tunnel: &Tunnel,
    buffer: &mut [u8],
    options: &Options,
    vips: &[Vip],
    tun: &SyncDevice,
) -> Result<usize, Drop> {
    if !options.peer.is_empty() && !options.peer.iter().any(|peer| peer.contains(datagram.source)) {
        return Err(Drop::Peer);
    }
    let payload = &mut buffer[datagram.payload.clone()];
    let inner = (tunnel.decapsulate)(payload, &options.settings)?;
    let packet = &mut payload[inner.range];
    if !vips.is_empty() && !vips.iter().any(|vip| is_for(vip.address, inner.family, packet)) {
        return Err(Drop::Vip);
    }
    if !ecn::copy_mark(datagram.ecn, inner.family, packet) {
        return Err(Drop::Congestion);
    }
    match tun.send(packet) {
        Ok(sent) if sent == packet.len() => Ok(sent),
        Ok(_) | Err(_) => Err(Drop::Device),
    }
}

/// Whether a packet of `family` with a whole IP header is addressed to `address`.
fn is_for(address: IpAddr, family: Family, packet: &[u8]) -> bool {
    match (family, address) {
        (Family::V4, IpAddr::V4(address)) => packet[16..20] == address.octets(),
        (Family::V6, IpAddr::V6(address)) => packet[24..40] == address.octets(),
        _ => false,
    }
}
