//! The decision for each address.
//!
//! The rules, in the order in which the first decides:
//! 1. The forwarder is not well: withdrawn. So are addresses that may not be announced.
//! 2. An operator has withdrawn it, or its drain or the node's has lasted for `announce.drain_time`: withdrawn.
//! 3. Its backends have checks, and what these have found is not known to the forwarder yet: withdrawn, unless it is announced
//!    already. So a forwarder that starts gets no traffic for backends that are down.
//! 4. Too few of its services serve: withdrawn, unless `on_quorum_loss` keeps it. Only an address that was announced since
//!    the forwarder's start can be kept: one that never had its quorum, or was withdrawn for the lack of it, waits for it.
//!    After a start of the controller, the kernel's route says that it was announced.
//! 5. It was announced until the forwarder was silent, its interface down or the quorum lost, and all has been well for less
//!    than `announce.hold`: withdrawn. A forwarder that is gone and comes back is not held: it starts anew, or nothing was
//!    wrong with it. What an operator had withdrawn before is not held either.
//! 6. An operator drains it or the node: draining.
//! 7. Otherwise announced.
//!
//! Rules 2 and 6 are for each peer. The address' own state is that of the peers for which nothing special is ordered, or,
//! if there is no such peer, the greatest of all.
//!
//! The wall clock may be set: a drain is over when either clock says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use guideway_api::{ForwarderState, VipCause, VipState};
use guideway_chassis::wall::Wall;
use guideway_config::OnQuorumLoss;

use super::order::{Mark, Orders, VipOrders};
use super::quorum::Quorum;
use super::site::Site;
use super::{Decision, Handling, Handlings};

/// What is seen now.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The forwarder.
    pub forwarder: ForwarderState,
    /// Whether each service serves, by its name; without those of which that is unknown.
    pub services: &'a BTreeMap<String, bool>,
    /// The addresses for which the kernel has a route, and its metric.
    pub installed: &'a BTreeMap<IpAddr, u32>,
    /// Whether the forwarder has what checks have found, or nothing is checked.
    pub is_checked: bool,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The clock that nobody sets.
    pub steady: Instant,
    /// The clock that outlives restarts.
    pub wall: Wall,
}

/// What decisions before have left. A new process of the forwarder asks for a new one.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    vips: BTreeMap<IpAddr, VipMemory>,
    drains: BTreeMap<Scope, Drain>,
}

#[derive(Clone, Debug, Default)]
struct VipMemory {
    /// The last decision did not withdraw it.
    is_announced: bool,
    /// It was announced since the forwarder's start, so that it had its quorum.
    was_announced: bool,
    /// It was withdrawn for its quorum, which it has not had since.
    lacks_quorum: bool,
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
    let registered = orders.vips.iter().filter(|(_, vip)| vip.registered.is_some());
    let registered = registered.map(|(address, _)| address);
    let Some(site) = site else {
        let cause = match view.forwarder {
            ForwarderState::Absent => VipCause::NoForwarder,
            ForwarderState::Silent => VipCause::ForwarderSilent,
            ForwarderState::Starting => VipCause::NotInForce,
            ForwarderState::Down | ForwarderState::Well => VipCause::NotConfigured,
        };
        let withdrawn = |&address| withdrawn(address, cause.clone());
        return Decisions { decisions: registered.map(withdrawn).collect(), next: None };
    };
    let addresses: BTreeSet<IpAddr> = site.vips.keys().chain(registered).copied().collect();
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
        let is_announced = self.view.installed.contains_key(&address);
        let new = || VipMemory { is_announced, ..VipMemory::default() };
        self.memory.vips.entry(address).or_insert_with(new);
        let decision = self.judge(address);
        let memory = self.memory.vips.entry(address).or_default();
        memory.is_announced = decision.state != VipState::Withdrawn;
        memory.was_announced |= memory.is_announced;
        decision
    }

    fn judge(&mut self, address: IpAddr) -> Decision {
        let none = VipOrders::default();
        let orders = self.orders.vips.get(&address).unwrap_or(&none);
        let (ordered, peers) = self.learnt(address, orders);
        let fault = self.fault(address);
        let is_checked = self.is_checked(address);
        let unmet = self.unmet(address);
        let is_held = self.remember(address, fault.as_ref(), unmet.as_ref());
        if let Some(cause) = fault {
            return withdrawn(address, cause);
        }
        if ordered.state == VipState::Withdrawn {
            let cause = ordered.cause.unwrap_or(VipCause::Ordered);
            return Decision { reason: ordered.reason, ..withdrawn(address, cause) };
        }
        if !is_checked {
            return withdrawn(address, VipCause::NotChecked);
        }
        let cause = match (unmet, ordered.cause) {
            (Some(Unmet { services, effect: Effect::Withdraw }), _) => {
                return withdrawn(address, VipCause::NoQuorum { services });
            }
            _ if is_held => return withdrawn(address, VipCause::Held),
            (_, Some(cause)) => cause,
            (Some(Unmet { services, effect: Effect::Keep }), None) => {
                VipCause::KeptWithoutQuorum { services }
            }
            (None | Some(_), None) if self.site.has(address) => VipCause::Serving,
            (None | Some(_), None) => VipCause::Registered,
        };
        let of_registration = || orders.registered.as_ref().and_then(|mark| mark.reason.clone());
        let reason = match cause {
            VipCause::Registered => of_registration(),
            _ => ordered.reason,
        };
        Decision { address, state: ordered.state, cause, reason, peers }
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

    /// Whether checks say nothing against announcing an address. One that is announced stays so while they begin.
    fn is_checked(&self, address: IpAddr) -> bool {
        let is_announced = || {
            let memory = self.memory.vips.get(&address);
            self.view.installed.contains_key(&address) || memory.is_some_and(|it| it.is_announced)
        };
        self.view.is_checked || !self.site.has(address) || is_announced()
    }

    /// The services that keep an address from its quorum, and what follows.
    fn unmet(&self, address: IpAddr) -> Option<Unmet> {
        let vip = self.site.vips.get(&address)?;
        let memory = self.memory.vips.get(&address).cloned().unwrap_or_default();
        let was_announced = self.view.installed.contains_key(&address) || memory.was_announced;
        let (services, effect) = match vip.quorum(self.view.services) {
            Quorum::Met => return None,
            Quorum::Lost { services } => (
                services,
                match vip.on_loss {
                    OnQuorumLoss::Keep if !memory.lacks_quorum => Effect::Keep,
                    OnQuorumLoss::Keep | OnQuorumLoss::Withdraw => Effect::Withdraw,
                },
            ),
            Quorum::Unknown { services } => (services, Effect::Wait),
        };
        let effect = if was_announced { effect } else { Effect::Withdraw };
        Some(Unmet { services, effect })
    }

    /// Notes what makes the address wait for `announce.hold`, and for how long it has waited. Returns whether it waits.
    fn remember(
        &mut self,
        address: IpAddr,
        fault: Option<&VipCause>,
        unmet: Option<&Unmet>,
    ) -> bool {
        let memory = self.memory.vips.entry(address).or_default();
        memory.was_announced |= self.view.installed.contains_key(&address);
        let effect = unmet.map(|unmet| unmet.effect);
        match (fault, effect) {
            // It starts anew, and has to show its quorum anew.
            (Some(VipCause::NotInForce), _) => *memory = VipMemory::default(),
            // It may be the connection alone that is gone.
            (Some(VipCause::NoForwarder), _) => {
                (memory.is_held, memory.well_since) = (false, None);
            }
            (Some(VipCause::ForwarderSilent | VipCause::InterfaceDown), _)
            | (None, Some(Effect::Withdraw)) => {
                memory.is_held |= memory.is_announced;
                memory.well_since = None;
                memory.lacks_quorum |= fault.is_none();
            }
            (None, None | Some(Effect::Keep)) if memory.is_held => {
                memory.lacks_quorum = false;
                let since = *memory.well_since.get_or_insert(self.now.steady);
                let until = since + self.site.hold;
                match until <= self.now.steady {
                    true => (memory.is_held, memory.well_since) = (false, None),
                    false => self.wait_until(until),
                }
            }
            (None, None | Some(Effect::Keep)) => memory.lacks_quorum = false,
            _ => {}
        }
        self.memory.vips.get(&address).is_some_and(|memory| memory.is_held)
    }

    fn wait_until(&mut self, time: Instant) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// What orders say of an address, and how each peer learns of it if not like that.
    fn learnt(&mut self, address: IpAddr, orders: &VipOrders) -> (Ordered, Handlings) {
        let all = self.ordered(address, orders, None);
        if *orders == VipOrders::default() && self.orders.node.peers.is_empty() {
            return (all, Handlings::new());
        }
        let nobodys =
            || Ordered { state: VipState::Withdrawn, cause: Some(VipCause::Ordered), reason: None };
        let site = self.site;
        let mut each: Vec<(&String, Ordered)> = Vec::new();
        for peer in &site.peers {
            let ordered = match &orders.only {
                Some(only) if !only.contains(peer) => nobodys(),
                _ => self.ordered(address, orders, Some(peer)),
            };
            each.push((peer, ordered));
        }
        let greatest = each.iter().map(|(_, ordered)| ordered).max_by_key(|ordered| ordered.state);
        let ordered = match greatest {
            // The peers that it was for are no peers any more.
            None if orders.only.is_some() => nobodys(),
            Some(greatest) if each.iter().all(|(_, one)| one.state != all.state) => {
                greatest.clone()
            }
            None | Some(_) => all,
        };
        let mut handlings = Handlings::new();
        for (peer, Ordered { state, .. }) in each {
            let next_hop = orders.next_hop(address, peer).filter(|_| state != VipState::Withdrawn);
            if state != ordered.state || next_hop.is_some() {
                handlings.insert(peer.clone(), Handling { state, next_hop });
            }
        }
        (ordered, handlings)
    }

    /// What orders say for one peer, or for all.
    fn ordered(&mut self, address: IpAddr, orders: &VipOrders, peer: Option<&str>) -> Ordered {
        let ordered = |state, cause, mark: &Mark| Ordered {
            state,
            cause: Some(cause),
            reason: mark.reason.clone(),
        };
        // Drains are timed even while a withdrawal outweighs them.
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
        let of_peer = peer.and_then(|peer| orders.withdrawn.peers.get(peer));
        if let Some(mark) = orders.withdrawn.all.as_ref().or(of_peer) {
            return ordered(VipState::Withdrawn, VipCause::Ordered, mark);
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

/// A quorum that is not met, or of which that is unknown.
struct Unmet {
    services: Vec<String>,
    effect: Effect,
}

/// What follows from a quorum that is not met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The address is withdrawn.
    Withdraw,
    /// It stays, and nothing is wrong with it.
    Keep,
    /// It stays as it is.
    Wait,
}
