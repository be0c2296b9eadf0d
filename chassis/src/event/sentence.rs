//! Events as sentences for people.

use std::fmt::Write;
use std::net::IpAddr;

use guideway_api::{ChangeOutcome, Happening, Source};

use super::{announcing, checking};

/// One line that says what happened.
pub fn sentence(happening: &Happening) -> String {
    match happening {
        Happening::DaemonStarted { version, pid } => {
            format!("release {version} has started, process {pid}")
        }
        Happening::DaemonReady { generation } => {
            format!("ready: generation {generation} is in force on every worker")
        }
        Happening::DaemonStopping { reason } => format!("stopping on {reason}"),
        Happening::ClientConnected { client, version, uid, pid, unrecorded } => {
            let more = others(*unrecorded, "client");
            format!("client {client} {version} connected: user {uid}, process {pid}{more}")
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
        Happening::NeighborStates { neighbors } => {
            let noun = if *neighbors == 1 { "event" } else { "events" };
            format!("{neighbors} more {noun} of neighbors: resolved, moved or lost")
        }
        Happening::BackendState { pool, backend, address, from, to, source, reason } => {
            let (from, to) = (from.name(), to.name());
            let why = why(*source, reason.as_deref());
            format!("backend {backend} ({address}) of pool {pool} is {to}, was {from}{why}")
        }
        Happening::BackendWeight { pool, backend, address, from, to, source, reason } => {
            let why = why(*source, reason.as_deref());
            format!("backend {backend} ({address}) of pool {pool} has weight {to}, had {from}{why}")
        }
        Happening::BackendDrained { pool, backend, address, seconds } => format!(
            "backend {backend} ({address}) of pool {pool} is drained: its last flow is gone after {seconds} s"
        ),
        Happening::DrainTimeout { pool, backend, address, then, flows } => {
            let noun = if *flows == 1 { "flow" } else { "flows" };
            let then = match &**then {
                "move" => "move to other backends",
                "reset" => "are reset",
                _ => "stay (`guidewayctl backend disable` ends them)",
            };
            format!(
                "backend {backend} ({address}) of pool {pool}: drain_timeout is over for some services, \
                 whose flows {then}; it has {flows} {noun} in all"
            )
        }
        Happening::BackupStandsIn { pool, backup, active, needed } => format!(
            "pool {backup} stands in for pool {pool}, which needs {needed} active backends and has {active}"
        ),
        Happening::BackupGivesWay { pool, backup } => {
            format!("pool {backup} no longer stands in for pool {pool}")
        }
        Happening::SettingsUnreadable { path, error } => {
            format!(
                "what was set at run time is ignored: cannot read {path}: {error}; set what is missing again"
            )
        }
        Happening::SettingsIgnored { backends: 1, first } => {
            format!(
                "what was set for {first} at run time is ignored: it is not configured; set it again if its \
                 pool has another name now"
            )
        }
        Happening::SettingsIgnored { backends, first } => format!(
            "what was set at run time for {backends} backends is ignored: they are not configured, \
             the first is {first}; set it again if pools have other names now"
        ),
        Happening::SettingsUnstored { path, error } => format!(
            "what is set at run time is in force, but a restart would lose it: cannot write {path}: {error}"
        ),
        Happening::SettingsStored { path } => {
            format!("what is set at run time is stored in {path} again")
        }
        Happening::BackendStates { backends } => {
            let noun = if *backends == 1 { "backend has" } else { "backends have" };
            format!("{backends} more {noun} changed state")
        }
        Happening::PoolEmpty { pool } => format!("pool {pool} has no active backend any more"),
        Happening::PoolServing { pool, active } => {
            format!("pool {pool} has active backends again: {active}")
        }
        Happening::PoolStates { pools } => {
            let noun = if *pools == 1 { "pool" } else { "pools" };
            format!("{pools} more {noun} became empty or serve again")
        }
        Happening::AnnouncingBegan { .. }
        | Happening::AnnouncingEnded { .. }
        | Happening::ForwarderState { .. }
        | Happening::ConfigAdopted { .. }
        | Happening::VipState { .. }
        | Happening::VipStates { .. }
        | Happening::QuorumLost { .. }
        | Happening::QuorumRegained { .. }
        | Happening::RoutesRestored { .. }
        | Happening::RuleRestored { .. }
        | Happening::RoutesRefused { .. }
        | Happening::BgpEstablished { .. }
        | Happening::BgpLost { .. }
        | Happening::BgpConfigured { .. }
        | Happening::BgpRefused { .. }
        | Happening::BirdLost { .. }
        | Happening::BirdFound { .. } => announcing::sentence(happening).unwrap_or_default(),
        Happening::CheckState { .. }
        | Happening::CheckStates { .. }
        | Happening::CheckFailed { .. }
        | Happening::ChecksFrozen { .. }
        | Happening::ChecksResumed { .. }
        | Happening::PoolPanic { .. }
        | Happening::PoolCalm { .. }
        | Happening::CheckPath { .. }
        | Happening::ChecksFirstOver { .. } => checking::sentence(happening).unwrap_or_default(),
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

/// Who set something, and why.
fn why(source: Source, reason: Option<&str>) -> String {
    match (source, reason) {
        (Source::File, _) => String::new(),
        (source, None) => format!(" ({})", source.name()),
        (source, Some(reason)) => format!(" ({}: {reason})", source.name()),
    }
}

fn place(port: &str, vlan: Option<u16>, address: IpAddr) -> String {
    match vlan {
        Some(vlan) => format!("{address} on port \"{port}\", VLAN {vlan},"),
        None => format!("{address} on port \"{port}\""),
    }
}

fn changed(happening: &Happening) -> String {
    let Happening::Changed {
        uid,
        pid,
        process,
        request,
        before,
        after,
        outcome,
        reason,
        error,
        unrecorded,
    } = happening
    else {
        return String::new();
    };
    let mut text = format!("change: {request} by {process} (user {uid}, process {pid}): ");
    // Writing to a string cannot fail.
    let _ = match outcome {
        ChangeOutcome::Refused => write!(text, "refused, {before} stays"),
        _ => write!(text, "{before} became {after}"),
    };
    if let Some(error) = error {
        let _ = match outcome {
            ChangeOutcome::Late => write!(text, "; not in force in time: {error}"),
            _ => write!(text, ": {error}"),
        };
    }
    if let Some(reason) = reason {
        let _ = write!(text, "; reason: {reason}");
    }
    text + &others(*unrecorded, "refused request")
}

/// How many others before were not recorded, if any.
fn others(unrecorded: u64, noun: &str) -> String {
    match unrecorded {
        0 => String::new(),
        1 => format!(" (1 more {noun} before it not recorded)"),
        many => format!(" ({many} more {noun}s before it not recorded)"),
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::BackendState;
    use serde_json::Value;

    use guideway_api::{
        AnnouncingState, CheckCode, CheckState, CheckVia, ForwarderState, VipCause, VipState,
    };

    use super::*;

    /// One event of each kind, in the order of the kinds.
    fn samples() -> Vec<Happening> {
        let text = |text: &str| text.to_owned();
        let address: IpAddr = [192, 0, 2, 1].into();
        let mac = || text("02:00:00:00:00:01");
        let samples = vec![
            Happening::DaemonStarted { version: text("0.1.0"), pid: 7 },
            Happening::DaemonReady { generation: 1 },
            Happening::DaemonStopping { reason: text("SIGTERM") },
            Happening::ClientConnected {
                client: text("c"),
                version: text("1"),
                uid: 0,
                pid: 8,
                unrecorded: 1,
            },
            Happening::ClientDisconnected { client: text("c"), pid: 8 },
            Happening::ConfigApplied { generation: 2, warnings: 1 },
            Happening::ConfigRefused { error: text("no") },
            Happening::GenerationLate { generation: 3 },
            Happening::ManagerRestarted { generation: 3 },
            Happening::Changed {
                uid: 0,
                pid: 9,
                process: text("guidewayctl"),
                request: text("config_apply"),
                before: text("generation 1"),
                after: text("generation 2"),
                outcome: ChangeOutcome::Applied,
                reason: Some(text("more servers")),
                error: None,
                unrecorded: 0,
            },
            Happening::LinkUp { port: text("edge0") },
            Happening::LinkDown { port: text("edge0") },
            Happening::InterfaceRenamed { port: text("edge0"), from: text("a"), to: text("b") },
            Happening::InterfaceRemoved { port: text("edge0"), interface: text("a") },
            Happening::NeighborResolved { port: text("edge0"), vlan: Some(7), address, mac: mac() },
            Happening::NeighborMoved {
                port: text("edge0"),
                vlan: None,
                address,
                from: mac(),
                to: mac(),
            },
            Happening::NeighborLost { port: text("edge0"), vlan: None, address },
            Happening::NeighborStates { neighbors: 7 },
            Happening::BackendState {
                pool: text("web"),
                backend: text("b1"),
                address,
                from: BackendState::Active,
                to: BackendState::Unresolved,
                source: Source::File,
                reason: None,
            },
            Happening::BackendWeight {
                pool: text("web"),
                backend: text("b1"),
                address,
                from: 1,
                to: 0,
                source: Source::Operator,
                reason: Some(text("repair")),
            },
            Happening::BackendDrained {
                pool: text("web"),
                backend: text("b1"),
                address,
                seconds: 7,
            },
            Happening::DrainTimeout {
                pool: text("web"),
                backend: text("b1"),
                address,
                then: text("reset"),
                flows: 1,
            },
            Happening::BackupStandsIn {
                pool: text("web"),
                backup: text("spare"),
                active: 1,
                needed: 2,
            },
            Happening::BackupGivesWay { pool: text("web"), backup: text("spare") },
            Happening::SettingsUnreadable { path: text("/s"), error: text("it is no file") },
            Happening::SettingsIgnored { backends: 2, first: text("web/192.0.2.1") },
            Happening::SettingsUnstored { path: text("/s"), error: text("no space") },
            Happening::SettingsStored { path: text("/s") },
            Happening::BackendStates { backends: 12 },
            Happening::PoolEmpty { pool: text("web") },
            Happening::PoolServing { pool: text("web"), active: 1 },
            Happening::PoolStates { pools: 3 },
            Happening::AnnouncingBegan { interface: text("gwvip") },
            Happening::AnnouncingEnded {
                interface: text("gwvip"),
                state: AnnouncingState::WorkerStalled { worker: 1 },
            },
            Happening::ForwarderState { from: ForwarderState::Well, to: ForwarderState::Silent },
            Happening::ConfigAdopted { generation: 2 },
            Happening::VipState {
                address,
                from: VipState::Announced,
                to: VipState::Withdrawn,
                cause: VipCause::NoQuorum { services: vec![text("web")] },
                reason: None,
            },
            Happening::VipStates { vips: 1 },
            Happening::QuorumLost { address, services: vec![text("web")], kept: true },
            Happening::QuorumRegained { address },
            Happening::RoutesRestored { routes: 2 },
            Happening::RuleRestored { ipv6: false },
            Happening::RoutesRefused { routes: 1, error: text("no buffer space") },
            Happening::BgpEstablished { peer: text("tor1") },
            Happening::BgpLost { peer: text("tor1"), error: Some(text("hold timer expired")) },
            Happening::BgpConfigured { peers: 1 },
            Happening::BgpRefused { error: text("a syntax error") },
            Happening::BirdLost { error: text("no socket") },
            Happening::BirdFound { version: text("2.0.12") },
            Happening::CheckState {
                check: text("http"),
                pool: text("web"),
                backend: text("b1"),
                address,
                from: CheckState::Up,
                to: CheckState::Down,
                code: Some(CheckCode::L7Sts),
                status: Some(503),
                detail: text("the status is not expected"),
                latency_us: 12_300,
            },
            Happening::CheckStates { backends: 12 },
            Happening::CheckFailed {
                check: text("http"),
                pool: text("web"),
                backend: text("b1"),
                address,
                code: CheckCode::L4Con,
                status: None,
                detail: text("connect: connection refused"),
                latency_us: 300,
            },
            Happening::ChecksFrozen { via: Some(CheckVia::Tunnel), cause: text("no gwcheck") },
            Happening::ChecksResumed { via: None, seconds: 7 },
            Happening::PoolPanic { pool: text("web"), failing: 2, backends: 3 },
            Happening::PoolCalm { pool: text("web"), failing: 1 },
            Happening::CheckPath { interface: text("edge0"), problem: text("rp_filter is 1") },
            Happening::ChecksFirstOver { targets: 2 },
            Happening::WorkerStalled { worker: 1, age_ms: 2000 },
            Happening::WorkerResumed { worker: 1, age_ms: 2500 },
            Happening::BuffersLow { mempool: text("node0"), free: 5, total: 100 },
            Happening::BuffersRecovered { mempool: text("node0"), free: 50, total: 100 },
            Happening::FloodBegan { counter: text("no_vip"), packets: 5000 },
            Happening::FloodEnded { counter: text("no_vip"), packets: 9000, seconds: 3 },
        ];
        let kinds: Vec<usize> = samples.iter().map(Happening::index).collect();
        assert_eq!(kinds, (0..Happening::KINDS.len()).collect::<Vec<_>>());
        samples
    }

    #[test]
    fn each_kind_has_a_sentence_of_one_line() {
        for happening in samples() {
            let sentence = sentence(&happening);
            assert!(sentence.len() > 10 && !sentence.contains('\n'), "{sentence}");
            assert!(!sentence.ends_with('.') && !sentence.contains("{"), "{sentence}");
        }
        let expected = [
            "change: config_apply by guidewayctl (user 0, process 9): generation 1 became generation 2; \
             reason: more servers",
            "port \"edge0\": link up",
            "port \"edge0\": link down",
        ];
        assert_eq!(samples()[9..12].iter().map(sentence).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_sentences_of_states_say_who_and_why() {
        let expected = [
            "backend b1 (192.0.2.1) of pool web is unresolved, was active",
            "backend b1 (192.0.2.1) of pool web has weight 0, had 1 (operator: repair)",
            "backend b1 (192.0.2.1) of pool web is drained: its last flow is gone after 7 s",
            "backend b1 (192.0.2.1) of pool web: drain_timeout is over for some services, whose flows \
             are reset; it has 1 flow in all",
            "pool spare stands in for pool web, which needs 2 active backends and has 1",
        ];
        let states = samples().into_iter().skip_while(|event| event.name() != "backend_state");
        let said: Vec<_> = states.map(|event| sentence(&event)).take(expected.len()).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn the_sentences_of_checks_say_how_probes_ended() {
        let expected = [
            "check http: backend b1 (192.0.2.1) of pool web is down, was up: L7STS 503 in 12 ms: the status is \
             not expected",
            "checks make something else of 12 more backends",
            "check http: backend b1 (192.0.2.1) of pool web failed: L4CON in 0.3 ms: connect: connection refused",
            "checks through tunnels change no state any more, states stay as they are: no gwcheck",
            "checks change states again, after 7 s",
            "pool web keeps its backends: 2 of 3 failed at once, which is rather the network's fault than theirs",
            "pool web keeps no failing backend any more: 1 is down",
            "interface edge0 is in the way of probes: rp_filter is 1",
            "2 checks have had the first result",
        ];
        let states = samples().into_iter().skip_while(|event| event.name() != "check_state");
        let said: Vec<_> = states.map(|event| sentence(&event)).take(expected.len()).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn the_sentence_of_a_change_says_what_became_of_it() {
        let said = |changed_to, error: Option<&str>| {
            let mut happening = samples().swap_remove(9);
            if let Happening::Changed { outcome, error: why, reason, .. } = &mut happening {
                (*outcome, *why, *reason) = (changed_to, error.map(str::to_owned), None);
            }
            sentence(&happening).split_once("): ").unwrap().1.to_owned()
        };
        assert_eq!(said(ChangeOutcome::Applied, None), "generation 1 became generation 2");
        assert_eq!(
            said(ChangeOutcome::Late, Some("worker 1 hangs")),
            "generation 1 became generation 2; not in force in time: worker 1 hangs"
        );
        assert_eq!(
            said(ChangeOutcome::Refused, Some("a mistake")),
            "refused, generation 1 stays: a mistake"
        );
        assert_eq!(others(1, "client"), " (1 more client before it not recorded)");
        assert_eq!(others(2, "client"), " (2 more clients before it not recorded)");
    }

    /// A log of fields has those of a line beside those of the event.
    #[test]
    fn no_field_of_an_event_has_the_name_of_one_of_a_line() {
        for happening in samples() {
            let Ok(Value::Object(fields)) = serde_json::to_value(&happening) else { panic!() };
            for name in ["time", "level", "message", "sequence", "left_out", "fields"] {
                assert!(!fields.contains_key(name), "{happening:?}: {name}");
            }
        }
    }
}
