//! The settings of both ends.

use std::collections::BTreeMap;
use std::time::Duration;

use guideway_config::BgpPeer;
use guideway_controller::announce::{Class, Handlings};

/// The node's addresses.
pub(crate) const NODE4: &str = "10.9.1.1";
pub(crate) const NODE6: &str = "fd09:1::1";
/// The router's.
pub(crate) const ROUTER4: &str = "10.9.1.254";
pub(crate) const ROUTER6: &str = "fd09:1::fe";

/// What the router's configuration begins with.
pub(crate) const ROUTER_HEAD: &str = "
log stderr { warning, error, auth, fatal, bug };
router id 10.9.1.254;
protocol device { scan time 10; }
ipv4 table learnt4;
ipv6 table learnt6;
protocol bfd { interface \"*\" { interval 100 ms; multiplier 3; }; multihop { interval 100 ms; multiplier 3; }; }
template bgp node {
  hold time 9;
  connect delay time 1; connect retry time 1; error wait time 1, 2; error forget time 2;
  graceful restart off;
}
";

/// A session of the router with the node: its name, its own items, and its IPv4 and IPv6 channels.
pub(crate) fn router_session(name: &str, items: &str) -> String {
    format!(
        "protocol bgp {name} from node {{ {items} \
         ipv4 {{ table learnt4; import all; export none; }}; \
         ipv6 {{ table learnt6; import all; export none; }}; }}\n"
    )
}

/// The router's side of a session over IPv4 with everything by default.
pub(crate) fn router_v4(name: &str) -> String {
    router_session(
        name,
        &format!("local {ROUTER4} as 65000; neighbor {NODE4} as 65001; ttl security on; bfd on;"),
    )
}

/// A peer over IPv4, the router, with the defaults of the configuration.
pub(crate) fn peer(name: &str) -> BgpPeer {
    BgpPeer {
        name: name.to_owned(),
        address: ROUTER4.parse().unwrap(),
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

/// Classes of handlings.
pub(crate) fn classes(of: Vec<(u16, Handlings)>) -> BTreeMap<Class, Handlings> {
    of.into_iter().map(|(number, handlings)| (Class(number), handlings)).collect()
}
