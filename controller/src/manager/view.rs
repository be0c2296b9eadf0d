//! What readers see.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{BgpMode, BgpPeer, ForwarderState, Node, NodeDrain, Vip, VipPeer, VipState};
use guideway_chassis::wall::Wall;
use guideway_config as config;

use super::state::{Listed, State};

/// What was decided last, and what is known.
#[derive(Clone, Debug)]
pub struct View {
    /// The node's name; empty before a configuration.
    pub node: String,
    /// When the controller started.
    pub started: Instant,
    /// The forwarder.
    pub forwarder: ForwarderState,
    /// Since when.
    pub forwarder_since: Wall,
    /// The generation that decisions go by; 0 without one.
    pub generation: u64,
    /// What announces; none without `[announce]`.
    pub bgp: Option<BgpMode>,
    /// The prefixes of `bgp.allowed`, and the peers' names.
    pub configuration: Option<Arc<config::Configuration>>,
    /// The addresses, in their order.
    pub vips: Vec<Vip>,
    /// The drains of the node.
    pub drains: Vec<NodeDrain>,
    /// The BGP sessions of the managed BIRD.
    pub sessions: Arc<Vec<BgpPeer>>,
    /// Whether BIRD answers; none if that is not known, or not asked.
    pub is_bird_up: Option<bool>,
    /// Routes that somebody else removed and that were put back.
    pub restored: u64,
    /// The routes that the kernel has, with their metrics.
    pub installed: Arc<BTreeMap<IpAddr, u32>>,
    /// The addresses that stay as they are until BIRD knows their class.
    pub waiting: Arc<BTreeSet<IpAddr>>,
}

impl View {
    pub(super) fn of(state: &State) -> View {
        let adopted = state.adopted.as_ref();
        let configuration = adopted.map(|adopted| &adopted.configuration);
        let site = adopted.and_then(|adopted| adopted.site.as_ref());
        let services = |address| {
            site.and_then(|site| site.vips.get(&address)).map_or(&[][..], |vip| &vip.services)
        };
        let vips = state.listed.values();
        View {
            node: configuration.map(|it| it.node.name.clone()).unwrap_or_default(),
            started: state.started,
            forwarder: state.told,
            forwarder_since: state.told_since,
            generation: adopted.map_or(0, |adopted| adopted.generation),
            bgp: configuration.and_then(|it| it.announce.as_ref()).map(|it| mode(it.bgp)),
            configuration: configuration.cloned(),
            vips: vips
                .map(|listed| vip(listed, services(listed.decision.address), state))
                .collect(),
            drains: drains(state),
            sessions: Arc::clone(&state.bird.sessions),
            is_bird_up: state.bird.is_up,
            restored: state.restored,
            installed: Arc::clone(&state.installed),
            waiting: Arc::clone(&state.waiting),
        }
    }

    /// The time now, as listings have it.
    pub fn now(&self) -> String {
        Wall::now().rfc3339()
    }

    /// Addresses in this state.
    pub fn count(&self, state: VipState) -> usize {
        self.vips.iter().filter(|vip| vip.state == state).count()
    }

    /// The response to `node_show`.
    pub fn to_node(&self) -> Node {
        Node {
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            forwarder: self.forwarder,
            forwarder_since: self.forwarder_since.rfc3339(),
            generation: self.generation,
            bgp: self.bgp,
            drains: self.drains.clone(),
            announced: self.count(VipState::Announced),
            draining: self.count(VipState::Draining),
            withdrawn: self.count(VipState::Withdrawn),
            restored_routes: self.restored,
            checks: None,
        }
    }

    /// An address.
    pub fn vip(&self, address: IpAddr) -> Option<&Vip> {
        let found = self.vips.binary_search_by_key(&address, |vip| vip.address).ok()?;
        self.vips.get(found)
    }

    /// Whether the kernel has the route of this address as it is wanted.
    pub fn is_installed(&self, address: IpAddr) -> bool {
        match self.vip(address) {
            Some(vip) => vip.installed,
            None => !self.installed.contains_key(&address),
        }
    }
}

fn vip(listed: &Listed, services: &[String], state: &State) -> Vip {
    let Listed { decision, since, metric } = listed;
    let peer = |(name, handling): (&String, &crate::announce::Handling)| VipPeer {
        peer: name.clone(),
        state: handling.state,
        next_hop: handling.next_hop,
    };
    let orders = state.orders.vips.get(&decision.address);
    Vip {
        address: decision.address,
        services: services.to_vec(),
        registered: orders.is_some_and(|orders| orders.registered.is_some()),
        state: decision.state,
        since: since.rfc3339(),
        cause: decision.cause.clone(),
        reason: decision.reason.clone(),
        installed: state.installed.get(&decision.address) == metric.as_ref(),
        metric: *metric,
        peers: decision.peers.iter().map(peer).collect(),
    }
}

fn drains(state: &State) -> Vec<NodeDrain> {
    let marks = &state.orders.node;
    let all = marks.all.iter().map(|mark| (None, mark));
    let peers = marks.peers.iter().map(|(peer, mark)| (Some(peer.clone()), mark));
    let drain = |(peer, mark): (Option<String>, &crate::announce::Mark)| NodeDrain {
        peer,
        since: Wall(mark.since).rfc3339(),
        reason: mark.reason.clone(),
    };
    all.chain(peers).map(drain).collect()
}

fn mode(mode: config::BgpMode) -> BgpMode {
    match mode {
        config::BgpMode::None => BgpMode::None,
        config::BgpMode::Managed => BgpMode::Managed,
        config::BgpMode::External => BgpMode::External,
    }
}
