//! Services, the virtual addresses, and the timeouts of flows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use guideway_config::{Configuration, FragmentPolicy, Timeouts};
use guideway_core::balancer::conntrack::{self, State};
use guideway_core::balancer::id::PoolIndex;
use guideway_core::balancer::services::{Service, ServiceAddress, Vip};

use crate::ids::Ids;
use crate::state::standing::Plan;

/// The services.
pub(super) fn compile(
    configuration: &Configuration,
    ids: &Ids,
    plan: &Plan,
) -> Vec<(ServiceAddress, Service)> {
    let services = configuration.services.iter().zip(&ids.services);
    let services = services.enumerate().map(|(n, (service, &id))| {
        #[expect(clippy::cast_possible_truncation, reason = "at most 65535 pools")]
        let pool = PoolIndex(service.pool as u16);
        let fragments = service.fragments == FragmentPolicy::Follow;
        let policy = plan.policy_of(n);
        (service.service_address(), Service { id, pool, policy, fragments })
    });
    services.collect()
}

/// The options of each virtual address. If its services differ, one with `echo = false` turns echo
/// replies off, and one with `unreachable = true` turns port-unreachable errors on.
pub(super) fn vips(configuration: &Configuration) -> Vec<(IpAddr, Vip)> {
    let mut vips: HashMap<IpAddr, Vip> = HashMap::new();
    for service in &configuration.services {
        let vip = vips.entry(service.address).or_insert(Vip { echo: true, unreachable: false });
        vip.echo &= service.echo;
        vip.unreachable |= service.unreachable;
    }
    vips.into_iter().collect()
}

/// The idle timeouts in milliseconds.
pub(super) fn timeouts(timeouts: &Timeouts) -> conntrack::Timeouts {
    let ms = |d: Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX / 2);
    let idle = State::ALL.map(|state| {
        ms(match state {
            State::Syn => timeouts.syn,
            State::Established => timeouts.established,
            // A forged FIN or RST does not give a longer life to a flow.
            State::Closing | State::Reset => timeouts.closing.min(timeouts.established),
            State::Udp => timeouts.udp,
            State::Unconfirmed => timeouts.unconfirmed,
            State::HalfClosed => timeouts.half_closed,
        })
    });
    conntrack::Timeouts { idle, reuse: ms(timeouts.reuse) }
}
