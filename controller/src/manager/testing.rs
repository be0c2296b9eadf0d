//! A view for tests of what readers see.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use guideway_api::{BgpMode, BgpPeer, BgpState, ForwarderState, Vip, VipCause, VipState};
use guideway_chassis::wall::Wall;

use super::View;

/// A configuration with two peers, one of which has both families.
pub(crate) const CONFIGURATION: &str = r#"
[dpdk]
workers = [1]
hugepages = false
[hash]
key = "000102030405060708090a0b0c0d0e0f"
[node]
name = "lb1"
tunnel_source = ["192.0.2.1"]
[[port]]
name = "edge0"
device = "net_null0"
addresses = ["192.0.2.1/24"]
[announce]
bgp = "managed"
[bgp]
local_as = 65001
allowed = ["203.0.113.0/24"]
[[bgp.peer]]
name = "tor1"
address = "192.0.2.254"
as = 65000
[[bgp.peer]]
name = "tor2"
address = "192.0.2.253"
as = 65000
"#;

/// Three addresses: announced, draining and not installed yet, and kept without quorum. Of two peers BIRD knows one.
pub(crate) fn view() -> View {
    let vip = |last: u8, state, cause, installed| Vip {
        address: IpAddr::from([203, 0, 113, last]),
        services: vec!["web".to_owned()],
        registered: false,
        state,
        since: "2026-01-01T00:00:00.000Z".to_owned(),
        cause,
        reason: None,
        installed,
        metric: Some(if state == VipState::Draining { 2000 } else { 1000 }),
        peers: Vec::new(),
    };
    let services = vec!["web".to_owned()];
    let configuration = guideway_config::parse(CONFIGURATION).map(|it| it.configuration);
    View {
        node: "lb1".to_owned(),
        started: Instant::now(),
        forwarder: ForwarderState::Well,
        forwarder_since: Wall(0),
        generation: 7,
        bgp: Some(BgpMode::Managed),
        configuration: Some(Arc::new(configuration.unwrap())),
        vips: vec![
            vip(10, VipState::Announced, VipCause::Serving, true),
            vip(11, VipState::Draining, VipCause::Drains, false),
            vip(12, VipState::Announced, VipCause::KeptWithoutQuorum { services }, true),
        ],
        drains: Vec::new(),
        sessions: Arc::new(vec![BgpPeer {
            name: "tor1".to_owned(),
            address: [192, 0, 2, 254].into(),
            remote_as: 65000,
            local_as: 65001,
            state: BgpState::Established,
            since: "2026-01-01T00:00:00.000Z".to_owned(),
            error: None,
            routes: 2,
            bfd_up: Some(true),
            notes: Vec::new(),
        }]),
        is_bird_up: Some(true),
        restored: 3,
        installed: Arc::default(),
        waiting: Arc::new(BTreeSet::new()),
    }
}
