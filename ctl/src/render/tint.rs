//! The tint of each state. What keeps packets from their way is bad; what may, or is about to, is doubtful.

use guideway_api::{
    Backend, BackendState, BgpPeer, BgpState, CheckRow, CheckState, ForwarderState, InterfaceState,
    Link, NeighborState, PortInterfaceState, Severity, VipState,
};

use crate::terminal::Tint;

pub(super) fn backend(backend: &Backend) -> Tint {
    match backend.state {
        BackendState::Active if backend.weight > 0 => Tint::Good,
        // As somebody wants it.
        BackendState::Active | BackendState::Draining | BackendState::Disabled => Tint::Doubtful,
        BackendState::Down | BackendState::Unresolved | BackendState::Unreachable => Tint::Bad,
    }
}

pub(super) fn link(link: &Link) -> Tint {
    let is_behind = link.interface.as_ref().is_none_or(|it| it.state == InterfaceState::Up);
    if link.up && is_behind { Tint::Good } else { Tint::Bad }
}

pub(super) fn interface(state: PortInterfaceState) -> Tint {
    match state {
        PortInterfaceState::None => Tint::Plain,
        PortInterfaceState::Up => Tint::Good,
        PortInterfaceState::SetDown => Tint::Doubtful,
        PortInterfaceState::NoCarrier | PortInterfaceState::Missing => Tint::Bad,
    }
}

/// The tint of a VLAN device.
pub(super) fn device(is_up: bool) -> Tint {
    if is_up { Tint::Good } else { Tint::Doubtful }
}

pub(super) fn neighbor(state: NeighborState) -> Tint {
    match state {
        NeighborState::Static
        | NeighborState::Reachable
        | NeighborState::Permanent
        | NeighborState::NoArp => Tint::Good,
        NeighborState::Stale
        | NeighborState::Delay
        | NeighborState::Probe
        | NeighborState::Incomplete => Tint::Doubtful,
        NeighborState::Failed | NeighborState::None => Tint::Bad,
    }
}

pub(super) fn vip(state: VipState) -> Tint {
    match state {
        VipState::Announced => Tint::Good,
        VipState::Draining => Tint::Doubtful,
        VipState::Withdrawn => Tint::Bad,
    }
}

/// The tint of an address's route in the kernel.
pub(super) fn route(is_as_wanted: bool) -> Tint {
    if is_as_wanted { Tint::Plain } else { Tint::Doubtful }
}

pub(super) fn serves(serves: bool) -> Tint {
    if serves { Tint::Good } else { Tint::Bad }
}

pub(super) fn forwarder(state: ForwarderState) -> Tint {
    match state {
        ForwarderState::Well => Tint::Good,
        ForwarderState::Starting => Tint::Doubtful,
        ForwarderState::Absent | ForwarderState::Silent | ForwarderState::Down => Tint::Bad,
    }
}

/// The tint of a drain of the node, which somebody wants.
pub(super) fn drain() -> Tint {
    Tint::Doubtful
}

/// The tint of states that do not follow the results of checks.
pub(super) fn frozen() -> Tint {
    Tint::Bad
}

pub(super) fn is_established(peer: &BgpPeer) -> bool {
    peer.state == BgpState::Established
}

/// The tint of a session's state. One that is established and kept from sending addresses is doubtful.
pub(super) fn session(peer: &BgpPeer) -> Tint {
    match (is_established(peer), peer.notes.is_empty()) {
        (true, true) => Tint::Good,
        (true, false) => Tint::Doubtful,
        (false, _) => Tint::Bad,
    }
}

pub(super) fn bfd(peer: &BgpPeer) -> Tint {
    match peer.bfd_up {
        None => Tint::Plain,
        Some(true) => Tint::Good,
        Some(false) => Tint::Bad,
    }
}

/// The tint of what a check makes of a backend. One that its pool keeps gets flows.
pub(super) fn check(row: &CheckRow) -> Tint {
    match row.state {
        CheckState::Up => Tint::Good,
        CheckState::Unknown | CheckState::Draining => Tint::Doubtful,
        CheckState::Down if row.kept => Tint::Doubtful,
        CheckState::Down => Tint::Bad,
    }
}

/// The tint of a probe's result.
pub(super) fn result(is_success: bool) -> Tint {
    if is_success { Tint::Good } else { Tint::Bad }
}

pub(super) fn severity(severity: Severity) -> Tint {
    match severity {
        Severity::Error => Tint::Bad,
        Severity::Warning => Tint::Doubtful,
        Severity::Info => Tint::Good,
    }
}

#[cfg(test)]
mod tests {
    use guideway_api::Interface;

    use super::*;

    #[test]
    fn a_link_is_good_if_its_interface_is() {
        let up = Link { up: true, ..Link::default() };
        assert_eq!(link(&up), Tint::Good);
        assert_eq!(link(&Link::default()), Tint::Bad);
        for (state, expected) in [
            (InterfaceState::Up, Tint::Good),
            (InterfaceState::SetDown, Tint::Bad),
            (InterfaceState::NoCarrier, Tint::Bad),
            (InterfaceState::NotOperational, Tint::Bad),
            (InterfaceState::Removed, Tint::Bad),
        ] {
            let interface = Some(Interface { name: None, state });
            assert_eq!(link(&Link { interface, ..up.clone() }), expected);
        }
    }
}
