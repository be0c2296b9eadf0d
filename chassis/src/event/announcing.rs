//! Sentences of events about virtual addresses and their announcement.

use guideway_api::Happening;

/// The sentence of an event about announcements; none of another.
pub(super) fn sentence(happening: &Happening) -> Option<String> {
    Some(match happening {
        Happening::AnnouncingBegan { interface } => {
            format!("interface {interface} is up: virtual addresses can be announced")
        }
        Happening::AnnouncingEnded { interface, state } => {
            format!("interface {interface} withdraws all virtual addresses: {state}")
        }
        Happening::ForwarderState { from, to } => {
            format!("the forwarder is {}, was {}", to.name(), from.name())
        }
        Happening::ConfigAdopted { generation } => {
            format!("generation {generation} is in force on every worker, and here")
        }
        Happening::VipState { address, from, to, cause, reason } => {
            let words = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let (from, to) = (from.name(), to.name());
            format!("virtual address {address} is {to}, was {from}: {cause}{words}")
        }
        Happening::VipStates { vips } => {
            let noun = if *vips == 1 { "address is" } else { "addresses are" };
            format!("{vips} more virtual {noun} announced in another way")
        }
        Happening::QuorumLost { address, services, kept } => {
            let then = if *kept { "is kept" } else { "is to be withdrawn" };
            format!(
                "virtual address {address} {then}, though these services do not serve: {}",
                services.join(", ")
            )
        }
        Happening::QuorumRegained { address } => {
            format!("virtual address {address}: enough of its services serve again")
        }
        Happening::RoutesRestored { routes } => {
            let noun = if *routes == 1 { "route" } else { "routes" };
            format!("somebody else removed {routes} {noun} of virtual addresses; put back")
        }
        Happening::RuleRestored { ipv6 } => {
            let family = if *ipv6 { "IPv6" } else { "IPv4" };
            format!("somebody removed the {family} rule that looks up the table main; put back")
        }
        Happening::RoutesRefused { routes, error } => {
            let noun = if *routes == 1 { "route" } else { "routes" };
            format!("the kernel refuses {routes} {noun} of virtual addresses: {error}")
        }
        Happening::BgpEstablished { peer } => format!("BGP peer {peer}: established"),
        Happening::BgpLost { peer, error } => {
            let error = error.as_deref().unwrap_or("BIRD does not say why");
            format!("BGP peer {peer}: not established any more: {error}")
        }
        Happening::BgpConfigured { peers } => {
            let noun = if *peers == 1 { "peer" } else { "peers" };
            format!("BIRD runs by a new configuration, with {peers} {noun}")
        }
        Happening::BgpRefused { error } => {
            format!("BIRD refuses the new configuration and goes on by the last one: {error}")
        }
        Happening::BirdLost { error } => format!("BIRD does not answer: {error}"),
        Happening::BirdFound { version } => format!("BIRD {version} answers"),
        _ => return None,
    })
}
