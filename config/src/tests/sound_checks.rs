//! What the model promises of the checks of every valid configuration.

use super::super::*;

pub(super) fn assert_checks_soundly(configuration: &Configuration) {
    let Configuration { checks, probe, pools, services, node, ports, announce, .. } = configuration;
    for check in checks {
        let intervals = [check.interval, check.fast_interval, check.down_interval];
        assert!(intervals.iter().all(|interval| check.timeout < *interval));
        assert!((1..=1000).contains(&check.rise) && (1..=1000).contains(&check.fall));
        assert!(check.jitter <= 50);
        assert!(!matches!(check.kind, CheckKind::Ping) || check.port.is_none());
        assert!(check.port != Some(0) && check.size.is_none_or(|size| size >= 44));
        if let CheckKind::Http(http) = &check.kind {
            let one_line = |text: &str| !text.contains(['\r', '\n', '\0']);
            assert!(one_line(&http.method) && one_line(&http.path) && http.path.starts_with('/'));
            assert!(http.host.as_deref().is_none_or(one_line));
            assert!(http.headers.iter().all(|(name, value)| one_line(name) && one_line(value)));
            assert!(!http.statuses.is_empty());
            assert!(
                http.statuses.iter().all(|s| !s.is_empty() && *s.start() >= 100 && *s.end() <= 599)
            );
        }
    }
    assert!(!probe.source_ports.is_empty() && *probe.source_ports.start() >= 1024);
    assert!((2..=4).contains(&probe.ports_each));
    let named = pools.iter().flat_map(|pool| &pool.checks);
    assert!(
        named
            .chain(services.iter().flat_map(|service| &service.checks))
            .all(|&check| check < checks.len())
    );
    assert!(pools.iter().all(|pool| pool.panic_threshold <= 100));
    for source in &node.check_sources {
        assert!(services.iter().all(|service| service.address != *source));
        assert!(pools.iter().flat_map(|pool| &pool.backends).all(|b| b.address != *source));
        let on_link = ports.iter().flat_map(|port| &port.addresses).any(|net| net.contains(source));
        assert!(
            !on_link || ports.iter().flat_map(|p| &p.addresses).any(|net| net.addr() == *source)
        );
    }
    if !node.check_sources.is_empty() {
        assert!(ports.iter().all(|port| port.interface() != Some(&probe.interface)));
        let apart =
            |other: &Announce| other.interface != probe.interface && other.table != probe.table;
        assert!(announce.as_ref().is_none_or(apart));
    }
    let first = configuration.first_services();
    let mut has_tunnel = false;
    let mut goes = |check: &Check, backend: &Backend, service: Option<&Service>| {
        let by_tunnel = check.via_to(backend) == Via::Tunnel;
        let address = match by_tunnel {
            true => check.address.or(service.map(|service| service.address)).unwrap(),
            false => check.address.unwrap_or(backend.address),
        };
        let port = check.port.or(service.map(|service| service.port));
        assert!(port.is_some() || check.kind == CheckKind::Ping, "{check:?}");
        if by_tunnel {
            assert!(backend.encapsulations.iter().any(|e| e.is_tunnel()));
            assert!(node.check_sources.iter().any(|s| s.is_ipv4() == address.is_ipv4()));
            assert!(check.size.is_none_or(|size| size <= configuration.probe_mtu()));
        }
        has_tunnel |= by_tunnel;
    };
    for (index, pool) in pools.iter().enumerate() {
        for check in pool.checks.iter().map(|&check| &checks[check]) {
            let service = first.of(index, check.kind.protocol()).map(|service| &services[service]);
            pool.backends.iter().for_each(|backend| goes(check, backend, service));
        }
    }
    for service in services {
        for check in service.checks.iter().map(|&check| &checks[check]) {
            for i in &pools[service.pool].included {
                goes(check, &pools[i.pool].backends[i.backend], Some(service));
            }
        }
    }
    assert_eq!(configuration.has_tunnel_checks(), has_tunnel);
}
