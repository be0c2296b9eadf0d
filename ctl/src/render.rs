//! Responses as text: tables for people and awk, JSON for programs.
//!
//! In a table, counters are plain integers, and shares and loads are percentages. Text that may contain
//! spaces is in the last columns.

mod kernel;
mod sentence;
#[cfg(test)]
mod tests;

use guideway_api::{Backend, Flows, Port, PortStats, Response, Service, Stats, Status, Worker};
use serde::Serialize;

use crate::arguments::Output;
use crate::table::{Align::Left, Align::Right, Table};

/// A response as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// For stdout.
    pub(crate) text: String,
    /// For stderr, a line each.
    pub(crate) notes: Vec<String>,
}

/// Renders a response. JSON has only the response's body.
pub(crate) fn render(response: &Response, output: Output) -> Rendered {
    match output {
        Output::Table => table(response),
        Output::Json => Rendered { text: body(response), notes: Vec::new() },
    }
}

fn table(response: &Response) -> Rendered {
    let (text, notes) = match response {
        Response::Status(status) => (status_table(status), vec![]),
        Response::Services(services) => (service_table(services), vec![]),
        Response::Backends(backends) => (backend_table(backends), vec![]),
        Response::Workers(workers) => (worker_table(workers), vec![]),
        Response::Ports(ports) => (port_table(ports), vec![]),
        Response::PortStats(ports) => (port_stats_table(ports), vec![]),
        Response::Stats(stats) => (stats_table(stats), vec![]),
        // Unchanged, so that the output can be applied again.
        Response::Config { text, .. } => (text.clone(), vec![]),
        Response::Checked { warnings } => ("valid\n".into(), noted(warnings)),
        Response::Applied { generation, warnings } => {
            (format!("generation {generation} is in force on every worker\n"), noted(warnings))
        }
        Response::Flows(flows) => (flow_table(flows), cut_short(flows)),
        Response::Interfaces(interfaces) => (kernel::interface_table(interfaces), vec![]),
        Response::Neighbors(neighbors) => (kernel::neighbor_table(neighbors), vec![]),
        Response::Route(route) => (kernel::route_table(route), vec![]),
        Response::Punts(punts) => (kernel::punt_table(punts), vec![]),
        Response::Events(events) => (events.events.iter().map(line).collect(), vec![]),
        Response::LogLevel { level } => (format!("{}\n", level.name()), vec![]),
        Response::Hello {} => (String::new(), vec![]),
        Response::Error(error) => (error.message.clone(), error.details.clone()),
    };
    Rendered { text, notes }
}

fn noted(warnings: &[String]) -> Vec<String> {
    warnings.iter().map(|warning| format!("warning: {warning}")).collect()
}

fn cut_short(flows: &Flows) -> Vec<String> {
    if !flows.truncated {
        return vec![];
    }
    vec![format!(
        "note: there are more than these {}; narrow the listing or raise --limit",
        flows.flows.len()
    )]
}

fn status_table(status: &Status) -> String {
    let mut table = Table::headless([Left, Left]);
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
    table.row([&"received", &status.received]);
    table.row([&"transmitted", &status.transmitted]);
    table.to_string()
}

fn service_table(services: &[Service]) -> String {
    let mut table = Table::new([
        ("NAME", Left),
        ("ADDRESS", Left),
        ("PROTOCOL", Left),
        ("PORT", Right),
        ("POOL", Left),
        ("BACKENDS", Right),
        ("LIVE", Right),
        ("FLOWS", Right),
        ("PACKETS", Right),
        ("BYTES", Right),
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
        ]);
    }
    table.to_string()
}

fn backend_table(backends: &[Backend]) -> String {
    let mut table = Table::new([
        ("POOL", Left),
        ("NAME", Left),
        ("ADDRESS", Left),
        ("WEIGHT", Right),
        ("STATE", Left),
        ("ENCAPSULATION", Left),
        ("SHARE", Right),
        ("LIVE", Right),
        ("FLOWS", Right),
        ("PACKETS", Right),
        ("BYTES", Right),
        ("PORT", Left),
        ("NEXT_HOP", Left),
        ("WHY", Left),
    ]);
    for backend in backends {
        table.row([
            &backend.pool,
            &backend.name,
            &backend.address,
            &backend.weight,
            &backend.state.name(),
            &backend.encapsulation.as_deref().unwrap_or("none"),
            &format!("{:.2}%", backend.share * 100.0),
            &backend.traffic.live,
            &backend.traffic.flows,
            &backend.traffic.packets,
            &backend.traffic.bytes,
            &backend.next_hop.port().unwrap_or_default(),
            &sentence::next_hop(&backend.next_hop),
            &sentence::choice(backend.encapsulation_choice.as_ref()),
        ]);
    }
    table.to_string()
}

fn worker_table(workers: &[Worker]) -> String {
    let mut table = Table::new([
        ("WORKER", Right),
        ("CPU", Right),
        ("GENERATION", Right),
        ("RECEIVED", Right),
        ("TRANSMITTED", Right),
        ("DROPPED", Right),
        ("FLOWS", Right),
        ("FLOW_CAPACITY", Right),
        ("BUSY", Right),
        ("QUEUES", Left),
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
    table.to_string()
}

/// The share of polls that received packets; empty before the first poll.
fn busy(worker: &Worker) -> String {
    if worker.polls == 0 {
        return String::new();
    }
    format!("{:.1}%", worker.busy_polls as f64 / worker.polls as f64 * 100.0)
}

fn port_table(ports: &[Port]) -> String {
    let mut table = Table::new([
        ("NAME", Left),
        ("DEVICE", Left),
        ("DRIVER", Left),
        ("MAC", Left),
        ("MTU", Right),
        ("RX_QUEUES", Right),
        ("TX_QUEUES", Right),
        ("RX_PACKETS", Right),
        ("RX_BYTES", Right),
        ("RX_MISSED", Right),
        ("RX_ERRORS", Right),
        ("RX_NO_BUFFER", Right),
        ("TX_PACKETS", Right),
        ("TX_BYTES", Right),
        ("TX_ERRORS", Right),
        ("LINK", Left),
        ("LINK_SECONDS", Right),
        ("STEERING", Left),
        ("RX_FUNCTION", Left),
        ("TX_FUNCTION", Left),
    ]);
    for port in ports {
        table.row([
            &port.name,
            &port.device,
            &port.driver,
            &port.mac,
            &port.mtu,
            &port.rx_queues,
            &port.tx_queues,
            &port.counters.rx_packets,
            &port.counters.rx_bytes,
            &port.counters.rx_missed,
            &port.counters.rx_errors,
            &port.counters.rx_no_buffer,
            &port.counters.tx_packets,
            &port.counters.tx_bytes,
            &port.counters.tx_errors,
            &sentence::link(&port.link),
            &port.link_seconds,
            &sentence::steering(&port.steering, &port.driver),
            &port.rx_function.as_deref().unwrap_or_default(),
            &port.tx_function.as_deref().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

fn port_stats_table(ports: &[PortStats]) -> String {
    let mut table = Table::new([("PORT", Left), ("KIND", Left), ("NAME", Left), ("COUNT", Right)]);
    for port in ports {
        for (name, count) in &port.counters {
            table.row([&port.name, &"device", name, count]);
        }
        for (name, count) in &port.extended {
            table.row([&port.name, &"extended", name, count]);
        }
    }
    table.to_string()
}

fn stats_table(stats: &Stats) -> String {
    let mut table = Table::new([("KIND", Left), ("NAME", Left), ("COUNT", Right)]);
    table.row([&"total", &"received", &stats.received]);
    table.row([&"total", &"transmitted", &stats.transmitted]);
    for (name, count) in &stats.verdicts {
        table.row([&"verdict", name, count]);
    }
    for (name, count) in &stats.events {
        table.row([&"event", name, count]);
    }
    table.to_string()
}

fn flow_table(flows: &Flows) -> String {
    let mut table = Table::new([
        ("WORKER", Right),
        ("TAG", Left),
        ("POOL", Left),
        ("BACKEND", Left),
        ("STATE", Left),
        ("IDLE_MS", Right),
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
    table.to_string()
}

/// The response's body as JSON, its fields in the protocol's order.
fn body(response: &Response) -> String {
    #[derive(Serialize)]
    struct Config<'a> {
        text: &'a str,
        generation: u64,
    }
    #[derive(Serialize)]
    struct Checked<'a> {
        warnings: &'a [String],
    }
    #[derive(Serialize)]
    struct Applied<'a> {
        generation: u64,
        warnings: &'a [String],
    }
    let text = match response {
        Response::Status(status) => pretty(status),
        Response::Services(services) => pretty(services),
        Response::Backends(backends) => pretty(backends),
        Response::Workers(workers) => pretty(workers),
        Response::Ports(ports) => pretty(ports),
        Response::PortStats(ports) => pretty(ports),
        Response::Stats(stats) => pretty(stats),
        Response::Config { text, generation } => pretty(&Config { text, generation: *generation }),
        Response::Checked { warnings } => pretty(&Checked { warnings }),
        Response::Applied { generation, warnings } => {
            pretty(&Applied { generation: *generation, warnings })
        }
        Response::Flows(flows) => pretty(flows),
        Response::Interfaces(interfaces) => pretty(interfaces),
        Response::Neighbors(neighbors) => pretty(neighbors),
        Response::Route(route) => pretty(route),
        Response::Punts(punts) => pretty(punts),
        Response::Events(events) => pretty(events),
        Response::LogLevel { level } => pretty(level),
        Response::Hello {} => "{}".to_owned(),
        Response::Error(error) => pretty(error),
    };
    text + "\n"
}

/// A value as one line of JSON.
fn line<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the protocol's types are JSON") + "\n"
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("the protocol's types are JSON")
}
