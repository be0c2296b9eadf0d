//! A backend: how packets reach it, and which flows it accepts.

use guideway_api::BackendState;
use guideway_config::{self as config, Configuration, Encapsulation, MssClamp, Pool};
use guideway_core::balancer::backend::{Backend, Leaving, MssLimit, Route, Serving};
use guideway_core::balancer::encapsulation::{Choice, Constraints, Template, Tunnel};
use guideway_core::balancer::id::{BackendId, PoolIndex, PortIndex};
use guideway_core::balancer::mtu::mss_for;
use guideway_core::wire::Family;

use super::source;
use crate::routing::{NextHop, Unreachable};
use crate::state::standing::{BackendStanding, PoolServing};
use crate::state::{State, Wanted};

/// A backend as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledBackend {
    /// Its id in the pool that has it.
    pub id: BackendId,
    /// Its state, share and weight.
    pub standing: BackendStanding,
    /// The next hop of its packets, or why there is none.
    pub next_hop: Result<NextHop, Unreachable>,
    /// The encapsulation of its packets; `None` without a next hop, or if no listed one can be used.
    pub encapsulation: Option<Choice>,
    /// Its slots in the table of the pool that has it.
    pub slots: usize,
}

impl CompiledBackend {
    /// Which flows it accepts, and why.
    pub fn state(&self) -> BackendState {
        match (self.standing.state, &self.next_hop) {
            (Wanted::Disabled, _) => BackendState::Disabled,
            (Wanted::Down, _) => BackendState::Down,
            (_, Err(_)) => BackendState::Unreachable,
            (_, Ok(NextHop { mac: None, .. })) => BackendState::Unresolved,
            (Wanted::Draining, Ok(_)) => BackendState::Draining,
            (Wanted::Active, Ok(_)) => BackendState::Active,
        }
    }
}

/// How packets reach a backend.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub(super) route: Option<Route>,
    mss: MssLimit,
}

impl Reach {
    pub(super) fn of(backend: &Backend) -> Reach {
        Reach { route: backend.route.clone(), mss: backend.mss }
    }

    /// The backend as packets of a pool see it.
    pub(super) fn record(
        self,
        pool: PoolIndex,
        serving: Serving,
        standing: &BackendStanding,
        since: u32,
    ) -> Backend {
        let leaving = match serving {
            Serving::Existing => standing.leaving,
            Serving::All | Serving::Nothing => Leaving::NONE,
        };
        let weight = standing.weight.saturating_mul(standing.share);
        Backend { pool, serving, leaving, weight, route: self.route, mss: self.mss, since }
    }
}

/// Which flows of a pool a backend accepts that the pool has at this level.
pub(super) fn serving(pool: PoolServing, level: usize, backend: &BackendStanding) -> Serving {
    let takes_new = match backend.state {
        Wanted::Disabled => return Serving::Nothing,
        Wanted::Active => pool == PoolServing::Level(level),
        Wanted::Down => pool == PoolServing::Down && level == 0,
        Wanted::Draining => false,
    };
    match takes_new && backend.weight > 0 {
        true => Serving::All,
        false => Serving::Existing,
    }
}

/// How packets reach a backend, and the backend as listings see it, without its slots.
pub(super) fn compile(
    state: &State,
    pool: &Pool,
    (backend, id): (&config::Backend, BackendId),
    standing: &BackendStanding,
) -> (Reach, CompiledBackend) {
    let configuration = &*state.intent.configuration;
    let next_hop = state.observation.routing.way(backend.address);
    let hop = next_hop.as_ref().ok();
    let encapsulation = hop.and_then(|hop| choose(configuration, hop, backend));
    let route = match (hop, encapsulation) {
        (Some(hop), Some(choice)) => route(state, hop, backend, choice.encapsulation),
        _ => None,
    };
    let mss = mss_limit(configuration, pool, hop, route.as_ref());
    let compiled =
        CompiledBackend { id, standing: standing.clone(), next_hop, encapsulation, slots: 0 };
    (Reach { route, mss }, compiled)
}

fn route(
    state: &State,
    hop: &NextHop,
    backend: &config::Backend,
    encapsulation: Encapsulation,
) -> Option<Route> {
    let configuration = &*state.intent.configuration;
    let tunnel = Tunnel {
        source_mac: source::mac(state, hop.port),
        destination_mac: hop.mac?,
        // Packets that are sent without a tunnel need no source.
        source: source::address(configuration, backend.address).unwrap_or(backend.address),
        destination: backend.address,
    };
    let mtu = configuration.ports[hop.port].mtu;
    Some(Route {
        port: PortIndex(u16::try_from(hop.port).ok()?),
        template: Template::with(encapsulation, &backend.parameters, &tunnel, mtu)?
            .with_source_prefix(source::prefix_length(configuration))
            .with_vlan(hop.vlan),
    })
}

/// The encapsulation of packets to a backend, and why.
fn choose(
    configuration: &Configuration,
    hop: &NextHop,
    backend: &config::Backend,
) -> Option<Choice> {
    let is_v6 = backend.address.is_ipv6();
    Encapsulation::choose(
        &backend.encapsulations,
        &Constraints {
            is_v6,
            on_link: hop.address == backend.address,
            has_source: source::address(configuration, backend.address).is_some(),
            source_is_prefix: !is_v6 && source::prefix_length(configuration) < 32,
            parameters: &backend.parameters,
        },
    )
}

/// The limit on the segment size of a backend's connections.
fn mss_limit(
    configuration: &Configuration,
    pool: &Pool,
    hop: Option<&NextHop>,
    route: Option<&Route>,
) -> MssLimit {
    match (pool.mss_clamp, hop, route) {
        (None, _, _) => MssLimit::NONE,
        (Some(MssClamp::To(mss)), _, _) => MssLimit { v4: mss, v6: mss },
        (Some(MssClamp::Auto), Some(hop), Some(route)) => {
            let mtu = configuration.ports[hop.port].mtu;
            let of = |family| mss_for(mtu, route.template.overhead(), family);
            MssLimit { v4: of(Family::V4), v6: of(Family::V6) }
        }
        // Without a route no packet is sent to the backend.
        (Some(MssClamp::Auto), _, _) => MssLimit::NONE,
    }
}
