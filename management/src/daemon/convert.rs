//! The core's values as the protocol has them, and back.
//!
//! The protocol's crate uses nothing of ours, so each enum that both have is matched here once for each
//! direction. A variant that one side lacks does not compile.

use guideway_api as api;

use crate::kernel::{NeighborState, format_mac};
use crate::routing::{NextHop, Refusal, Unreachable};
use crate::state::{Layer, Set, Setting, Wanted};
use guideway_chassis::wall::Wall;
use guideway_config::{self as config, Configuration};
use guideway_core::balancer::Protocol;
use guideway_core::balancer::conntrack::State;
use guideway_core::balancer::encapsulation::{Choice, Encapsulation, Entropy, Unsendable};

pub(super) fn to_protocol(protocol: Protocol) -> api::Protocol {
    match protocol {
        Protocol::Tcp => api::Protocol::Tcp,
        Protocol::Udp => api::Protocol::Udp,
    }
}

pub(super) fn from_protocol(protocol: api::Protocol) -> Protocol {
    match protocol {
        api::Protocol::Tcp => Protocol::Tcp,
        api::Protocol::Udp => Protocol::Udp,
    }
}

pub(super) fn to_flow_state(state: State) -> api::FlowState {
    match state {
        State::Syn => api::FlowState::Syn,
        State::Established => api::FlowState::Established,
        State::Closing => api::FlowState::Closing,
        State::Udp => api::FlowState::Udp,
        State::Unconfirmed => api::FlowState::Unconfirmed,
        State::HalfClosed => api::FlowState::HalfClosed,
        State::Reset => api::FlowState::Reset,
    }
}

pub(super) fn from_flow_state(state: api::FlowState) -> State {
    match state {
        api::FlowState::Syn => State::Syn,
        api::FlowState::Established => State::Established,
        api::FlowState::Closing => State::Closing,
        api::FlowState::Udp => State::Udp,
        api::FlowState::Unconfirmed => State::Unconfirmed,
        api::FlowState::HalfClosed => State::HalfClosed,
        api::FlowState::Reset => State::Reset,
    }
}

pub(super) fn to_state(state: Wanted) -> api::BackendState {
    match state {
        Wanted::Active => api::BackendState::Active,
        Wanted::Draining => api::BackendState::Draining,
        Wanted::Disabled => api::BackendState::Disabled,
        Wanted::Down => api::BackendState::Down,
    }
}

/// What is set for a backend, the one of the most weight last.
pub(super) fn to_settings(setting: &Setting) -> Vec<api::BackendSetting> {
    let layers = [
        (api::Source::Controller, &setting.controller),
        (api::Source::Operator, &setting.operator),
    ];
    let of_layer = |(source, layer): (api::Source, &Layer)| {
        let state = layer
            .state
            .as_ref()
            .map(|set| api::BackendSetting { state: Some(set.value), ..to_setting(source, set) });
        let weight = layer
            .weight
            .as_ref()
            .map(|set| api::BackendSetting { weight: Some(set.value), ..to_setting(source, set) });
        [state, weight].into_iter().flatten()
    };
    layers.into_iter().flat_map(of_layer).collect()
}

/// A setting without its value.
fn to_setting<T>(source: api::Source, set: &Set<T>) -> api::BackendSetting {
    api::BackendSetting {
        source,
        state: None,
        weight: None,
        reason: set.reason.as_deref().map(str::to_owned),
        since: set.at.rfc3339(),
        until: set.until.map(Wall::rfc3339),
    }
}

pub(super) fn to_next_hop(
    hop: &Result<NextHop, Unreachable>,
    configuration: &Configuration,
) -> api::NextHop {
    let name = |port: usize| configuration.ports[port].name.clone();
    match hop {
        &Ok(NextHop { port, vlan, address, mac: Some(mac) }) => {
            api::NextHop::Resolved { port: name(port), vlan, address, mac: format_mac(mac) }
        }
        &Ok(NextHop { port, vlan, address, mac: None }) => {
            api::NextHop::NoMac { port: name(port), vlan, address }
        }
        Err(reason) => api::NextHop::Unreachable(match reason {
            Unreachable::NoRoute => api::Unreachable::NoRoute,
            Unreachable::NotAPort { interface } => {
                api::Unreachable::NotAPort { interface: interface.as_ref().to_owned() }
            }
            &Unreachable::LinkDown { port } => api::Unreachable::LinkDown { port: name(port) },
            Unreachable::Refused(refusal) => api::Unreachable::Refused {
                kind: match refusal {
                    Refusal::Blackhole => api::Refusal::Blackhole,
                    Refusal::Unreachable => api::Refusal::Unreachable,
                    Refusal::Prohibit => api::Refusal::Prohibit,
                },
            },
            Unreachable::Own => api::Unreachable::Own,
        }),
    }
}

pub(super) fn to_neighbor_state(state: NeighborState) -> api::NeighborState {
    match state {
        NeighborState::Missing => api::NeighborState::None,
        NeighborState::Incomplete => api::NeighborState::Incomplete,
        NeighborState::Reachable => api::NeighborState::Reachable,
        NeighborState::Stale => api::NeighborState::Stale,
        NeighborState::Delay => api::NeighborState::Delay,
        NeighborState::Probe => api::NeighborState::Probe,
        NeighborState::Failed => api::NeighborState::Failed,
        NeighborState::NoArp => api::NeighborState::NoArp,
        NeighborState::Permanent => api::NeighborState::Permanent,
    }
}

/// Why an encapsulation was chosen, out of those that are listed.
pub(super) fn to_choice(choice: &Choice, listed: &[Encapsulation]) -> api::EncapsulationChoice {
    api::EncapsulationChoice {
        listed: listed.iter().map(|encapsulation| encapsulation.name().to_owned()).collect(),
        flows_differ_in: match choice.entropy {
            Entropy::UdpPort => api::FlowField::UdpSourcePort,
            Entropy::Own => api::FlowField::Own,
            Entropy::FlowLabel => api::FlowField::FlowLabel,
            Entropy::SourceAddress => api::FlowField::SourceAddress,
            Entropy::GreKey => api::FlowField::GreKey,
            Entropy::Nothing => api::FlowField::Nothing,
        },
        left_out: choice
            .left_out(listed)
            .map(|(encapsulation, reason)| api::LeftOut {
                encapsulation: encapsulation.name().to_owned(),
                reason: match reason {
                    Unsendable::NotOnLink => api::Unsendable::NotOnLink,
                    Unsendable::NoSource => api::Unsendable::NoSource,
                },
            })
            .collect(),
    }
}

pub(super) fn to_level(level: config::LogLevel) -> api::LogLevel {
    match level {
        config::LogLevel::Off => api::LogLevel::Off,
        config::LogLevel::Error => api::LogLevel::Error,
        config::LogLevel::Warn => api::LogLevel::Warn,
        config::LogLevel::Info => api::LogLevel::Info,
        config::LogLevel::Debug => api::LogLevel::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_agree() {
        for &(name, protocol) in Protocol::NAMES {
            assert_eq!(from_protocol(to_protocol(protocol)), protocol);
            assert_eq!(to_protocol(protocol).name(), name, "a configuration and a listing agree");
        }
        for state in State::ALL {
            assert_eq!(from_flow_state(to_flow_state(state)), state);
        }
    }
}
