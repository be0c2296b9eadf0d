//! The decision for each address.
//!
//! The rules, in the order in which the first decides:
//! 1. The forwarder is not well: withdrawn. So are addresses that may not be announced.
//! 2. An operator has withdrawn it, or its drain or the node's has lasted for `announce.drain_time`: withdrawn.
//! 3. Too few of its services serve: withdrawn, unless `on_quorum_loss` keeps it. Only an address that was announced can
//!    be kept: one that never had its quorum waits for it.
//! 4. It was withdrawn because the forwarder was silent, its interface down or the quorum lost, and all has been well for
//!    less than `announce.hold`: withdrawn. A forwarder that has started anew is not held.
//! 5. An operator drains it or the node: draining.
//! 6. Otherwise announced.
//!
//! The wall clock may be set: a drain is over when either clock says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use guideway_api::{ForwarderState, VipCause, VipState};
use guideway_chassis::wall::Wall;
use guideway_config::OnQuorumLoss;

use super::order::{Mark, Marks, Orders, VipOrders};
use super::site::Site;
use super::{Decision, Handling, Handlings};

/// What is seen now.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The forwarder.
    pub forwarder: ForwarderState,
    /// The names of the services that serve.
    pub serving: &'a BTreeSet<String>,
    /// The addresses for which the kernel has a route.
    pub installed: &'a BTreeMap<IpAddr, u32>,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The clock that nobody sets.
    pub steady: Instant,
    /// The clock that outlives restarts.
    pub wall: Wall,
}

/// What decisions before have left.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    vips: BTreeMap<IpAddr, VipMemory>,
    drains: BTreeMap<Scope, Drain>,
}

#[derive(Clone, Debug, Default)]
struct VipMemory {
    /// It was announced since the forwarder's start, so that it had its quorum.
    was_announced: bool,
    /// It was withdrawn for a failure that asks for a hold.
    is_held: bool,
    /// Since when all is well, while it is held.
    well_since: Option<Instant>,
}

/// What a drain is of: an address or the node, and all peers or one.
type Scope = (Option<IpAddr>, Option<String>);

/// A drain, as it was first seen.
#[derive(Clone, Copy, Debug)]
struct Drain {
    since: u64,
    seen: Instant,
    /// How long it had lasted then, by the wall clock.
    lasted: Duration,
}

/// All decisions, and when time alone may change one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// In the order of the addresses.
    pub decisions: Vec<Decision>,
    /// When to decide again, if nothing happens before.
    pub next: Option<Instant>,
}

/// Decides for each address.
pub fn decide(
    site: Option<&Site>,
    orders: &Orders,
    view: &View<'_>,
    memory: &mut Memory,
    now: Now,
) -> Decisions {
    let Some(site) = site else {
        let registered = orders.vips.keys();
        let withdrawn = |&address| withdrawn(address, VipCause::NotConfigured);
        return Decisions { decisions: registered.map(withdrawn).collect(), next: None };
    };
    let registered = orders.vips.iter().filter(|(_, vip)| vip.registered.is_some());
    let addresses: BTreeSet<IpAddr> =
        site.vips.keys().chain(registered.map(|(address, _)| address)).copied().collect();
    memory.vips.retain(|address, _| addresses.contains(address));
    let mut round = Round { site, orders, view, memory, now, next: None, drains: BTreeMap::new() };
    let decisions = addresses.into_iter().map(|address| round.decide(address)).collect();
    let next = round.next;
    // Those that are not asked for any more have ended.
    memory.drains = std::mem::take(&mut round.drains);
    Decisions { decisions, next }
}

fn withdrawn(address: IpAddr, cause: VipCause) -> Decision {
    let (state, reason, peers) = (VipState::Withdrawn, None, Handlings::new());
    Decision { address, state, cause, reason, peers }
}

/// One pass over all addresses.
struct Round<'a> {
    site: &'a Site,
    orders: &'a Orders,
    view: &'a View<'a>,
    memory: &'a mut Memory,
    now: Now,
    next: Option<Instant>,
    /// The drains of this pass.
    drains: BTreeMap<Scope, Drain>,
}

/// What orders say of an address and a peer, or of all peers.
#[derive(Clone, Debug)]
struct Ordered {
    state: VipState,
    /// None if nothing was ordered.
    cause: Option<VipCause>,
    reason: Option<String>,
}

impl Round<'_> {
    fn decide(&mut self, address: IpAddr) -> Decision {
        let none = VipOrders::default();
        let orders = self.orders.vips.get(&address).unwrap_or(&none);
        let ordered = self.ordered(address, orders, None);
        let peers = self.handlings(address, orders, &ordered);
        let faults = self.fault(address);
        let unmet = self.unmet(address);
        self.remember(address, faults.as_ref(), unmet.as_ref());
        if let Some(cause) = faults {
            return withdrawn(address, cause);
        }
        // Of no peer at all, though the order was for each by its name.
        let is_nobodys = !self.site.peers.is_empty()
            && self.site.peers.iter().all(|peer| {
                peers.get(peer).map_or(ordered.state, |handling| handling.state)
                    == VipState::Withdrawn
            });
        let state = if is_nobodys { VipState::Withdrawn } else { ordered.state };
        if state == VipState::Withdrawn {
            let cause = ordered.cause.unwrap_or(VipCause::Ordered);
            return Decision { reason: ordered.reason, ..withdrawn(address, cause) };
        }
        let held = self.memory.vips.get(&address).is_some_and(|memory| memory.is_held);
        let cause = match (unmet, ordered.cause) {
            (Some(Unmet { services, is_kept: false }), _) => {
                return withdrawn(address, VipCause::NoQuorum { services });
            }
            _ if held => return withdrawn(address, VipCause::Held),
            (_, Some(cause)) => cause,
            (Some(Unmet { services, .. }), None) => VipCause::KeptWithoutQuorum { services },
            (None, None) if self.site.has(address) => VipCause::Serving,
            (None, None) => VipCause::Registered,
        };
        let of_registration = || orders.registered.as_ref().and_then(|mark| mark.reason.clone());
        let reason = match cause {
            VipCause::Registered => of_registration(),
            _ => ordered.reason,
        };
        self.memory.vips.entry(address).or_default().was_announced = true;
        Decision { address, state, cause, reason, peers }
    }

    /// Why nothing of this address can be announced.
    fn fault(&self, address: IpAddr) -> Option<VipCause> {
        match self.view.forwarder {
            ForwarderState::Absent => Some(VipCause::NoForwarder),
            ForwarderState::Silent => Some(VipCause::ForwarderSilent),
            ForwarderState::Starting => Some(VipCause::NotInForce),
            ForwarderState::Down => Some(VipCause::InterfaceDown),
            ForwarderState::Well if !self.site.allows(address) => Some(VipCause::NotAllowed),
            ForwarderState::Well => None,
        }
    }

    /// The services that keep an address from its quorum.
    fn unmet(&self, address: IpAddr) -> Option<Unmet> {
        let vip = self.site.vips.get(&address)?;
        let services = vip.missing(|name| self.view.serving.contains(name));
        let was_announced = self.view.installed.contains_key(&address)
            || self.memory.vips.get(&address).is_some_and(|memory| memory.was_announced);
        let is_kept = vip.on_loss == OnQuorumLoss::Keep && was_announced;
        (!services.is_empty()).then_some(Unmet { services, is_kept })
    }

    /// Notes what makes the address wait for `announce.hold`, and for how long it has waited.
    fn remember(&mut self, address: IpAddr, fault: Option<&VipCause>, unmet: Option<&Unmet>) {
        let memory = self.memory.vips.entry(address).or_default();
        let was_lost = unmet.is_some_and(|unmet| !unmet.is_kept) && memory.was_announced;
        match fault {
            // A forwarder that starts anew has to show its quorum anew, and waits for nothing else.
            Some(VipCause::NoForwarder | VipCause::NotInForce) => *memory = VipMemory::default(),
            Some(VipCause::ForwarderSilent | VipCause::InterfaceDown) if memory.was_announced => {
                (memory.is_held, memory.well_since) = (true, None);
            }
            None if was_lost => (memory.is_held, memory.well_since) = (true, None),
            None if memory.is_held && unmet.is_none_or(|unmet| unmet.is_kept) => {
                let since = *memory.well_since.get_or_insert(self.now.steady);
                let until = since + self.site.hold;
                match until <= self.now.steady {
                    true => (memory.is_held, memory.well_since) = (false, None),
                    false => self.wait_until(until),
                }
            }
            _ => {}
        }
    }

    fn wait_until(&mut self, time: Instant) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// How each peer learns of an address, if not as all do.
    fn handlings(&mut self, address: IpAddr, orders: &VipOrders, all: &Ordered) -> Handlings {
        let site = self.site;
        let is_usual = *orders == VipOrders::default() && self.orders.node.peers.is_empty();
        let mut found = Handlings::new();
        for peer in site.peers.iter().filter(|_| !is_usual) {
            let state = match &orders.only {
                Some(only) if !only.contains(peer) => VipState::Withdrawn,
                _ => self.ordered(address, orders, Some(peer)).state,
            };
            let next_hop = orders.next_hop(address, peer).filter(|_| state != VipState::Withdrawn);
            if state != all.state || next_hop.is_some() {
                found.insert(peer.clone(), Handling { state, next_hop });
            }
        }
        found
    }

    /// What orders say for one peer, or for all.
    fn ordered(&mut self, address: IpAddr, orders: &VipOrders, peer: Option<&str>) -> Ordered {
        fn of<'m>(marks: &'m Marks, peer: Option<&'m str>) -> Option<&'m Mark> {
            marks.of(peer.unwrap_or_default()).next()
        }
        let ordered = |state, cause, mark: &Mark| Ordered {
            state,
            cause: Some(cause),
            reason: mark.reason.clone(),
        };
        if let Some(mark) = of(&orders.withdrawn, peer) {
            return ordered(VipState::Withdrawn, VipCause::Ordered, mark);
        }
        let node = &self.orders.node;
        let mut drains = Vec::new();
        for (marks, address) in [(&orders.drained, Some(address)), (node, None)] {
            let all = marks.all.iter().map(|mark| (None, mark));
            let one = peer.and_then(|peer| Some((Some(peer), marks.peers.get(peer)?)));
            for (peer, mark) in all.chain(one) {
                let is_over = self.is_over((address, peer.map(str::to_owned)), mark.since);
                drains.push((address.is_none(), is_over, mark));
            }
        }
        let cause = |&(is_node, is_over, mark): &(bool, bool, &Mark)| match (is_over, is_node) {
            (true, false) => (0, ordered(VipState::Withdrawn, VipCause::Drained, mark)),
            (true, true) => (1, ordered(VipState::Withdrawn, VipCause::NodeDrained, mark)),
            (false, true) => (2, ordered(VipState::Draining, VipCause::NodeDrains, mark)),
            (false, false) => (3, ordered(VipState::Draining, VipCause::Drains, mark)),
        };
        let first = drains.iter().map(cause).min_by_key(|&(rank, _)| rank);
        first.map_or(
            Ordered { state: VipState::Announced, cause: None, reason: None },
            |(_, ordered)| ordered,
        )
    }

    /// Whether a drain has lasted for its time.
    fn is_over(&mut self, scope: Scope, since: u64) -> bool {
        let Now { steady, wall } = self.now;
        let lasted = wall.since(Wall(since));
        let known = self.memory.drains.get(&scope).filter(|drain| drain.since == since).copied();
        let drain = known.unwrap_or(Drain { since, seen: steady, lasted });
        self.drains.insert(scope, drain);
        let by_steady = drain.lasted + steady.duration_since(drain.seen);
        match self.site.drain_time.checked_sub(by_steady.max(lasted)) {
            None | Some(Duration::ZERO) => true,
            Some(left) => {
                self.wait_until(steady + left);
                false
            }
        }
    }
}

/// A quorum that is not met.
struct Unmet {
    /// The services that do not serve.
    services: Vec<String>,
    /// Whether the address stays announced.
    is_kept: bool,
}
