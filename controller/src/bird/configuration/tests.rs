use std::time::Duration;

use guideway_config::{Bgp, BgpPeer, Community, Family};

use super::*;

/// A peer with the defaults of the configuration.
pub(in crate::bird) fn peer(name: &str) -> BgpPeer {
    BgpPeer {
        name: name.to_owned(),
        address: "192.0.2.254".parse().unwrap(),
        remote_as: 65000,
        local_as: None,
        source: None,
        password_file: None,
        ttl_hops: 1,
        ttl_security: true,
        hold_time: Duration::from_secs(9),
        keepalive: None,
        bfd: true,
        bfd_interval: Duration::from_millis(100),
        bfd_multiplier: 3,
        families: vec![],
        next_hops: vec![],
        communities: vec![],
        med: 0,
        prepend: 0,
    }
}
