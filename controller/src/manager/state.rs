//! What is known, and what each event changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{
    Announcing, AnnouncingState, BgpPeer, Error, ErrorKind, ForwarderState, Happening,
};
use guideway_chassis::wall::Wall;
use guideway_config::Configuration;

use super::order::Order;
use super::sessions;
use crate::announce::{Change, Class, Classes, Decision, Handlings, Memory, Orders, Site};
use crate::{bird, check, forwarder, routes};

/// Why an order is refused that depends on the configuration.
const UNKNOWN: &str = "the controller does not know the forwarder's configuration yet, so that it cannot tell which \
                       addresses have services; is the forwarder running?";

/// A configuration that is in force on every worker.
#[derive(Clone, Debug)]
pub(super) struct Adopted {
    /// The number of the forwarder's process.
    pub(super) process: i32,
    pub(super) generation: u64,
    pub(super) configuration: Arc<Configuration>,
    /// What it says of announcements; none without `[announce]`.
    pub(super) site: Option<Arc<Site>>,
}

/// What readers are shown of an address.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) decision: Decision,
    pub(super) since: Wall,
    /// The metric that its route is to have.
    pub(super) metric: Option<u32>,
}

/// What BIRD has said.
#[derive(Clone, Debug, Default)]
pub(super) struct BirdSaid {
    /// The classes that it knows; none before it has a configuration.
    pub(super) classes: Option<BTreeSet<Class>>,
    pub(super) sessions: Arc<Vec<BgpPeer>>,
    /// Whether it answers; none if that is not known.
    pub(super) is_up: Option<bool>,
}

/// What is known.
#[derive(Debug)]
pub(super) struct State {
    pub(super) started: Instant,
    pub(super) orders: Orders,
    pub(super) memory: Memory,
    pub(super) classes: Classes,
    /// The classes of an earlier run were taken over.
    pub(super) has_classes: bool,
    /// The classes that BIRD is to know.
    pub(super) planned: BTreeMap<Class, Handlings>,
    /// The number of the forwarder's process; none if it does not answer.
    pub(super) process: Option<i32>,
    /// None before it was first asked.
    pub(super) forwarder: Option<ForwarderState>,
    pub(super) announcing: Option<Announcing>,
    /// What was last told of the forwarder's state.
    pub(super) told: ForwarderState,
    pub(super) told_since: Wall,
    pub(super) adopted: Option<Adopted>,
    /// The number of the process that said which services serve, and what it said.
    pub(super) serving: Option<(i32, Arc<BTreeMap<String, bool>>)>,
    /// Whether the kernel has the interface up; none if that is not known.
    pub(super) is_interface_up: Option<bool>,
    /// The routes that the kernel has.
    pub(super) installed: Arc<BTreeMap<IpAddr, u32>>,
    /// The routes that are wanted.
    pub(super) metrics: Arc<BTreeMap<IpAddr, u32>>,
    /// The addresses whose class BIRD does not know yet, or which got none.
    pub(super) waiting: Arc<BTreeSet<IpAddr>>,
    pub(super) listed: BTreeMap<IpAddr, Listed>,
    /// Addresses of services that had their quorum since the forwarder's start, and whether they have it.
    pub(super) quorums: BTreeMap<IpAddr, bool>,
    pub(super) bird: BirdSaid,
    /// The process of the forwarder that has what checks have found.
    pub(super) checked: Option<i32>,
    pub(super) restored: u64,
    /// The interface and the table of the last configuration that had them.
    pub(super) place: Option<(String, u32)>,
}

impl State {
    pub(super) fn new(orders: Orders, started: Instant, now: Wall) -> State {
        State {
            started,
            orders,
            memory: Memory::default(),
            classes: Classes::default(),
            has_classes: false,
            planned: BTreeMap::new(),
            process: None,
            forwarder: None,
            announcing: None,
            told: ForwarderState::Absent,
            told_since: now,
            adopted: None,
            serving: None,
            is_interface_up: None,
            installed: Arc::default(),
            metrics: Arc::default(),
            waiting: Arc::default(),
            listed: BTreeMap::new(),
            quorums: BTreeMap::new(),
            bird: BirdSaid::default(),
            checked: None,
            restored: 0,
            place: None,
        }
    }

    /// Takes note of what the forwarder says.
    pub(super) fn note_forwarder(&mut self, report: forwarder::Report) -> Vec<Happening> {
        match report {
            forwarder::Report::Pulse { process, state, announcing } => {
                if process.is_some() && process != self.process {
                    // Another process: nothing that the last one said holds.
                    self.process = process;
                    self.quorums.clear();
                    self.memory = Memory::default();
                }
                self.forwarder = Some(state);
                if process.is_some() {
                    self.announcing = announcing;
                }
                Vec::new()
            }
            forwarder::Report::InForce { process, generation, configuration } => {
                let site = Site::of(&configuration).map(Arc::new);
                self.adopted = Some(Adopted { process, generation, configuration, site });
                vec![Happening::ConfigAdopted { generation }]
            }
            forwarder::Report::Serving { process, services } => {
                self.serving = Some((process, services));
                Vec::new()
            }
        }
    }

    /// Whether the forwarder forwards, as far as it says: otherwise checks fail through no fault of the backends.
    pub(super) fn is_forwarding(&self) -> bool {
        let state = self.announcing.as_ref().map(|announcing| &announcing.state);
        match self.forwarder {
            Some(ForwarderState::Well) => true,
            Some(ForwarderState::Down) => matches!(
                state,
                // Without `[announce]`, or by an operator's hand.
                None | Some(AnnouncingState::Removed)
            ),
            Some(ForwarderState::Absent | ForwarderState::Silent | ForwarderState::Starting)
            | None => false,
        }
    }

    /// Takes note of what the kernel has.
    pub(super) fn note_routes(&mut self, report: routes::Report) -> Vec<Happening> {
        match report {
            routes::Report::Installed(metrics) => {
                self.installed = metrics;
                Vec::new()
            }
            routes::Report::Interface { is_up } => {
                self.is_interface_up = Some(is_up);
                Vec::new()
            }
            routes::Report::Restored { routes } => {
                self.restored += u64::try_from(routes).unwrap_or(u64::MAX);
                vec![Happening::RoutesRestored { routes }]
            }
            routes::Report::RuleRestored { ipv6 } => vec![Happening::RuleRestored { ipv6 }],
            // The checks hear of it, and say so.
            routes::Report::ProbesReady { .. } => Vec::new(),
            routes::Report::ProbesRestored { rules, routes } => self.path_of_probes(format!(
                "somebody else removed rules ({rules}) and routes ({routes}) of probes; they are put back"
            )),
            routes::Report::ProbesRefused { error } => self
                .path_of_probes(format!("the kernel refuses a rule or a route of probes: {error}")),
            routes::Report::Refused { routes, error } => {
                vec![Happening::RoutesRefused { routes, error }]
            }
        }
    }

    /// What has happened to the way of probes through tunnels.
    fn path_of_probes(&self, problem: String) -> Vec<Happening> {
        let probe = self.adopted.as_ref().map(|adopted| &adopted.configuration.probe);
        let interface = probe.map(|probe| probe.interface.clone()).unwrap_or_default();
        vec![Happening::CheckPath { interface, problem }]
    }

    /// Takes note of what checks say.
    pub(super) fn note_checks(&mut self, report: check::Report) -> Vec<Happening> {
        match report {
            check::Report::Ready { process } => {
                self.checked = Some(process);
                Vec::new()
            }
            check::Report::Happened(happened) => happened,
        }
    }

    /// Takes note of what BIRD says.
    pub(super) fn note_bird(&mut self, report: bird::Report) -> Vec<Happening> {
        match report {
            bird::Report::Configured { classes } => {
                let peers = self.adopted.as_ref().map_or(0, |it| it.configuration.bgp.peers.len());
                self.bird.classes = Some(classes);
                vec![Happening::BgpConfigured { peers }]
            }
            bird::Report::Refused { error } => vec![Happening::BgpRefused { error }],
            bird::Report::Lost { error } => {
                self.bird.is_up = Some(false);
                vec![Happening::BirdLost { error }]
            }
            bird::Report::Found { version } => {
                self.bird.is_up = Some(true);
                vec![Happening::BirdFound { version }]
            }
            bird::Report::Sessions(sessions) => {
                let happened = sessions::differences(&self.bird.sessions, &sessions);
                self.bird.sessions = sessions;
                happened
            }
        }
    }

    /// Orders something. Returns for how many addresses that changes anything.
    ///
    /// # Errors
    /// If a peer or an address cannot be meant.
    pub(super) fn order(&mut self, order: &Order, now: Wall) -> Result<usize, Error> {
        let site = self.adopted.as_ref().and_then(|adopted| adopted.site.clone());
        match order {
            Order::Vips { addresses, order, peers, next_hops, reason } => {
                // An order for an address of services is another than one for an address without.
                if self.adopted.is_none() {
                    return Err(Error::new(ErrorKind::Failed, UNKNOWN));
                }
                let reason = reason.as_deref();
                let change = Change { order: *order, peers, next_hops, reason };
                self.orders.order(site.as_deref(), addresses, &change, now)
            }
            Order::Node { order, peers, reason } => {
                let (site, reason) = (site.as_deref(), reason.as_deref());
                self.orders.order_node(site, *order, peers, reason, now).map(usize::from)
            }
        }
    }
}
