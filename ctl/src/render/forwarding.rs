//! Tables of what is forwarded: totals, services, workers and flows.

use guideway_api::{Announcing, AnnouncingState, Flows, Service, Status, Worker};

use super::{sentence, tint};
use crate::table::{Table, counter, key, left, right};

pub(super) fn status_table(status: &Status) -> Table<2> {
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    table.row([&"node", &status.node]);
    table.row([&"version", &status.version]);
    table.row([&"uptime_seconds", &status.uptime_seconds]);
    table.row([&"generation", &status.generation]);
    table.row([&"generation_in_force", &status.generation_in_force]);
    table.row([&"manager_restarts", &status.manager_restarts]);
    table.row([&"config_path", &status.config_path]);
    table.row([&"workers", &status.workers]);
    table.row([&"ports", &status.ports]);
    table.row([&"services", &status.services]);
    table.row([&"backends", &status.backends]);
    table.row([&"flows", &status.flows]);
    table.row([&"flow_capacity", &status.flow_capacity]);
    table.row([&"fragments_waiting", &status.fragments_waiting]);
    table.row([&"announcing", &status.announcing.as_ref().map(announcing).unwrap_or_default()]);
    table.counter_row([&"received", &status.received]);
    table.counter_row([&"transmitted", &status.transmitted]);
    table
}

/// The interface of the virtual addresses, and why it is not up.
fn announcing(announcing: &Announcing) -> String {
    let (interface, state) = (&announcing.interface, &announcing.state);
    match state {
        AnnouncingState::Up => format!("{interface} {}", state.name()),
        why => format!("{interface} {}: {why}", state.name()),
    }
}

pub(super) fn service_table(services: &[Service]) -> Table<11> {
    let mut table = Table::new([
        key("NAME"),
        left("ADDRESS"),
        left("PROTOCOL"),
        right("PORT"),
        left("POOL"),
        right("BACKENDS"),
        right("LIVE"),
        counter("FLOWS"),
        counter("PACKETS"),
        counter("BYTES"),
        left("SERVES"),
    ]);
    for service in services {
        table.row([
            &service.name,
            &service.address,
            &service.protocol.name(),
            &service.port,
            &service.pool,
            &service.backends,
            &service.traffic.live,
            &service.traffic.flows,
            &service.traffic.packets,
            &service.traffic.bytes,
            &if service.serves { "yes" } else { "no" },
        ]);
        table.tint("SERVES", tint::serves(service.serves));
    }
    table
}

pub(super) fn worker_table(workers: &[Worker]) -> Table<10> {
    let mut table = Table::new([
        key("WORKER").to_right(),
        right("CPU"),
        right("GENERATION"),
        counter("RECEIVED"),
        counter("TRANSMITTED"),
        counter("DROPPED"),
        right("FLOWS"),
        right("FLOW_CAPACITY"),
        right("BUSY"),
        left("QUEUES"),
    ]);
    for worker in workers {
        table.row([
            &worker.worker,
            &worker.cpu.map(|cpu| cpu.to_string()).unwrap_or_default(),
            &worker.generation,
            &worker.received,
            &worker.transmitted,
            &worker.dropped,
            &worker.flows,
            &worker.flow_capacity,
            &busy(worker),
            &sentence::queues(&worker.queues),
        ]);
    }
    table
}

/// The share of polls that received packets; empty before the first poll.
fn busy(worker: &Worker) -> String {
    if worker.polls == 0 {
        return String::new();
    }
    format!("{:.1}%", worker.busy_polls as f64 / worker.polls as f64 * 100.0)
}

pub(super) fn flow_table(flows: &Flows) -> Table<6> {
    let mut table = Table::new([
        right("WORKER"),
        left("TAG"),
        left("POOL"),
        left("BACKEND"),
        left("STATE"),
        right("IDLE_MS"),
    ]);
    for flow in &flows.flows {
        table.row([
            &flow.worker,
            &flow.tag,
            &flow.pool,
            &flow.backend,
            &flow.state.name(),
            &flow.idle_ms,
        ]);
    }
    table
}
