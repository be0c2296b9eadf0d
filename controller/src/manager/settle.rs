//! From what is known to what is wanted, and what has happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{ForwarderState, Happening, VipCause, VipState};
use guideway_config::BgpMode;

use super::state::{Adopted, Listed, State};
use crate::announce::{
    ANNOUNCED, CLASSES, Class, DRAINING, Decision, Decisions, Handlings, Now, Quorum, Site, View,
    decide, metric,
};
use crate::{bird, routes};

/// Changes of addresses that are recorded one by one.
const RECORDED: usize = 100;

/// What is wanted, and what has happened.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The routes; none if nothing can be said of them yet.
    pub(super) routes: Option<routes::Wanted>,
    /// What BIRD is to run by; none if BIRD is not the controller's affair, or if nothing can be said yet.
    pub(super) bird: Option<bird::Plan>,
    pub(super) happened: Vec<Happening>,
    /// When to settle again, if nothing happens before.
    pub(super) next: Option<Instant>,
}

impl State {
    /// Decides for each address.
    pub(super) fn settle(&mut self, now: Now) -> Settled {
        let mut settled = Settled::default();
        let Some(state) = self.effective() else { return settled };
        if state != self.told {
            let (from, to) = (self.told, state);
            settled.happened.push(Happening::ForwarderState { from, to });
            (self.told, self.told_since) = (state, now.wall);
        }
        let Some(adopted) = self.adopted.clone() else {
            // The table is unknown. Routes that an earlier run has left lead nowhere, wherever they are.
            if state != ForwarderState::Well {
                self.list(self.unknown(state), &BTreeMap::new(), now, &mut settled);
                settled.routes = Some(self.no_routes());
            }
            return settled;
        };
        if state == ForwarderState::Well && !self.is_current(&adopted) {
            // A new process, of which too little is known. Its interface has no routes.
            return settled;
        }
        let none = Arc::default();
        let serving = self.serving.as_ref().map_or(&none, |(_, serving)| serving);
        let is_checked =
            adopted.configuration.checks.is_empty() || self.checked == Some(adopted.process);
        let installed = &self.installed;
        let view = View { forwarder: state, services: serving, installed, is_checked };
        let site = adopted.site.as_deref();
        let Decisions { decisions, next } =
            decide(site, &self.orders, &view, &mut self.memory, now);
        settled.next = next;
        let serving = Arc::clone(serving);
        if let (Some(site), ForwarderState::Well) = (site, state) {
            self.note_quorums(site, &serving, &decisions, &mut settled.happened);
        }
        self.adopt_classes(&decisions);
        let announced = decisions.iter().filter(|decision| decision.state != VipState::Withdrawn);
        if !self.classes.assign(announced.map(|decision| &decision.peers)) {
            tracing::error!(
                "there are more than {} different orders for peers; some addresses stay as they were",
                CLASSES - 1
            );
        }
        let (metrics, waiting) = self.metrics(&decisions, &adopted);
        self.waiting = Arc::new(waiting);
        self.list(decisions, &metrics, now, &mut settled);
        self.metrics = Arc::new(metrics);
        if let Some(announce) = &adopted.configuration.announce {
            settled.routes = Some(routes::Wanted {
                interface: announce.interface.clone(),
                table: announce.table,
                metrics: Arc::clone(&self.metrics),
            });
            self.plan_classes();
            settled.bird = self.plan(&adopted);
            self.place = Some((announce.interface.clone(), announce.table));
        } else {
            // Routes of a configuration that had the section go.
            settled.routes = Some(self.no_routes());
        }
        settled
    }

    /// No route, where the last configuration had them, or where they are by default.
    fn no_routes(&self) -> routes::Wanted {
        let (interface, table) = self.place.clone().unwrap_or_else(|| ("gwvip".to_owned(), 1000));
        routes::Wanted { interface, table, metrics: Arc::default() }
    }

    /// The forwarder's state, as the kernel's word about its interface corrects it. None before it was asked.
    fn effective(&self) -> Option<ForwarderState> {
        match (self.forwarder?, self.is_interface_up) {
            (ForwarderState::Well, Some(false)) => Some(ForwarderState::Down),
            (state, _) => Some(state),
        }
    }

    /// Whether the process that answers is the one that said all of this.
    fn is_current(&self, adopted: &Adopted) -> bool {
        let serving = self.serving.as_ref().map(|&(process, _)| process);
        self.process == Some(adopted.process) && serving == self.process
    }

    /// Decisions without a configuration.
    fn unknown(&self, state: ForwarderState) -> Vec<Decision> {
        let cause = match state {
            ForwarderState::Silent => VipCause::ForwarderSilent,
            ForwarderState::Starting => VipCause::NotInForce,
            _ => VipCause::NoForwarder,
        };
        let registered = self.orders.vips.iter().filter(|(_, vip)| vip.registered.is_some());
        let decision = |(&address, _)| Decision {
            address,
            state: VipState::Withdrawn,
            cause: cause.clone(),
            reason: None,
            peers: Handlings::new(),
        };
        registered.map(decision).collect()
    }

    /// At the start, takes over the classes of the routes that an earlier run has left: BIRD runs by them.
    fn adopt_classes(&mut self, decisions: &[Decision]) {
        if std::mem::replace(&mut self.has_classes, true) {
            return;
        }
        for decision in decisions.iter().filter(|decision| decision.state != VipState::Withdrawn) {
            let class = self.installed.get(&decision.address).and_then(|&metric| class_of(metric));
            if let Some(class) = class {
                self.classes.adopt(&decision.peers, class);
            }
        }
    }

    /// The metric of each route. BIRD has to know the class first: until then the route stays as it was.
    /// Returns the addresses for which that is so too.
    fn metrics(
        &self,
        decisions: &[Decision],
        adopted: &Adopted,
    ) -> (BTreeMap<IpAddr, u32>, BTreeSet<IpAddr>) {
        let announce = adopted.configuration.announce.as_ref();
        let is_managed = announce.is_some_and(|announce| announce.bgp == BgpMode::Managed);
        let known = |class: Class| {
            let classes = self.bird.classes.as_ref();
            class == Class(0) || !is_managed || classes.is_some_and(|known| known.contains(&class))
        };
        let (mut metrics, mut waiting) = (BTreeMap::new(), BTreeSet::new());
        for decision in decisions {
            let class = self.classes.of(&decision.peers).filter(|&class| known(class));
            let wanted = match class {
                Some(class) => metric(decision.state, class),
                None if decision.state == VipState::Withdrawn => None,
                None => {
                    waiting.insert(decision.address);
                    let before = self.metrics.get(&decision.address);
                    before.or_else(|| self.installed.get(&decision.address)).copied()
                }
            };
            metrics.extend(wanted.map(|metric| (decision.address, metric)));
        }
        (metrics, waiting)
    }

    /// The classes that BIRD is to know: those in use, and those of routes that the kernel still has. BIRD would
    /// withdraw a route whose class it has forgotten.
    fn plan_classes(&mut self) {
        let used: BTreeSet<u32> = self.installed.values().copied().collect();
        let is_used = |class: Class| {
            let metrics = [ANNOUNCED, DRAINING].map(|base| base + u32::from(class.0));
            metrics.iter().any(|metric| used.contains(metric))
        };
        let before = std::mem::replace(&mut self.planned, self.classes.all());
        for (class, handlings) in before {
            if is_used(class) {
                self.planned.entry(class).or_insert(handlings);
            }
        }
    }

    /// What BIRD is to run by, if the controller configures it.
    fn plan(&self, adopted: &Adopted) -> Option<bird::Plan> {
        let configuration = &adopted.configuration;
        let announce = configuration.announce.as_ref()?;
        if announce.bgp != BgpMode::Managed {
            return None;
        }
        Some(bird::Plan {
            bgp: Arc::new(configuration.bgp.clone()),
            router_id: configuration.router_id().unwrap_or(Ipv4Addr::UNSPECIFIED),
            interface: announce.interface.clone(),
            table: announce.table,
            classes: self.planned.clone(),
        })
    }

    /// Records quorums that are lost and regained.
    fn note_quorums(
        &mut self,
        site: &Site,
        serving: &BTreeMap<String, bool>,
        decisions: &[Decision],
        happened: &mut Vec<Happening>,
    ) {
        self.quorums.retain(|&address, _| site.has(address));
        let states: BTreeMap<IpAddr, VipState> =
            decisions.iter().map(|decision| (decision.address, decision.state)).collect();
        for (&address, vip) in &site.vips {
            let (met, services) = match vip.quorum(serving) {
                Quorum::Met => (true, Vec::new()),
                Quorum::Lost { services } => (false, services),
                Quorum::Unknown { .. } => continue,
            };
            match self.quorums.get(&address) {
                // Before the first time nothing is lost.
                None if met => _ = self.quorums.insert(address, true),
                Some(true) if !met => {
                    self.quorums.insert(address, false);
                    let kept = states.get(&address).is_some_and(|&it| it != VipState::Withdrawn);
                    happened.push(Happening::QuorumLost { address, services, kept });
                }
                Some(false) if met => {
                    self.quorums.insert(address, true);
                    happened.push(Happening::QuorumRegained { address });
                }
                _ => {}
            }
        }
    }

    /// Lists the decisions, and records those that are others than before.
    fn list(
        &mut self,
        decisions: Vec<Decision>,
        metrics: &BTreeMap<IpAddr, u32>,
        now: Now,
        settled: &mut Settled,
    ) {
        let mut before = std::mem::take(&mut self.listed);
        let mut changed = 0_usize;
        for decision in decisions {
            let address = decision.address;
            let last = before.remove(&address);
            let from = last
                .as_ref()
                .map_or_else(|| self.installed_state(address), |last| last.decision.state);
            let to = decision.state;
            let since = match &last {
                Some(last) if from == to => last.since,
                _ => now.wall,
            };
            if from != to {
                changed += 1;
                if changed <= RECORDED {
                    let (cause, reason) = (decision.cause.clone(), decision.reason.clone());
                    settled.happened.push(Happening::VipState { address, from, to, cause, reason });
                }
            }
            let metric = metrics.get(&address).copied();
            self.listed.insert(address, Listed { decision, since, metric });
        }
        for (address, last) in before {
            let from = last.decision.state;
            if from == VipState::Withdrawn {
                continue;
            }
            changed += 1;
            if changed <= RECORDED {
                settled.happened.push(Happening::VipState {
                    address,
                    from,
                    to: VipState::Withdrawn,
                    cause: gone(&last.decision.cause),
                    reason: None,
                });
            }
        }
        if changed > RECORDED {
            settled.happened.push(Happening::VipStates { vips: changed - RECORDED });
        }
    }

    /// The state of an address that was not listed before, by the route that an earlier run may have left.
    fn installed_state(&self, address: IpAddr) -> VipState {
        match self.installed.get(&address) {
            Some(&metric) if metric >= DRAINING => VipState::Draining,
            Some(&metric) if metric >= ANNOUNCED => VipState::Announced,
            _ => VipState::Withdrawn,
        }
    }
}

/// Why an address is not listed any more that had this cause: a registered one is forgotten by order; one of services
/// left the configuration with them.
fn gone(last: &VipCause) -> VipCause {
    match last {
        VipCause::Registered | VipCause::Ordered => VipCause::Ordered,
        _ => VipCause::NotConfigured,
    }
}

/// The class that a metric names.
fn class_of(metric: u32) -> Option<Class> {
    let in_class = [ANNOUNCED, DRAINING].map(|base| metric.checked_sub(base));
    let class = in_class.into_iter().flatten().find(|&class| class < u32::from(CLASSES))?;
    u16::try_from(class).ok().map(Class)
}
