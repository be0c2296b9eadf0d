//! Small configurations, as tests write and edit them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use guideway_config::{Check, CheckKind, InitialState};

use crate::check::*;

/// The virtual address of all services.
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// A check with rise 2, fall 3 and the default times.
pub(super) fn check(name: &str) -> Check {
    let interval = Duration::from_secs(2);
    Check {
        name: name.to_owned(),
        kind: CheckKind::Ping,
        via: None,
        address: None,
        port: None,
        size: None,
        interval,
        fast_interval: interval,
        down_interval: interval,
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        jitter: 10,
        spread: interval,
        initial_state: InitialState::Unknown,
        log_failures: false,
    }
}

pub(super) fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

pub(super) fn member(pool: &str, backend: &str) -> Member {
    Member { pool: pool.into(), backend: backend.into() }
}

#[derive(Clone, Debug, Default)]
pub(super) struct SitePool {
    pub(super) threshold: u8,
    /// None for direct checks.
    pub(super) tunnel: Option<&'static str>,
    /// The last bytes of addresses, by names.
    pub(super) backends: BTreeMap<String, u8>,
    /// Names of checks, and ports.
    pub(super) uses: BTreeSet<(String, u16)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub(super) checks: BTreeMap<String, Check>,
    pub(super) pools: BTreeMap<String, SitePool>,
}

impl Site {
    /// One check, `web`, and one pool, `p`, with so many backends `b1`, `b2` ... at 10.0.0.1, 10.0.0.2 ...
    pub(super) fn of(backends: u8, threshold: u8) -> Site {
        let mut site = Site::default();
        site.checks.insert("web".to_owned(), check("web"));
        let backends = (1..=backends).map(|n| (format!("b{n}"), n)).collect();
        let uses = [("web".to_owned(), 80)].into();
        site.pools.insert("p".to_owned(), SitePool { threshold, tunnel: None, backends, uses });
        site
    }

    pub(super) fn key(&self, pool: &str, check: &str, port: u16, last: u8) -> TargetKey {
        let (to, path) = match self.pools[pool].tunnel {
            None => (address(last), Path::Direct),
            Some(tunnel) => (VIP, Path::Tunnel(tunnel.into())),
        };
        let to = To::Port(SocketAddr::new(to, port));
        TargetKey { check: check.into(), address: address(last), to, path }
    }

    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let checks: BTreeMap<_, _> =
            self.checks.iter().map(|(name, check)| (name, Arc::new(check.clone()))).collect();
        for (name, pool) in &self.pools {
            let uses: Vec<_> = pool
                .uses
                .iter()
                .filter_map(|(check, port)| Some((checks.get(check)?, *port)))
                .collect();
            if uses.is_empty() || pool.backends.is_empty() {
                continue;
            }
            let backends: Vec<Arc<str>> =
                pool.backends.keys().map(|name| (&**name).into()).collect();
            plan.pools
                .insert((&**name).into(), PoolPlan { backends, panic_threshold: pool.threshold });
            for (check, port) in uses {
                for (backend, &last) in &pool.backends {
                    let key = self.key(name, &check.name, port, last);
                    let target = plan
                        .targets
                        .entry(key)
                        .or_insert_with(|| Target { check: check.clone(), members: Vec::new() });
                    target.members.push(member(name, backend));
                }
            }
        }
        plan
    }
}
