//! Events as sentences for people.

use std::fmt::Write;
use std::net::IpAddr;

use guideway_api::Happening;

/// One line that says what happened.
pub fn sentence(happening: &Happening) -> String {
    match happening {
        Happening::DaemonStarted { version, pid } => {
            format!("guideway {version} has started, process {pid}")
        }
        Happening::DaemonReady { generation } => {
            format!("ready: generation {generation} is in force on every worker")
        }
        Happening::DaemonStopping { reason } => format!("stopping on {reason}"),
        Happening::ClientConnected { client, version, uid, pid } => {
            format!("client {client} {version} connected: user {uid}, process {pid}")
        }
        Happening::ClientDisconnected { client, pid } => {
            format!("client {client} disconnected: process {pid}")
        }
        Happening::ConfigApplied { generation, warnings: 0 } => {
            format!("generation {generation} is in force on every worker")
        }
        Happening::ConfigApplied { generation, warnings } => {
            let noun = if *warnings == 1 { "warning" } else { "warnings" };
            format!("generation {generation} is in force on every worker, with {warnings} {noun}")
        }
        Happening::ConfigRefused { error } => format!("configuration refused: {error}"),
        Happening::GenerationLate { generation } => {
            format!("generation {generation} is published, but some worker does not run it yet")
        }
        Happening::ManagerRestarted { generation } => format!(
            "the manager panicked, which is a defect; it goes on with generation {generation}"
        ),
        Happening::Changed { .. } => changed(happening),
        Happening::LinkUp { port } => format!("port \"{port}\": link up"),
        Happening::LinkDown { port } => format!("port \"{port}\": link down"),
        Happening::InterfaceRenamed { port, from, to } => {
            format!("port \"{port}\": its interface {from} was renamed to {to}")
        }
        Happening::InterfaceRemoved { port, interface } => {
            format!("port \"{port}\": its interface {interface} was removed")
        }
        Happening::NeighborResolved { port, vlan, address, mac } => {
            format!("neighbor {} has the MAC address {mac}", place(port, *vlan, *address))
        }
        Happening::NeighborMoved { port, vlan, address, from, to } => {
            let place = place(port, *vlan, *address);
            format!("neighbor {place} has the MAC address {to} instead of {from}")
        }
        Happening::NeighborLost { port, vlan, address } => {
            format!("neighbor {} is lost", place(port, *vlan, *address))
        }
        Happening::BackendState { pool, backend, address, from, to } => {
            let (from, to) = (from.name(), to.name());
            format!("backend {backend} ({address}) of pool {pool} is {to}, was {from}")
        }
        Happening::BackendStates { backends } => {
            let noun = if *backends == 1 { "backend has" } else { "backends have" };
            format!("{backends} more {noun} changed state")
        }
        Happening::PoolEmpty { pool } => format!("pool {pool} has no active backend any more"),
        Happening::PoolServing { pool, active } => {
            format!("pool {pool} has active backends again: {active}")
        }
        Happening::WorkerStalled { worker, age_ms } => {
            format!("worker {worker} has not finished a round for {age_ms} ms")
        }
        Happening::WorkerResumed { worker, age_ms } => {
            format!("worker {worker} works again, after {age_ms} ms")
        }
        Happening::BuffersLow { mempool, free, total } => {
            format!("pool of packet buffers {mempool}: only {free} of {total} are free")
        }
        Happening::BuffersRecovered { mempool, free, total } => {
            format!("pool of packet buffers {mempool}: {free} of {total} are free again")
        }
        Happening::FloodBegan { counter, packets } => {
            format!("flood: {packets} packets a second count as {counter}")
        }
        Happening::FloodEnded { counter, packets, seconds } => {
            format!("flood ended: {packets} packets counted as {counter} in {seconds} s")
        }
    }
}

fn place(port: &str, vlan: Option<u16>, address: IpAddr) -> String {
    match vlan {
        Some(vlan) => format!("{address} on port \"{port}\", VLAN {vlan},"),
        None => format!("{address} on port \"{port}\""),
    }
}

fn changed(happening: &Happening) -> String {
    let Happening::Changed { uid, pid, process, request, before, after, reason, error } = happening
    else {
        return String::new();
    };
    let mut text = format!("change: {request} by {process} (user {uid}, process {pid}): ");
    // Writing to a string cannot fail.
    let _ = match error {
        Some(error) => write!(text, "refused, {before} stays: {error}"),
        None => write!(text, "{before} became {after}"),
    };
    if let Some(reason) = reason {
        let _ = write!(text, "; reason: {reason}");
    }
    text
}
