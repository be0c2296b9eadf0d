//! Tables of what the controller announces: addresses, the node and its BGP sessions.

use std::time::SystemTime;

use guideway_api::{BgpDetails, BgpMode, BgpPeer, Node, NodeDrain, SentRoute, Vip, VipPeer};

use super::age::age;
use super::{check, tint};
use crate::table::{Table, key, left, right};

/// The note on an order that a restart would lose.
pub(crate) const UNSTORED: &str = "note: the order is in force but not stored, a restart would lose it; the log of \
                                   guideway-controller says why";

pub(super) fn vip_table(vips: &[Vip]) -> Table<8> {
    let mut table = Table::new([
        key("ADDRESS"),
        left("STATE"),
        right("SINCE"),
        right("METRIC"),
        left("ROUTE"),
        left("SERVICES"),
        left("PEERS"),
        left("WHY"),
    ]);
    let now = SystemTime::now();
    for vip in vips {
        table.row([
            &vip.address,
            &vip.state.name(),
            &age(&vip.since, now),
            &optional(vip.metric),
            &route(vip),
            &vip.services.join(","),
            &vip.peers.iter().map(peer).collect::<Vec<_>>().join(","),
            &why(vip),
        ]);
        table.tint("STATE", tint::vip(vip.state));
        table.tint("ROUTE", tint::route(vip.installed));
    }
    table
}

/// Whether the kernel is as the state wants it: it has the route, has none, or not yet.
fn route(vip: &Vip) -> &'static str {
    match (vip.installed, vip.metric) {
        (false, _) => "pending",
        (true, Some(_)) => "installed",
        (true, None) => "none",
    }
}

/// What a peer learns, as one word: `tor1=announced@192.0.2.1`.
fn peer(peer: &VipPeer) -> String {
    let next_hop = peer.next_hop.map(|address| format!("@{address}")).unwrap_or_default();
    format!("{}={}{next_hop}", peer.peer, peer.state.name())
}

fn why(vip: &Vip) -> String {
    match &vip.reason {
        Some(reason) => format!("{} ({reason})", vip.cause),
        None => vip.cause.to_string(),
    }
}

/// How many addresses an order has changed, as a line.
pub(super) fn changed(changed: usize, addresses: usize) -> String {
    let noun = if addresses == 1 { "address" } else { "addresses" };
    match changed {
        0 => format!("{addresses} {noun}, no change\n"),
        _ => format!("{addresses} {noun}, {changed} changed\n"),
    }
}

pub(super) fn node_table(node: &Node) -> Table<2> {
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    table.row([&"node", &node.node]);
    table.row([&"version", &node.version]);
    table.row([&"uptime_seconds", &node.uptime_seconds]);
    table.row([&"forwarder", &node.forwarder.name()]);
    table.tint("VALUE", tint::forwarder(node.forwarder));
    table.row([&"forwarder_since", &node.forwarder_since]);
    table.row([&"generation", &node.generation]);
    table.row([&"bgp", &node.bgp.map(bgp).unwrap_or_default()]);
    table.row([&"announced", &node.announced]);
    table.row([&"draining", &node.draining]);
    table.row([&"withdrawn", &node.withdrawn]);
    table.row([&"restored_routes", &node.restored_routes]);
    for (name, count) in node.checks.iter().flat_map(check::totals) {
        table.row([&name, &count]);
    }
    if let Some(cause) = node.checks.as_ref().and_then(|checks| checks.frozen.as_ref()) {
        table.row([&"checks_frozen", cause]);
        table.tint("VALUE", tint::frozen());
    }
    for of in &node.drains {
        table.row([&"drain", &drain(of)]);
        table.tint("VALUE", tint::drain());
    }
    table
}

fn bgp(mode: BgpMode) -> &'static str {
    match mode {
        BgpMode::None => "none",
        BgpMode::Managed => "managed",
        BgpMode::External => "external",
    }
}

fn drain(drain: &NodeDrain) -> String {
    let peer = drain.peer.as_ref().map(|peer| format!("peer {peer}"));
    let sentence = format!("{} since {}", peer.as_deref().unwrap_or("all peers"), drain.since);
    match &drain.reason {
        Some(reason) => sentence + ": " + reason,
        None => sentence,
    }
}

pub(super) fn bgp_table(peers: &[BgpPeer]) -> Table<8> {
    let mut table = Table::new([
        key("PEER"),
        left("ADDRESS"),
        right("AS"),
        left("STATE"),
        right("SINCE"),
        right("ROUTES"),
        left("BFD"),
        left("WHY"),
    ]);
    let now = SystemTime::now();
    for peer in peers {
        let error = peer.error.iter().map(|error| match tint::is_established(peer) {
            true => format!("last error: {error}"),
            false => error.clone(),
        });
        let why: Vec<String> = error.chain(peer.notes.iter().cloned()).collect();
        table.row([
            &peer.name,
            &peer.address,
            &peer.remote_as,
            &peer.state.name(),
            &age(&peer.since, now),
            &peer.routes,
            &bfd(peer),
            &why.join("; "),
        ]);
        table.tint("STATE", tint::session(peer));
        table.tint("BFD", tint::bfd(peer));
    }
    table
}

/// All about one session. Each note and each route has a row.
pub(super) fn bgp_detail_table(details: &BgpDetails) -> Table<2> {
    let peer = &details.peer;
    let mut table = Table::headless([key("NAME"), left("VALUE")]);
    table.row([&"peer", &peer.name]);
    table.row([&"address", &peer.address]);
    table.row([&"local_address", &optional(details.local_address)]);
    table.row([&"remote_as", &peer.remote_as]);
    table.row([&"local_as", &peer.local_as]);
    table.row([&"state", &peer.state.name()]);
    table.tint("VALUE", tint::session(peer));
    table.row([&"since", &peer.since]);
    let error = if tint::is_established(peer) { "last_error" } else { "error" };
    table.row([&error, &peer.error.as_deref().unwrap_or_default()]);
    table.row([&"hold_time", &details.hold_time]);
    table.row([&"keepalive", &details.keepalive]);
    table.row([&"bfd", &bfd(peer)]);
    table.tint("VALUE", tint::bfd(peer));
    table.row([&"routes", &peer.routes]);
    for note in &peer.notes {
        table.row([&"note", note]);
    }
    for route in &details.sent {
        table.row([&"sent", &sent(route)]);
    }
    table
}

fn bfd(peer: &BgpPeer) -> &'static str {
    match peer.bfd_up {
        None => "",
        Some(true) => "up",
        Some(false) => "down",
    }
}

fn sent(route: &SentRoute) -> String {
    let next_hop = route.next_hop.map(|address| format!(" via {address}")).unwrap_or_default();
    let draining = if route.draining { ", draining" } else { "" };
    format!("{}{next_hop}{draining}", route.address)
}

/// A value as a cell, which is empty without the value.
fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
