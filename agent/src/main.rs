//! `guideway-agent`: the host side of Guideway, for any kernel.
//!
//! ```text
//! forwarder -> tunnel over IPv4 or IPv6 -> socket -> inner packet -> TUN -> the host's own stack
//!                                                                             | direct return
//!                                                                             v to the client
//! ```
//!
//! The host holds the virtual address on its loopback, so its stack takes the inner packet as its own
//! and answers the client without the forwarder. Where the kernel has the tunnel drivers, they do the
//! same and faster; this program needs no more than sockets and TUN, and spends two system calls
//! on a packet.
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
// Checks before main that the CPU is what this was built for.
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

/// Packets taken from one socket before the others and the signals get their turn.
const TURN: usize = 64;

/// How long the end waits for a reader of the last counters.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes tunnelled packets out and hands them to this host, which answers clients directly.
///
/// SIGTERM and SIGINT end it and leave nothing behind. SIGUSR1 prints the counters, as does the end.
///
/// Direct server return by MAC address (the forwarder's encapsulation l2) needs no tunnel: the packets
/// come as clients sent them, and the host takes them if the virtual address is on its loopback. Whoever
/// does that sets net.ipv4.conf.all.arp_ignore=1 and arp_announce=2, or the host claims the address
/// on its link.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Receive what is sent to this address of the host [default: any, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    local: Vec<IpAddr>,
    /// Name of the TUN device that inner packets arrive by
    #[arg(long, value_name = "NAME", default_value = "gw-tun0")]
    tun: String,
    /// MTU of the TUN device
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    mtu: u16,
    /// Virtual address to hold on the loopback meanwhile; if any is given, inner packets for
    /// other destinations are dropped
    #[arg(long, value_name = "ADDRESS")]
    vip: Vec<IpAddr>,
    /// Accept tunnels from this address or prefix only [default: from any]
    #[arg(long, value_name = "PREFIX")]
    peer: Vec<Peer>,
    /// Take these encapsulations out only, by their names in the forwarder's configuration, separated
    /// by commas [default: all that the host leaves to us]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    encapsulation: Vec<Encapsulation>,
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let options = guideway_output::arguments();
    // Nobody who stops reading what the agent prints may stop its packets, or keep it from ending.
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
    output.flush(PATIENCE);
    errors.flush(PATIENCE);
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(options: &Options, output: &Queue, errors: &Queue) -> Result<()> {
    let quit = signalled(&[SIGTERM, SIGINT])?;
    let reporting = signalled(&[SIGUSR1])?;
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
        let ready = wait(&listeners, &quit, &reporting)?;
        if ready.quit {
            break;
        }
        if ready.report {
            let _ = (&reporting).read(&mut [0; 64]);
            output.offer(format!("{counters}\n").as_bytes());
        }
        for (listener, _) in
            listeners.iter_mut().zip(&ready.listeners).filter(|(_, readable)| **readable)
        {
            for _ in 0..TURN {
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

/// A stream that becomes readable when one of `signals` comes.
fn signalled(signals: &[i32]) -> Result<UnixStream> {
    let (read, write) = UnixStream::pair().context("cannot make a socket pair")?;
    read.set_nonblocking(true).context("cannot make a socket non-blocking")?;
    for &signal in signals {
        let write = write.try_clone().context("cannot duplicate a socket")?;
        pipe::register(signal, write).context("cannot register a signal handler")?;
    }
    Ok(read)
}

struct Ready {
    quit: bool,
    report: bool,
    listeners: Vec<bool>,
}

/// Sleeps until there is something to do.
fn wait(listeners: &[Listener], quit: &UnixStream, report: &UnixStream) -> Result<Ready> {
    let signals = [quit.as_fd(), report.as_fd()].into_iter();
    let all = signals.chain(listeners.iter().map(|listener| listener.receiver.as_fd()));
    let mut polled: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot poll"),
    }
    let readable = |polled: &PollFd<'_>| polled.revents().contains(PollFlags::IN);
    Ok(Ready {
        quit: readable(&polled[0]),
        report: readable(&polled[1]),
        // Any event: an error must be received to go away.
        listeners: polled[2..].iter().map(|polled| !polled.revents().is_empty()).collect(),
    })
}

/// Hands the inner packet of one outer packet to the host; the bytes that it got.
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
    if !ecn::carry_in(datagram.ecn, inner.family, packet) {
        return Err(Drop::Congestion);
    }
    match tun.send(packet) {
        Ok(sent) if sent == packet.len() => Ok(sent),
        Ok(_) | Err(_) => Err(Drop::Device),
    }
}

/// Whether a whole packet of `family` is addressed to `address`.
fn is_for(address: IpAddr, family: Family, packet: &[u8]) -> bool {
    match (family, address) {
        (Family::V4, IpAddr::V4(address)) => packet[16..20] == address.octets(),
        (Family::V6, IpAddr::V6(address)) => packet[24..40] == address.octets(),
        _ => false,
    }
}
