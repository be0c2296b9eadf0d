//! The one list of metrics: each with its type, labels, meaning, value, and who watches it.
//!
//! From it follow the page `/metrics`, with its `# HELP` and `# TYPE`, and `docs/metrics.md`, which names for each
//! metric the alert rules of `packaging/prometheus/` that need it, or says that the dashboard shows it. Tests hold
//! the page of documentation, the rules and the dashboard to the list, so a new metric is one entry here, and
//! what else it needs is found missing.
//!
//! Names follow Prometheus's rules: base units, `_total` for counters; no rates and no percentages, which a query
//! makes. No metric has a label for a client, nor one for a service and one for a backend.

use guideway_chassis::metrics::{Kind, Watch};

use super::families::{Metric, Scope, Value, metrics};
use super::snapshot::Backend;
#[cfg(doc)]
use super::snapshot::Snapshot;
use crate::state::standing::WHOLE;

metrics! {
    /// What runs.
    build {version} in Node {
        /// 1, with the release as a label.
        gauge guideway_build_info = |_| 1u64; dashboard;
    }

    /// The process.
    process {} in Node {
        /// When the daemon started, in seconds since 1970.
        gauge guideway_start_time_seconds = |p| p.started; alert GuidewayRestarts;
        /// Processor time of all threads.
        counter process_cpu_seconds_total = |p| p.process.cpu_seconds; dashboard;
        /// Memory in RAM, without huge pages.
        gauge process_resident_memory_bytes = |p| p.process.resident_bytes; dashboard;
        /// Memory mapped, in RAM or not.
        gauge process_virtual_memory_bytes = |p| p.process.virtual_bytes; no_alert;
        /// Open file descriptors.
        gauge process_open_fds = |p| p.process.open_fds; dashboard;
        /// The most file descriptors that the process may have.
        gauge process_max_fds = |p| p.process.max_fds; no_alert;
        /// Threads.
        gauge process_threads = |p| p.process.threads; no_alert;
        /// When the process started, in seconds since 1970, according to the kernel.
        gauge process_start_time_seconds = |p| p.process.start_time; no_alert;
    }

    /// All packets.
    packets {} in Node {
        /// Packets received, by all workers.
        counter guideway_packets_received_total = |p| p.received;
            alert GuidewayDropsByNode GuidewayDropsHigh GuidewayFlowsRefused;
        /// Packets transmitted, by all workers.
        counter guideway_packets_transmitted_total = |p| p.transmitted; dashboard;
        /// Fragments that wait for the first of their datagram.
        gauge guideway_fragments_waiting = |p| p.fragments_waiting; dashboard;
        /// Packets for the kernel that were dropped because the queue to it was full.
        counter guideway_punt_queue_full_total = |p| p.punt_queue_full; alert GuidewayPuntQueueFull;
    }

    /// Verdicts: what became of each packet.
    verdicts {verdict} in Node {
        /// Packets by what became of them: each packet received has one verdict.
        counter guideway_verdicts_total = |v| v.count; dashboard;
    }

    /// The verdicts that are drops.
    drops {reason} in Node {
        /// Packets dropped, by reason: those of guideway_verdicts_total that are drops.
        counter guideway_dropped_packets_total = |d| d.count; alert GuidewayDropsByNode GuidewayDropsHigh;
    }

    /// Events.
    events {event} in Node {
        /// Events by name: those that workers count and those that the daemon records.
        counter guideway_events_total = |e| e.count; dashboard;
    }

    /// Punts.
    punts {class} in Node {
        /// Packets given to the kernel, by class.
        counter guideway_punts_total = |p| p.punted; dashboard;
        /// Packets for the kernel that were dropped because the class's limit was used up.
        counter guideway_punts_limited_total = |p| p.limited; alert GuidewayPuntsLimited;
    }

    /// Neighbours.
    neighbors {state} in Node {
        /// Neighbours that packets go to, by state.
        gauge guideway_neighbors = |n| n.count; dashboard;
    }

    /// Routes.
    routes {state} in Node {
        /// Backends by the state of their route: resolved, no_mac, or why there is no route.
        gauge guideway_routes = |r| r.count; dashboard;
    }

    /// The kernel's tables.
    kernel {} in Node {
        /// Whether the kernel's routes and neighbours are followed.
        gauge guideway_kernel_followed = |k| k.is_followed; dashboard;
        /// How often the kernel dropped messages, so that all of its tables were read again.
        counter guideway_kernel_overruns_total = |k| k.overruns; dashboard;
        /// Requests to the kernel about routes and neighbours that failed.
        counter guideway_kernel_errors_total = |k| k.errors; dashboard;
    }

    /// The interface of the virtual addresses, if the configuration has [announce].
    announcing {} in Node {
        /// Whether the interface of the virtual addresses is up, so that they can be announced. Absent without [announce].
        gauge guideway_announcing = |a| a.is_up; alert GuidewayAnnouncesNothing GuidewayControllerAbsent;
        /// Packets that the node itself sent to virtual addresses, and that were dropped. Absent without [announce].
        counter guideway_announce_dropped_packets_total = |a| a.dropped; no_alert;
    }

    /// Packets of probes through tunnels, if the configuration has node.check_source.
    probes {outcome} in Node {
        /// Packets that the node sent to be encapsulated for a backend, by what became of them: sent, or why they were dropped.
        /// Absent without node.check_source.
        counter guideway_check_packets_total = |p| p.count; no_alert;
    }

    /// Packet buffers.
    buffers {pool} in Node {
        /// Packet buffers of a pool of buffers.
        gauge guideway_buffers = |b| b.total; alert GuidewayBuffersLow;
        /// Packet buffers that are free.
        gauge guideway_buffers_free = |b| b.free; alert GuidewayBuffersLow;
    }

    /// The configuration.
    config {} in Node {
        /// Generation of the tables published last.
        gauge guideway_config_generation = |c| c.generation; dashboard;
        /// Oldest generation by which a worker forwards.
        gauge guideway_config_generation_in_force = |c| c.generation_in_force; dashboard;
        /// How long the oldest published tables wait that some worker does not forward by; 0 if none wait.
        gauge guideway_config_waiting_seconds = |c| c.waiting; alert GuidewayGenerationNotInForce;
        /// Whether the configuration of the last apply or reload was published; 1 after the start.
        gauge guideway_config_last_apply_success = |c| c.last_apply_success; alert GuidewayConfigApplyFailed;
        /// When the last apply or reload ended, or the daemon started; in seconds since 1970.
        gauge guideway_config_last_apply_timestamp_seconds = |c| c.last_apply; dashboard;
        /// Whether the configuration in force differs from the file and those of conf.d. Absent if the file system
        /// does not answer.
        gauge guideway_config_differs_from_file = |c| c.differs_from_file; alert GuidewayConfigDiffersFromFile;
        /// Whether all that is set at run time is stored for the next start.
        gauge guideway_settings_stored = |c| c.is_stored; alert GuidewaySettingsUnstored;
        /// How long it took to compile tables.
        histogram guideway_compile_seconds = |c| &c.compile; dashboard;
        /// How long it took until every worker forwarded by new tables, from their publication on.
        histogram guideway_publish_seconds = |c| &c.publish; dashboard;
        /// How often the manager, which changes what is in force, panicked and began again: each time is a defect.
        counter guideway_manager_restarts_total = |c| c.manager_restarts; alert GuidewayManagerRestarted;
    }

    /// Applies and reloads of a configuration.
    applies {result} in Node {
        /// Applies and reloads, by result: applied, late (published, and not in force in time), refused, failed.
        counter guideway_config_applies_total = |a| a.count; dashboard;
    }

    /// What is set at run time.
    settings {set_by} in Node {
        /// Backends that have a state or a weight set at run time, by who set it: controller, operator.
        gauge guideway_settings = |s| s.count; dashboard;
    }

    /// Workers.
    workers {worker} in Workers {
        /// Packets received from the worker's queues.
        counter guideway_worker_received_packets_total = |w| w.received; dashboard;
        /// Packets transmitted to the worker's queues.
        counter guideway_worker_transmitted_packets_total = |w| w.transmitted; dashboard;
        /// Packets dropped, for any reason.
        counter guideway_worker_dropped_packets_total = |w| w.dropped; dashboard;
        /// Rounds over the worker's inputs.
        counter guideway_worker_polls_total = |w| w.polls; dashboard;
        /// Rounds that found a packet.
        counter guideway_worker_busy_polls_total = |w| w.busy_polls; dashboard;
        /// Time in rounds that found a packet.
        counter guideway_worker_busy_seconds_total = |w| w.busy_seconds; alert GuidewayWorkerBusy;
        /// Time in rounds that found none, and asleep.
        counter guideway_worker_idle_seconds_total = |w| w.idle_seconds; alert GuidewayWorkerBusy;
        /// Packets of a burst from a device's queue, of those that are not empty.
        histogram guideway_worker_burst_packets = |w| &w.burst_packets; dashboard;
        /// Ticks of the CPU's counter that a burst took; one burst in 64 rounds is measured.
        histogram guideway_worker_burst_cycles = |w| &w.burst_cycles; dashboard;
        /// Generation of the tables by which the worker forwards.
        gauge guideway_worker_generation = |w| w.generation; dashboard;
        /// Time since the worker was last seen to finish a round.
        gauge guideway_worker_heartbeat_age_seconds = |w| w.heartbeat_age; alert GuidewayWorkerStalled;
        /// Entries in use of the worker's flow table.
        gauge guideway_flow_table_entries = |w| w.flows; alert GuidewayFlowTableNearlyFull;
        /// Entries of the worker's flow table.
        gauge guideway_flow_table_capacity = |w| w.flow_capacity; alert GuidewayFlowTableNearlyFull;
        /// Packets whose flow was not recorded, because both of its buckets hold live flows.
        counter guideway_flow_table_refused_total = |w| w.flows_refused; alert GuidewayFlowsRefused;
        /// Flows recorded in the slot of an unconfirmed or ended flow.
        counter guideway_flow_table_displaced_total = |w| w.flows_displaced; dashboard;
        /// Entries emptied or replaced because their idle timeout had passed.
        counter guideway_flow_table_expired_total = |w| w.flows_expired; dashboard;
    }

    /// Ports.
    ports {port} in Ports {
        /// Packets that the device received.
        counter guideway_port_rx_packets_total = |p| p.counters.rx_packets; alert GuidewayPortMissed;
        /// Bytes that the device received.
        counter guideway_port_rx_bytes_total = |p| p.counters.rx_bytes; dashboard;
        /// Packets that the device dropped because no worker polled in time.
        counter guideway_port_rx_missed_total = |p| p.counters.rx_missed; alert GuidewayPortMissed;
        /// Erroneous packets.
        counter guideway_port_rx_errors_total = |p| p.counters.rx_errors; alert GuidewayPortErrors;
        /// Packets that the device dropped because it had no buffer.
        counter guideway_port_rx_no_buffer_total = |p| p.counters.rx_no_buffer; alert GuidewayPortMissed;
        /// Packets that the device sent.
        counter guideway_port_tx_packets_total = |p| p.counters.tx_packets; dashboard;
        /// Bytes that the device sent.
        counter guideway_port_tx_bytes_total = |p| p.counters.tx_bytes; dashboard;
        /// Packets that the device failed to send.
        counter guideway_port_tx_errors_total = |p| p.counters.tx_errors; alert GuidewayPortErrors;
        /// Whether frames can pass, as far as the driver and the kernel know.
        gauge guideway_port_up = |p| p.is_up; alert GuidewayPortDown;
        /// Speed of the link, in bytes; absent if the link is down or the driver does not know it.
        gauge guideway_port_speed_bytes_per_second = |p| p.speed; dashboard;
    }

    /// The ports' interfaces: what passed between a port and the kernel.
    interfaces {port} in Ports {
        /// Frames that the kernel took.
        counter guideway_interface_to_kernel_packets_total = |i| i.to_kernel_packets; dashboard;
        /// Bytes of the frames that the kernel took.
        counter guideway_interface_to_kernel_bytes_total = |i| i.to_kernel_bytes; no_alert;
        /// Frames that the kernel refused.
        counter guideway_interface_to_kernel_refused_total = |i| i.to_kernel_refused; dashboard;
        /// Frames dropped because a worker's queue to the kernel was full.
        counter guideway_interface_to_kernel_queue_full_total = |i| i.to_kernel_queue_full; dashboard;
        /// Frames that the kernel sent by the port.
        counter guideway_interface_from_kernel_packets_total = |i| i.from_kernel_packets; dashboard;
        /// Bytes of the frames that the kernel sent by the port.
        counter guideway_interface_from_kernel_bytes_total = |i| i.from_kernel_bytes; no_alert;
        /// Frames that the kernel sent and the port did not.
        counter guideway_interface_from_kernel_dropped_total = |i| i.from_kernel_dropped; dashboard;
    }

    /// Pools.
    pools {pool} in Pools {
        /// Packets forwarded to the pool's backends.
        counter guideway_pool_packets_total = |p| p.traffic.packets; dashboard;
        /// Bytes of the packets forwarded, as received.
        counter guideway_pool_bytes_total = |p| p.traffic.bytes; dashboard;
        /// New flows: each got its backend by the pool's choice.
        counter guideway_pool_new_flows_total = |p| p.traffic.flows; dashboard;
        /// Flow table entries of flows for which this pool chose the backend.
        gauge guideway_pool_flows = |p| p.traffic.live; dashboard;
        /// Backends that the pool can choose, apart from those of its backups.
        gauge guideway_pool_backends = |p| p.backends; alert GuidewayPoolDegraded;
        /// Backends that take new flows of the pool: of a backup, if one serves.
        gauge guideway_pool_active_backends = |p| p.active; alert GuidewayPoolEmpty GuidewayPoolDegraded;
        /// Backends that must be active, or the backup serves, if it has enough: min_active.
        gauge guideway_pool_needed_backends = |p| p.needed; dashboard;
        /// Who gets new flows: 0 the pool itself, 1 its backup, 2 the backup's backup, and so on; -1 nobody.
        gauge guideway_pool_serving_level = |p| p.level; alert GuidewayPoolOnBackup GuidewayPoolDegraded;
        /// Whether new flows go to backends that are down, since no other is left and on_empty is all.
        gauge guideway_pool_serves_down = |p| p.serves_down; alert GuidewayPoolServesDown;
    }

    /// Backends of a pool that are not active.
    pool_states {pool, state} in Pools {
        /// Own backends of the pool in each state but active; absent for a state that no backend has.
        gauge guideway_pool_backends_by_state = |s| s.count;
            alert GuidewayBackendUnresolved GuidewayBackendDraining GuidewayBackendDown;
    }

    /// Services.
    services {service, address, protocol, port} in Services {
        /// Packets forwarded for the service.
        counter guideway_service_packets_total = |s| s.traffic.packets; dashboard;
        /// Bytes of the packets forwarded, as received.
        counter guideway_service_bytes_total = |s| s.traffic.bytes; dashboard;
        /// New flows: each got its backend by the choice of the service's pool.
        counter guideway_service_new_flows_total = |s| s.traffic.flows; dashboard;
        /// Flow table entries.
        gauge guideway_service_flows = |s| s.traffic.live; dashboard;
    }

    /// Backends of pools.
    backends {pool, backend, address} in Backends {
        /// Packets forwarded to the backend.
        counter guideway_backend_packets_total = |b| b.traffic.packets; dashboard;
        /// Bytes of the packets forwarded, as received.
        counter guideway_backend_bytes_total = |b| b.traffic.bytes; dashboard;
        /// New flows: each got its backend by the pool's choice.
        counter guideway_backend_new_flows_total = |b| b.traffic.flows; dashboard;
        /// Flow table entries.
        gauge guideway_backend_flows = |b| b.traffic.live; dashboard;
        /// Weight in force: in a slow start, part of the weight that is set.
        gauge guideway_backend_weight = |b| weight_in_force(b); dashboard;
    }

    /// States of backends.
    backend_states {pool, backend, address, state} in Backends {
        /// 1 for the state that the backend has: active, draining, disabled, down, unresolved or unreachable.
        gauge guideway_backend_state = |_| 1u64; dashboard;
    }

    /// The scrape itself: at the end of each page.
    left_out {scope} in Node {
        /// Series that metrics.max_series left out of this page, by scope.
        gauge guideway_scrape_series_left_out = |l| l.count; alert GuidewayScrapeTruncated;
    }

    /// The scrape itself: at the end of each page.
    scrape {} in Node {
        /// Series of this page.
        gauge guideway_scrape_series = |s| s.series; dashboard;
    }
}

/// The weight that is in force of a backend's weight: a whole number but in a slow start.
fn weight_in_force(backend: &Backend) -> Value<'static> {
    match (backend.weight, backend.share) {
        (weight, WHOLE) => weight.into(),
        (weight, share) => Value::Float(f64::from(weight) * f64::from(share) / f64::from(WHOLE)),
    }
}
