//! Checks must be named, and their probes must have somewhere to go and a way there.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use super::draft::Draft;
use super::uses::{By, Member, Use, Uses};
use crate::findings::{Checked, count, excerpt};
use crate::sections::Via;
use crate::sections::check::Kind;
use crate::text::family;
use guideway_core::balancer::Protocol;

/// Intervals below are for trials: so many probes are work for servers.
const HASTY: Duration = Duration::from_millis(100);

impl Draft<'_> {
    pub(super) fn checks(&self) {
        if self.checks.as_ref().is_ok_and(Vec::is_empty) {
            return;
        }
        self.hasty_checks();
        let uses = Uses::new(self);
        uses.unnamed();
        uses.pings();
        uses.pools_without_backends();
        uses.links();
        uses.destinations();
        uses.families();
        uses.sizes();
        uses.ports();
    }

    fn hasty_checks(&self) {
        for (index, check) in self.checks.iter().flatten().enumerate() {
            let Ok((key, shortest)) = check.shortest_interval() else { continue };
            if shortest < HASTY {
                let message = format!(
                    "is {}: over {} probes a second for each backend, from each node",
                    shortest.as_millis(),
                    1000 / HASTY.as_millis()
                );
                self.root.warn(&format!("check[{index}].{key}"), message);
            }
        }
    }

    /// `"b1" of pool "web" on line 7`.
    fn member(&self, (pool, backend): Member) -> String {
        let name = |name: Option<&Checked<String>>| {
            let name = name.and_then(|name| name.as_ref().ok());
            name.map_or("without a name".to_owned(), |name| excerpt(name))
        };
        let draft = &self.pools()[pool];
        let of_backend = draft.backends.as_ref().ok().and_then(|all| all.get(backend));
        let line = self.root.line(&format!("pool[{pool}].backends[{backend}]"));
        let (backend, pool) = (name(of_backend.map(|it| &it.name)), name(Some(&draft.name)));
        format!("{backend} of pool {pool} on line {line}")
    }
}

impl Uses<'_> {
    fn unnamed(&self) {
        let is_known = self.draft.pools.is_ok()
            && self.draft.services.is_ok()
            && self.draft.pool_checks.iter().all(Checked::is_ok)
            && self.draft.services().iter().all(|service| service.checks.is_ok());
        if !is_known {
            return;
        }
        let named: HashSet<usize> = self.uses.iter().map(|it| it.index).collect();
        for (index, _) in self.draft.checks.iter().flatten().enumerate() {
            if !named.contains(&index) {
                let message = "is of no pool and no service, so that no probe is sent; name it in \
                               `checks` of one of them";
                self.draft.root.warn(&format!("check[{index}]"), message);
            }
        }
    }

    /// A host that answers pings may have no service that does.
    fn pings(&self) {
        let pools = self.draft.pools().len();
        // For each pool: the first ping of its backends, and whether they have another check.
        let mut found: Vec<(Option<&Use<'_>>, bool)> = vec![(None, false); pools];
        let mut noted = HashSet::new();
        for it in &self.uses {
            let is_ping = it.kind() == Some(Kind::Ping);
            let mut note = |pool: usize| match (found.get_mut(pool), it.kind()) {
                (Some((first, _)), Some(Kind::Ping)) => _ = first.get_or_insert(it),
                (Some((_, has_other)), _) => *has_other = true,
                (None, _) => {}
            };
            match it.by {
                By::Pool(pool) => note(pool),
                By::Service(service) => {
                    let pool = self.draft.services().get(service).and_then(|it| it.pool.ok());
                    let pool = pool.filter(|&pool| noted.insert((pool, is_ping)));
                    let found = pool.and_then(|pool| self.draft.inclusions_of(pool));
                    let found = found.into_iter().flat_map(|found| &found.included);
                    let pools: HashSet<usize> = found.map(|included| included.pool).collect();
                    pools.into_iter().for_each(&mut note);
                }
            }
        }
        let mut reported = HashSet::new();
        for (first, has_other) in found {
            let Some(first) = first.filter(|_| !has_other) else { continue };
            let path = first.path();
            if reported.insert(path.clone()) {
                let message = "is a ping, and the backends have no other check: it says that hosts \
                               are there, and nothing of their services";
                self.draft.root.warn(&path, message);
            }
        }
    }

    /// A pool's checks are of its own backends only.
    fn pools_without_backends(&self) {
        for it in &self.uses {
            let By::Pool(index) = it.by else { continue };
            let pool = &self.draft.pools()[index];
            let has_none = pool.backends.as_ref().is_ok_and(Vec::is_empty);
            if has_none && pool.pools.as_ref().is_ok_and(|pools| !pools.is_empty()) {
                let message = "has no effect: the pool has no backends of its own; name the check \
                               in the pools that it includes, or in a service";
                self.draft.root.warn(&it.path(), message);
            }
        }
    }

    /// Without encapsulation there is nothing that a tunnel could prove.
    fn links(&self) {
        let mut reported = HashSet::new();
        for it in &self.uses {
            if it.check.via.ok() != Some(Some(Via::Tunnel)) {
                continue;
            }
            let Some(member) = self.backends(it).plain else { continue };
            if reported.insert(it.index) {
                let message = format!(
                    "is \"tunnel\", and no tunnel leads to {}, whose encapsulation is only \"l2\"; \
                     leave via out, or set \"direct\"",
                    self.draft.member(member)
                );
                self.draft.root.mistake(&format!("check[{}].via", it.index), message);
            }
        }
    }

    /// Probes need an address and a port, which a service has if the check has not.
    fn destinations(&self) {
        for it in &self.uses {
            let (Ok(address), Ok(port), Some(kind)) = (it.check.address, it.check.port, it.kind())
            else {
                continue;
            };
            let (tunnel, direct) = (self.by_tunnel(it), self.direct(it));
            let needs_address = address.is_none() && tunnel.is_some();
            let needs_port =
                port.is_none() && kind != Kind::Ping && (tunnel.is_some() || direct.is_some());
            if self.lacks_service(it) && (needs_address || needs_port) {
                let (what, so) = match (needs_address, needs_port) {
                    (true, true) => ("address and port", "set both in the check"),
                    (true, false) => ("address", "set it in the check"),
                    (false, _) => ("port", "set it in the check"),
                };
                let instead = match needs_address {
                    true => ", or via = \"direct\"",
                    false => "",
                };
                let message = format!(
                    "{} takes its {what} from a service, and none uses the pool; {so}{instead}",
                    self.name(it)
                );
                self.draft.root.mistake(&it.path(), message);
                continue;
            }
            if needs_port {
                self.other_protocol(it, kind);
            }
        }
    }

    /// A server may listen by both protocols, as those of DNS do, so that this is a warning.
    fn other_protocol(&self, of: &Use<'_>, kind: Kind) {
        let Some(service) = self.service(of) else { return };
        let (Ok(port), Ok(its), Some(own)) =
            (service.keys.port, service.keys.protocol, kind.protocol())
        else {
            return;
        };
        if its != own {
            let message = format!(
                "{} is {:?}, and takes the port of a service of {}, {port}; set the check's port \
                 if another one answers",
                self.name(of),
                kind.name(),
                match its {
                    Protocol::Tcp => "TCP",
                    Protocol::Udp => "UDP",
                }
            );
            self.draft.root.warn(&of.path(), message);
        }
    }

    /// Where the probes of a use go that go through tunnels.
    pub(super) fn tunnel_address(&self, of: &Use<'_>) -> Option<IpAddr> {
        self.by_tunnel(of)?;
        match of.check.address.ok()? {
            Some(address) => Some(address),
            None => self.service(of)?.keys.address.ok(),
        }
    }

    /// Probes through tunnels need a source that only this node has, and answers a way to the controller.
    fn families(&self) {
        const KEY: &str = "node.check_source";
        let Ok(sources) = &self.draft.node.check_sources else { return };
        let at = if self.draft.root.has(KEY) { KEY } else { "node" };
        let tunnelled = self.uses.iter().filter_map(|it| Some((it, self.tunnel_address(it)?)));
        let (v4, v6): (Vec<_>, Vec<_>) = tunnelled.partition(|(_, address)| address.is_ipv4());
        for found in [&v4, &v6] {
            let Some((first, address)) = found.first() else { continue };
            if sources.iter().any(|source| source.is_ipv4() == address.is_ipv4()) {
                continue;
            }
            let checks: HashSet<usize> = found.iter().map(|(it, _)| it.index).collect();
            let others = match checks.len() - 1 {
                0 => String::new(),
                others => format!(", and of {} more", count(others, "check")),
            };
            let message = format!(
                "has no {} address, and probes through tunnels to {address} need one as source, \
                 those of check {} on line {}{others}; add one that routers send to this node \
                 alone, or set via = \"direct\"",
                family(*address),
                self.name(first),
                self.draft.root.line(&format!("check[{}]", first.index)),
            );
            self.draft.root.mistake_at(at, KEY, message);
        }
        let some = v4.first().or(v6.first());
        if let (Some(_), Ok(ports)) = (some, &self.draft.ports)
            && !ports.iter().any(|port| port.has_interface())
        {
            let message = "is of no use: answers to probes through tunnels come to the controller \
                           by the interface of a port, and no port has one; set one, or via = \
                           \"direct\"";
            self.draft.root.mistake_at(at, KEY, message);
        }
    }
}
