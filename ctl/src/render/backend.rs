//! Tables of backends: their states and traffic, how packets reach them, and all about one.

use std::time::SystemTime;

use guideway_api::{Backend, BackendSetting, BackendState};

use super::age::age;
use super::{sentence, tint};
use crate::table::{Table, counter, key, left, right};

pub(super) fn table(backends: &[Backend]) -> Table<13> {
    let mut table = Table::new([
        key("POOL"),
        key("NAME"),
        left("ADDRESS"),
        left("STATE"),
        right("SINCE"),
        left("BY"),
        right("WEIGHT"),
        right("SHARE"),
        right("LIVE"),
        counter("FLOWS"),
        counter("PACKETS"),
        counter("BYTES"),
        left("REASON"),
    ]);
    let now = SystemTime::now();
    for backend in backends {
        table.row([
            &backend.pool,
            &backend.name,
            &backend.address,
            &backend.state.name(),
            &age(&backend.since, now),
            &backend.source.name(),
            &backend.weight,
            &share(backend.share),
            &backend.traffic.live,
            &backend.traffic.flows,
            &backend.traffic.packets,
            &backend.traffic.bytes,
            &reason(backend),
        ]);
        table.tint("STATE", tint::backend(backend));
    }
    table
}

pub(super) fn route_table(backends: &[Backend]) -> Table<8> {
    let mut table = Table::new([
        key("POOL"),
        key("NAME"),
        left("ADDRESS"),
        left("STATE"),
        left("ENCAPSULATION"),
        left("PORT"),
        left("NEXT_HOP"),
        left("WHY"),
    ]);
    for backend in backends {
        table.row([
            &backend.pool,
            &backend.name,
            &backend.address,
            &backend.state.name(),
            &backend.encapsulation.as_deref().unwrap_or("none"),
            &backend.next_hop.port().unwrap_or_default(),
            &sentence::next_hop(&backend.next_hop),
            &sentence::choice(backend.encapsulation_choice.as_ref()),
        ]);
        table.tint("STATE", tint::backend(backend));
    }
    table
}

/// All about one backend. Each setting has a row; the last of them outweighs the others.
pub(super) fn detail_table(backend: &Backend) -> Table<2> {
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    table.row([&"backend", &format!("{}/{}", backend.pool, backend.name)]);
    table.row([&"address", &backend.address]);
    table.row([&"state", &backend.state.name()]);
    table.tint("VALUE", tint::backend(backend));
    table.row([&"since", &backend.since]);
    table.row([&"by", &backend.source.name()]);
    table.row([&"reason", &backend.reason.as_deref().unwrap_or_default()]);
    table.row([&"weight", &backend.weight]);
    let slow_start = backend.slow_start.map(share);
    table.row([&"slow_start", &slow_start.unwrap_or_default()]);
    table.row([&"share", &share(backend.share)]);
    table.row([&"live", &backend.traffic.live]);
    table.counter_row([&"flows", &backend.traffic.flows]);
    table.counter_row([&"packets", &backend.traffic.packets]);
    table.counter_row([&"bytes", &backend.traffic.bytes]);
    table.row([&"next_hop", &sentence::next_hop(&backend.next_hop)]);
    for setting in &backend.settings {
        table.row([&setting.source.name(), &sentence::setting(setting)]);
    }
    table
}

fn share(of: f64) -> String {
    format!("{:.2}%", of * 100.0)
}

/// Why the backend has its state, and when that ends.
fn reason(backend: &Backend) -> String {
    if let BackendState::Unresolved | BackendState::Unreachable = backend.state {
        return sentence::next_hop(&backend.next_hop);
    }
    let holds = |it: &&BackendSetting| it.source == backend.source && it.state.is_some();
    let until = backend.settings.iter().find(holds).and_then(|setting| setting.until.as_deref());
    sentence::limited(backend.reason.as_deref().unwrap_or_default(), until)
}
