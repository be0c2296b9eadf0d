//! Tables of the ports and of what is counted.

use guideway_api::{Port, PortStats, Stats};

use super::{sentence, tint};
use crate::table::{Table, counter, key, left, right};

pub(super) fn port_table(ports: &[Port]) -> Table<20> {
    let mut table = Table::new([
        key("NAME"),
        left("DEVICE"),
        left("DRIVER"),
        left("MAC"),
        right("MTU"),
        right("RX_QUEUES"),
        right("TX_QUEUES"),
        counter("RX_PACKETS"),
        counter("RX_BYTES"),
        counter("RX_MISSED"),
        counter("RX_ERRORS"),
        counter("RX_NO_BUFFER"),
        counter("TX_PACKETS"),
        counter("TX_BYTES"),
        counter("TX_ERRORS"),
        left("LINK"),
        right("LINK_SECONDS"),
        left("STEERING"),
        left("RX_FUNCTION"),
        left("TX_FUNCTION"),
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
        table.tint("LINK", tint::link(&port.link));
    }
    table
}

pub(super) fn port_stats_table(ports: &[PortStats]) -> Table<4> {
    let mut table = Table::new([key("PORT"), key("KIND"), key("NAME"), counter("COUNT")]);
    for port in ports {
        for (name, count) in &port.counters {
            table.row([&port.name, &"device", name, count]);
        }
        for (name, count) in &port.extended {
            table.row([&port.name, &"extended", name, count]);
        }
    }
    table
}

pub(super) fn stats_table(stats: &Stats) -> Table<3> {
    let mut table = Table::new([key("KIND"), key("NAME"), counter("COUNT")]);
    table.row([&"total", &"received", &stats.received]);
    table.row([&"total", &"transmitted", &stats.transmitted]);
    for (name, count) in &stats.verdicts {
        table.row([&"verdict", name, count]);
    }
    for (name, count) in &stats.events {
        table.row([&"event", name, count]);
    }
    table
}
