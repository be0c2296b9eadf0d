//! Whether two configurations make the same tables but for what the standing of backends says.
//!
//! Most configurations that are applied differ from the one before in the weight or the state of some backends. These
//! are in the standing, by which tables are compiled anew in part. So must be everything that may differ here.

use guideway_config::{Backend, Configuration, Pool};

/// Whether two configurations differ in nothing but what the standing of backends and pools has, or what tables do not
/// have.
pub(super) fn are_alike(a: &Configuration, b: &Configuration) -> bool {
    // Without `..`: a new section is to be thought about.
    let Configuration {
        node,
        hash,
        dpdk,
        flow,
        icmp,
        punt,
        control: _,
        metrics: _,
        log: _,
        ports,
        neighbors,
        pools,
        services,
        checks: _,
        probe,
        cluster,
        tunnel,
        fragments,
        announce: _,
        vips: _,
        bgp,
    } = a;
    (node, hash, dpdk, flow, icmp) == (&b.node, &b.hash, &b.dpdk, &b.flow, &b.icmp)
        && (punt, ports, neighbors) == (&b.punt, &b.ports, &b.neighbors)
        && (services, probe, cluster) == (&b.services, &b.probe, &b.cluster)
        && (tunnel, fragments, bgp) == (&b.tunnel, &b.fragments, &b.bgp)
        && pools.len() == b.pools.len()
        && pools.iter().zip(&b.pools).all(|(a, b)| are_alike_pools(a, b))
}

fn are_alike_pools(a: &Pool, b: &Pool) -> bool {
    let Pool {
        name,
        mss_clamp,
        choice,
        min_active: _,
        backup_hold: _,
        on_empty,
        slow_start: _,
        slow_start_curve: _,
        checks: _,
        panic_threshold: _,
        pools,
        levels,
        included,
        backends,
    } = a;
    (name, mss_clamp, choice, on_empty) == (&b.name, &b.mss_clamp, &b.choice, &b.on_empty)
        && (pools, levels, included) == (&b.pools, &b.levels, &b.included)
        && backends.len() == b.backends.len()
        && backends.iter().zip(&b.backends).all(|(a, b)| are_alike_backends(a, b))
}

fn are_alike_backends(a: &Backend, b: &Backend) -> bool {
    // Pins name backends.
    let Backend { name, address, weight: _, enabled: _, encapsulations, parameters } = a;
    (name, address) == (&b.name, &b.address)
        && (encapsulations, parameters) == (&b.encapsulations, &b.parameters)
}
