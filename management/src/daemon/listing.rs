//! Listings: what is in force, with its counters.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use guideway_api as api;

use super::convert::{to_choice, to_next_hop, to_protocol, to_settings};
use super::overview::{Overview, PortState};
use crate::kernel::format_mac;
use crate::manager::Tally;
use crate::state::standing::{BackendStanding, WHOLE};
use guideway_core::stats::{Counter, Gauge, Traffic};

impl Overview {
    pub(super) fn status(&self) -> api::Status {
        let published = self.published.load_full();
        let counter = |counter| self.workers.iter().map(|w| w.stats.counter(counter)).sum();
        let gauge = |gauge| self.workers.iter().map(|w| w.stats.gauge(gauge)).sum();
        api::Status {
            node: published.configuration.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            generation: published.generation,
            generation_in_force: self.progress().generation,
            manager_restarts: self.restarts.load(Ordering::Relaxed),
            config_path: self.path.display().to_string(),
            workers: self.workers.len(),
            ports: self.ports.len(),
            services: published.configuration.services.len(),
            backends: published.configuration.pools.iter().map(|p| p.backends.len()).sum(),
            flows: gauge(Gauge::Flows),
            flow_capacity: self.workers.iter().map(|w| w.flow_capacity).sum(),
            fragments_waiting: gauge(Gauge::FragmentsWaiting),
            received: counter(Counter::Received),
            transmitted: counter(Counter::Transmitted),
            announcing: self.announcing.as_ref().map(|announcing| announcing.show()),
        }
    }

    pub(super) fn services(&self) -> Vec<api::Service> {
        let tally = self.tally();
        let published = tally.published();
        let configuration = &published.configuration;
        (0..)
            .zip(&configuration.services)
            .map(|(index, service)| api::Service {
                name: service.name.clone(),
                address: service.address,
                protocol: to_protocol(service.protocol),
                port: service.port,
                pool: configuration.pools[service.pool].name.clone(),
                backends: published.pools[service.pool].active,
                serves: published.pools[service.pool]
                    .is_enough(configuration.pools[service.pool].min_active),
                traffic: to_traffic(tally.service(index)),
            })
            .collect()
    }

    pub(super) fn backends(&self) -> Vec<api::Backend> {
        self.backends_where(|_, _| true)
    }

    /// The backends of which `is_wanted` holds: it gets the pool's name and the address.
    pub(super) fn backends_where(
        &self,
        is_wanted: impl Fn(&str, IpAddr) -> bool,
    ) -> Vec<api::Backend> {
        let tally = self.tally();
        let configuration = &tally.published().configuration;
        let mut list = Vec::new();
        for (pool_index, pool) in configuration.pools.iter().enumerate() {
            for (index, backend) in pool.backends.iter().enumerate() {
                if is_wanted(&pool.name, backend.address) {
                    list.push(to_backend(&tally, pool_index, index));
                }
            }
        }
        list
    }

    pub(super) fn worker_list(&self) -> Vec<api::Worker> {
        (0..)
            .zip(&self.workers)
            .map(|(index, worker)| {
                let stats = &worker.stats;
                api::Worker {
                    worker: index,
                    cpu: worker.cpu,
                    queues: worker.queues.clone(),
                    generation: stats.gauge(Gauge::Generation),
                    received: stats.counter(Counter::Received),
                    transmitted: stats.counter(Counter::Transmitted),
                    dropped: stats.dropped(),
                    flows: stats.gauge(Gauge::Flows),
                    flow_capacity: worker.flow_capacity,
                    polls: stats.counter(Counter::Polls),
                    busy_polls: stats.counter(Counter::BusyPolls),
                }
            })
            .collect()
    }

    pub(super) fn port_list(&self) -> Vec<api::Port> {
        let published = self.published.load_full();
        published
            .configuration
            .ports
            .iter()
            .zip(&self.ports)
            .map(|(configured, port)| {
                let PortState { link, link_seconds, counters } = (port.probe)();
                let [rx_function, tx_function] = port.functions.clone();
                api::Port {
                    name: configured.name.clone(),
                    description: configured.description.clone(),
                    device: configured.device.clone(),
                    driver: port.driver.clone(),
                    mac: format_mac(configured.mac.unwrap_or(port.device_mac)),
                    mtu: configured.mtu,
                    link,
                    link_seconds,
                    rx_queues: port.rx_queues,
                    tx_queues: port.tx_queues,
                    steering: (port.steering)(),
                    counters,
                    rx_function,
                    tx_function,
                }
            })
            .collect()
    }

    pub(super) fn port_stats(&self, extended: bool) -> Vec<api::PortStats> {
        let published = self.published.load_full();
        published
            .configuration
            .ports
            .iter()
            .zip(&self.ports)
            .map(|(configured, port)| api::PortStats {
                name: configured.name.clone(),
                counters: (port.probe)().counters.by_name(),
                extended: if extended { (port.extended)() } else { Default::default() },
            })
            .collect()
    }
}

/// A backend, by its index in a pool.
fn to_backend(tally: &Tally, pool_index: usize, index: usize) -> api::Backend {
    let published = tally.published();
    let configuration = &published.configuration;
    let pool = &configuration.pools[pool_index];
    let (backend, compiled) = (&pool.backends[index], &published.pools[pool_index].backends[index]);
    let BackendStanding { weight, share, since, source, ref reason, .. } = compiled.standing;
    let setting = published.settings.get(&pool.name, backend.address);
    api::Backend {
        pool: pool.name.clone(),
        name: backend.name.clone(),
        address: backend.address,
        weight,
        slow_start: (share < WHOLE).then(|| f64::from(share) / f64::from(WHOLE)),
        state: compiled.state(),
        since: since.rfc3339(),
        source,
        reason: reason.as_deref().map(str::to_owned),
        settings: setting.map(to_settings).unwrap_or_default(),
        encapsulation: compiled.encapsulation.map(|choice| choice.encapsulation.name().to_owned()),
        encapsulation_choice: compiled
            .encapsulation
            .map(|choice| to_choice(&choice, &backend.encapsulations)),
        share: published.pools[pool_index].share(compiled),
        next_hop: to_next_hop(&compiled.next_hop, configuration),
        traffic: to_traffic(tally.backend(pool_index, index)),
    }
}

fn to_traffic(Traffic { packets, bytes, flows, live }: Traffic) -> api::Traffic {
    api::Traffic { packets, bytes, flows, live }
}
