//! The kinds of events, each with its severity, its meaning and its fields.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::declare::Severity;
use crate::announce::{AnnouncingState, ForwarderState, VipCause, VipState};
use crate::check::{CheckCode, CheckState, CheckVia};
use crate::listing::BackendState;
use crate::request::Source;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// The change is in force.
    Applied,
    /// The change is published and stays, but was not in force on every worker in time.
    Late,
    /// Nothing was changed.
    Refused,
}

happenings! {
    /// The daemon has started, and its workers load their first tables.
    Info DaemonStarted = "daemon_started" {
        /// The release.
        version: String,
        /// The number of the process.
        pid: u32,
    }
    /// Every worker forwards by the first tables.
    Info DaemonReady = "daemon_ready" {
        /// The generation.
        generation: u64,
    }
    /// The daemon stops.
    Info DaemonStopping = "daemon_stopping" {
        /// Why, for example `SIGTERM`.
        reason: String,
    }
    /// A client introduced itself with `hello`.
    Info ClientConnected = "client_connected" {
        /// What it calls itself.
        client: String,
        /// Its release.
        version: String,
        /// The user that it runs as.
        uid: u32,
        /// The number of its process.
        pid: u32,
        /// Clients of the same socket that came before and were not recorded, since many came.
        #[serde(default, skip_serializing_if = "is_zero")]
        unrecorded: u64,
    }
    /// A client that had introduced itself disconnected.
    Warning ClientDisconnected = "client_disconnected" {
        /// What it called itself.
        client: String,
        /// The number of its process.
        pid: u32,
    }
    /// A configuration is in force on every worker.
    Info ConfigApplied = "config_applied" {
        /// The generation.
        generation: u64,
        /// What is valid but probably a mistake.
        warnings: usize,
    }
    /// A configuration was refused, and nothing has changed.
    Warning ConfigRefused = "config_refused" {
        /// Why.
        error: String,
    }
    /// Tables were published, and some worker did not load them in time.
    Error GenerationLate = "generation_late" {
        /// The generation.
        generation: u64,
    }
    /// The manager panicked and began again, which is a defect.
    Error ManagerRestarted = "manager_restarted" {
        /// The generation that it goes on with.
        generation: u64,
    }
    /// A client changed something, or tried to: the audit trail.
    Info Changed = "changed" {
        /// The user behind the socket.
        uid: u32,
        /// The number of the client's process.
        pid: u32,
        /// The name of the client's process.
        process: String,
        /// What was asked for: the name of the request.
        request: String,
        /// What was in force before, in a few words.
        before: String,
        /// What is in force after, in a few words.
        after: String,
        /// What became of the change.
        outcome: ChangeOutcome,
        /// Why, in the client's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Why nothing was changed, or why the change is not in force on every worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Refused requests of the same socket that came before and were not recorded, since many
        /// came.
        #[serde(default, skip_serializing_if = "is_zero")]
        unrecorded: u64,
    }
    /// A port got its link.
    Info LinkUp = "link_up" {
        /// The port.
        port: String,
    }
    /// A port lost its link.
    Warning LinkDown = "link_down" {
        /// The port.
        port: String,
    }
    /// Somebody renamed a port's interface.
    Warning InterfaceRenamed = "interface_renamed" {
        /// The port.
        port: String,
        /// The name before.
        from: String,
        /// The name now.
        to: String,
    }
    /// Somebody removed a port's interface.
    Error InterfaceRemoved = "interface_removed" {
        /// The port.
        port: String,
        /// Its name.
        interface: String,
    }
    /// The MAC address of a neighbour that packets go to became known.
    Info NeighborResolved = "neighbor_resolved" {
        /// The neighbour's port.
        port: String,
        /// The VLAN; none without a VLAN device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The neighbour's address.
        address: IpAddr,
        /// Its MAC address.
        mac: String,
    }
    /// A neighbour that packets go to has another MAC address.
    Info NeighborMoved = "neighbor_moved" {
        /// The neighbour's port.
        port: String,
        /// The VLAN; none without a VLAN device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The neighbour's address.
        address: IpAddr,
        /// The MAC address before.
        from: String,
        /// The MAC address now.
        to: String,
    }
    /// The MAC address of a neighbour that packets go to is no longer known.
    Warning NeighborLost = "neighbor_lost" {
        /// The neighbour's port.
        port: String,
        /// The VLAN; none without a VLAN device.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// The neighbour's address.
        address: IpAddr,
    }
    /// More neighbours than are recorded one by one were resolved, moved or lost.
    Info NeighborStates = "neighbor_states" {
        /// How often neighbours were, besides what is recorded.
        neighbors: usize,
    }
    /// A backend accepts other flows than before.
    Info BackendState = "backend_state" {
        /// Its pool.
        pool: String,
        /// Its name.
        backend: String,
        /// Its address.
        address: IpAddr,
        /// The state before.
        from: BackendState,
        /// The state now.
        to: BackendState,
        /// Who set it.
        source: Source,
        /// Why, in the words of who set it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// The weight of a backend was set or unset at run time.
    Info BackendWeight = "backend_weight" {
        /// Its pool.
        pool: String,
        /// Its name.
        backend: String,
        /// Its address.
        address: IpAddr,
        /// The weight before.
        from: u32,
        /// The weight now.
        to: u32,
        /// Who set it.
        source: Source,
        /// Why, in the words of who set it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// The last flow of a draining backend is gone.
    Info BackendDrained = "backend_drained" {
        /// Its pool.
        pool: String,
        /// Its name.
        backend: String,
        /// Its address.
        address: IpAddr,
        /// Seconds since the drain began.
        seconds: u64,
    }
    /// The time of a drain is over for the flows of some services.
    Warning DrainTimeout = "drain_timeout" {
        /// The backend's pool.
        pool: String,
        /// The backend's name.
        backend: String,
        /// The backend's address.
        address: IpAddr,
        /// What happens to the flows: `move`, `reset` or `keep`.
        then: String,
        /// All flows that the backend still has.
        flows: u64,
    }
    /// Too few backends of a pool are active, and its backup serves.
    Warning BackupStandsIn = "backup_stands_in" {
        /// The pool.
        pool: String,
        /// The pool that stands in.
        backup: String,
        /// The backends of the pool that serve.
        active: usize,
        /// How many it needs.
        needed: usize,
    }
    /// The backup of a pool has given way, or another backup serves.
    Info BackupGivesWay = "backup_gives_way" {
        /// The pool.
        pool: String,
        /// The pool that stood in.
        backup: String,
    }
    /// What was set at run time could not be read at the start, and is ignored.
    Error SettingsUnreadable = "settings_unreadable" {
        /// The file.
        path: String,
        /// Why.
        error: String,
    }
    /// What was set at run time for backends that are not configured is ignored.
    Warning SettingsIgnored = "settings_ignored" {
        /// How many backends.
        backends: usize,
        /// The first of them, as POOL/ADDRESS.
        first: String,
    }
    /// What is set at run time cannot be stored, so that a restart would lose it.
    Error SettingsUnstored = "settings_unstored" {
        /// The file.
        path: String,
        /// Why.
        error: String,
    }
    /// What is set at run time can be stored again.
    Info SettingsStored = "settings_stored" {
        /// The file.
        path: String,
    }
    /// More backends than are recorded one by one accept other flows than before, all at once.
    Info BackendStates = "backend_states" {
        /// How many there are besides those that are recorded.
        backends: usize,
    }
    /// No backend of a pool accepts new flows any more.
    Error PoolEmpty = "pool_empty" {
        /// The pool.
        pool: String,
    }
    /// A backend of a pool accepts new flows again.
    Info PoolServing = "pool_serving" {
        /// The pool.
        pool: String,
        /// Its backends that do.
        active: usize,
    }
    /// More pools than are recorded one by one became empty or serve again, all at once.
    Warning PoolStates = "pool_states" {
        /// How many there are besides those that are recorded.
        pools: usize,
    }
    /// The interface of the virtual addresses is up: they can be announced.
    Info AnnouncingBegan = "announcing_began" {
        /// The interface.
        interface: String,
    }
    /// The interface of the virtual addresses is down, which withdraws all of them.
    Error AnnouncingEnded = "announcing_ended" {
        /// The interface.
        interface: String,
        /// Why.
        #[serde(flatten)]
        state: AnnouncingState,
    }
    /// The controller sees the forwarder in another state.
    Warning ForwarderState = "forwarder_state" {
        /// The state before.
        from: ForwarderState,
        /// The state now.
        to: ForwarderState,
    }
    /// The controller goes by a configuration that is in force on every worker.
    Info ConfigAdopted = "config_adopted" {
        /// The generation.
        generation: u64,
    }
    /// Routers learn of a virtual address in another way than before.
    Info VipState = "vip_state" {
        /// The address.
        address: IpAddr,
        /// The state before.
        from: VipState,
        /// The state now.
        to: VipState,
        /// Why.
        #[serde(flatten)]
        cause: VipCause,
        /// Why, in the words of who ordered it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// More virtual addresses than are recorded one by one are announced in another way, all at once.
    Info VipStates = "vip_states" {
        /// How many there are besides those that are recorded.
        vips: usize,
    }
    /// Too few services of a virtual address serve.
    Error QuorumLost = "quorum_lost" {
        /// The address.
        address: IpAddr,
        /// The services that do not serve.
        services: Vec<String>,
        /// Whether the address stays announced.
        kept: bool,
    }
    /// Enough services of a virtual address serve again.
    Info QuorumRegained = "quorum_regained" {
        /// The address.
        address: IpAddr,
    }
    /// Somebody else removed routes of the controller, and it put them back.
    Warning RoutesRestored = "routes_restored" {
        /// How many.
        routes: usize,
    }
    /// Somebody removed the kernel's rule that looks up its main table, and the controller put it back.
    Warning RuleRestored = "rule_restored" {
        /// Whether it is the rule of IPv6.
        ipv6: bool,
    }
    /// The kernel refuses routes of virtual addresses.
    Error RoutesRefused = "routes_refused" {
        /// How many.
        routes: usize,
        /// Why it refuses the first.
        error: String,
    }
    /// A BGP session is established.
    Info BgpEstablished = "bgp_established" {
        /// The peer.
        peer: String,
    }
    /// A BGP session is not established any more.
    Error BgpLost = "bgp_lost" {
        /// The peer.
        peer: String,
        /// Why, as far as BIRD says it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }
    /// BIRD runs by a new configuration.
    Info BgpConfigured = "bgp_configured" {
        /// Peers in it.
        peers: usize,
    }
    /// BIRD refuses the controller's configuration, and goes on by the last one.
    Error BgpRefused = "bgp_refused" {
        /// Why.
        error: String,
    }
    /// BIRD does not answer the controller.
    Error BirdLost = "bird_lost" {
        /// Why.
        error: String,
    }
    /// BIRD answers the controller again.
    Info BirdFound = "bird_found" {
        /// Its release.
        version: String,
    }
    /// A check makes something else of a backend than before.
    Info CheckState = "check_state" {
        /// The check.
        check: String,
        /// The backend's pool.
        pool: String,
        /// The backend's name.
        backend: String,
        /// The backend's address.
        address: IpAddr,
        /// The state before.
        from: CheckState,
        /// The state now.
        to: CheckState,
        /// How the probe ended that decided; none if no probe did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<CheckCode>,
        /// The HTTP status, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The step of the probe that failed and why, in words; empty after a success.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        /// Microseconds from the probe's begin to its end.
        #[serde(default, skip_serializing_if = "is_zero")]
        latency_us: u64,
    }
    /// Checks make something else of more backends than are recorded one by one, all at once.
    Info CheckStates = "check_states" {
        /// How many there are besides those that are recorded.
        backends: usize,
    }
    /// A probe failed, of a check with `log_failures`.
    Info CheckFailed = "check_failed" {
        /// The check.
        check: String,
        /// The backend's pool.
        pool: String,
        /// The backend's name.
        backend: String,
        /// The backend's address.
        address: IpAddr,
        /// How it ended.
        code: CheckCode,
        /// The HTTP status, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The step that failed and why, in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        /// Microseconds from the probe's begin to its end.
        latency_us: u64,
    }
    /// Results of checks do not count, and states stay as they are.
    Error ChecksFrozen = "checks_frozen" {
        /// Only those of checks by this way; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<CheckVia>,
        /// Why, in words.
        cause: String,
    }
    /// Results of checks count again.
    Info ChecksResumed = "checks_resumed" {
        /// Only those of checks by this way; none for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<CheckVia>,
        /// Seconds for which they did not.
        seconds: u64,
    }
    /// Too many backends of a pool failed at once, and the pool keeps them.
    Error PoolPanic = "pool_panic" {
        /// The pool.
        pool: String,
        /// Its backends that failed.
        failing: usize,
        /// Its backends that have checks.
        backends: usize,
    }
    /// A pool that kept backends which failed at once keeps none any more.
    Info PoolCalm = "pool_calm" {
        /// The pool.
        pool: String,
        /// The backends that still fail, and are down now.
        failing: usize,
    }
    /// Something on the way of probes keeps them or their answers from passing.
    Warning CheckPath = "check_path" {
        /// The interface.
        interface: String,
        /// What it is, in words that say what to do.
        problem: String,
    }
    /// Every check of every backend has had its first result.
    Info ChecksFirstOver = "checks_first_over" {
        /// Checks of backends, of which pools may share some.
        targets: usize,
    }
    /// A worker has not finished a round for long.
    Error WorkerStalled = "worker_stalled" {
        /// The worker.
        worker: usize,
        /// Milliseconds since its last round.
        age_ms: u64,
    }
    /// A worker that had stalled works again.
    Info WorkerResumed = "worker_resumed" {
        /// The worker.
        worker: usize,
        /// Milliseconds for which it had stalled.
        age_ms: u64,
    }
    /// Few packet buffers are free.
    Warning BuffersLow = "buffers_low" {
        /// The pool of packet buffers.
        mempool: String,
        /// Free buffers.
        free: u32,
        /// Buffers in total.
        total: u32,
    }
    /// Enough packet buffers are free again.
    Info BuffersRecovered = "buffers_recovered" {
        /// The pool of packet buffers.
        mempool: String,
        /// Free buffers.
        free: u32,
        /// Buffers in total.
        total: u32,
    }
    /// Many packets meet a limit or a full queue.
    Warning FloodBegan = "flood_began" {
        /// The verdict or event that counts them.
        counter: String,
        /// Packets in the last second.
        packets: u64,
    }
    /// The packets of a flood have ended.
    Info FloodEnded = "flood_ended" {
        /// The verdict or event that counted them.
        counter: String,
        /// Packets of the flood.
        packets: u64,
        /// Seconds that it lasted.
        seconds: u64,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_of_its_own_and_a_sentence() {
        let names: BTreeSet<_> = Happening::KINDS.iter().map(|&(name, ..)| name).collect();
        assert_eq!(names.len(), Happening::KINDS.len());
        for (name, _, help) in Happening::KINDS {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        }
    }
}
