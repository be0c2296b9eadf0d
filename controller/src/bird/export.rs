//! What a peer is told of the routes: the body of a filter in BIRD's configuration.
//!
//! The metric of a route tells how its address is announced and its class; see [`crate::announce::metric`]. For a class
//! with an order for this peer, that order counts. A route with another metric is not told to anybody.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use guideway_api::VipState;
use guideway_config::{Bgp, BgpPeer, Community, Family};
use ipnet::IpNet;

use crate::announce::{ANNOUNCED, CLASSES, Class, DRAINING, Handling, Handlings};

/// The community of a route that is about to go (RFC 8326).
pub(super) const GRACEFUL_SHUTDOWN: (u16, u16) = (65_535, 0);

/// The body of the filter for one family. `number` is the AS number that a path is made longer with: none in an
/// internal session, whose peer would take it for a loop.
pub(super) fn export(
    bgp: &Bgp,
    peer: &BgpPeer,
    family: Family,
    number: Option<u32>,
    classes: &BTreeMap<Class, Handlings>,
) -> String {
    let mut text = String::new();
    let last = CLASSES - 1;
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line("int vip_class;");
    line("bool vip_drains;");
    line("{");
    line(&format!("  {}", allowed(&bgp.allowed, family)));
    line("  case krt_metric {");
    for (base, drains) in [(ANNOUNCED, false), (DRAINING, true)] {
        let to = base + u32::from(last);
        line(&format!(
            "    {base}..{to}: {{ vip_class = krt_metric - {base}; vip_drains = {drains}; }}"
        ));
    }
    line("    else: reject;");
    line("  }");
    let default = peer.next_hops.iter().copied().find(|&hop| Family::of(hop) == family);
    if let Some(hop) = default {
        line(&format!("  bgp_next_hop = {hop};"));
    }
    let orders = Orders::new(&peer.name, family, classes);
    line(&format!("  if vip_class !~ [ {} ] then reject;", ranges(&orders.told)));
    for (classes, drains) in [(&orders.announced, false), (&orders.draining, true)] {
        if !classes.is_empty() {
            let classes = ranges(classes);
            line(&format!("  if vip_class ~ [ {classes} ] then vip_drains = {drains};"));
        }
    }
    for (hop, classes) in &orders.next_hops {
        let classes = ranges(classes);
        line(&format!("  if vip_class ~ [ {classes} ] then bgp_next_hop = {hop};"));
    }
    for community in &peer.communities {
        line(&format!("  {}", add(*community)));
    }
    line("  if vip_drains then {");
    let (one, two) = GRACEFUL_SHUTDOWN;
    line(&format!("    {}", add(Community::Standard(one, two))));
    line(&format!("    bgp_med = {};", peer.med.saturating_add(bgp.drain_med)));
    match number {
        Some(number) => {
            let times = usize::from(peer.prepend) + usize::from(bgp.drain_prepend);
            prepend(number, times).iter().for_each(|text| line(text));
        }
        // Inside of an AS the preference decides before anything else, and RFC 8326 has the least for these.
        None => line("    bgp_local_pref = 0;"),
    }
    line("  } else {");
    // Said even if it is 0: some routers take a missing one for the worst.
    line(&format!("    bgp_med = {};", peer.med));
    if let Some(number) = number {
        prepend(number, usize::from(peer.prepend)).iter().for_each(|text| line(text));
    }
    line("  }");
    line("  accept;");
    line("}");
    text
}

/// Rejects what lies outside of the prefixes. An empty set is a mistake of syntax for BIRD.
fn allowed(allowed: &[IpNet], family: Family) -> String {
    let of_family = allowed.iter().filter(|prefix| Family::of(prefix.addr()) == family);
    let mut prefixes: Vec<IpNet> = of_family.map(IpNet::trunc).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let bits = if family == Family::V4 { 32 } else { 128 };
    let prefixes: Vec<String> =
        prefixes.iter().map(|prefix| format!("{prefix}{{{bits},{bits}}}")).collect();
    match prefixes.is_empty() {
        true => "reject;".to_owned(),
        false => format!("if net !~ [ {} ] then reject;", prefixes.join(", ")),
    }
}

/// The orders for one peer, by what they are. They become conditions rather than a `case`, since BIRD 2.0.12
/// crashes at a case whose block is empty.
#[derive(Debug)]
struct Orders {
    /// Classes that the peer is told, with class 0.
    told: Vec<u16>,
    /// Those of them that are announced, whatever the metric says.
    announced: Vec<u16>,
    /// Those that drain, whatever the metric says.
    draining: Vec<u16>,
    /// Those with a next hop.
    next_hops: BTreeMap<IpAddr, Vec<u16>>,
}

impl Orders {
    fn new(peer: &str, family: Family, classes: &BTreeMap<Class, Handlings>) -> Orders {
        let mut orders = Orders {
            told: vec![0],
            announced: Vec::new(),
            draining: Vec::new(),
            next_hops: BTreeMap::new(),
        };
        for (class, handlings) in classes.iter().filter(|(class, _)| class.0 > 0) {
            let Some(Handling { state, next_hop }) = handlings.get(peer) else {
                orders.told.push(class.0);
                continue;
            };
            // Nobody could send packets to a next hop of the other family.
            if next_hop.is_some_and(|hop| Family::of(hop) != family) {
                continue;
            }
            match state {
                VipState::Withdrawn => continue,
                VipState::Draining => orders.draining.push(class.0),
                VipState::Announced => orders.announced.push(class.0),
            }
            orders.told.push(class.0);
            if let Some(hop) = next_hop {
                orders.next_hops.entry(*hop).or_default().push(class.0);
            }
        }
        orders
    }
}

/// `0, 3..5`.
fn ranges(numbers: &[u16]) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let mut text = String::new();
    for (index, (first, last)) in ranges.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}..{last}"),
        };
    }
    text
}

fn add(community: Community) -> String {
    match community {
        Community::Standard(one, two) => format!("bgp_community.add(({one}, {two}));"),
        Community::Large(one, two, three) => {
            format!("bgp_large_community.add(({one}, {two}, {three}));")
        }
    }
}

fn prepend(number: u32, times: usize) -> Vec<String> {
    vec![format!("    bgp_path.prepend({number});"); times]
}
