//! What is announced: `[[vip]]` is about services, and `[bgp]` has room for their addresses.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::draft::Draft;
use crate::findings::excerpt;
use crate::sections::announce::{AnnounceWhen, BgpMode};

/// The virtual addresses, and the services on each, all without a mistake.
struct Served<'a> {
    /// By address: its text, and the names of its services.
    addresses: HashMap<IpAddr, (String, Vec<&'a str>)>,
    /// By the name of a service: its address.
    services: HashMap<&'a str, IpAddr>,
}

impl Draft<'_> {
    pub(super) fn announcements(&self) {
        self.useless_announcements();
        self.managed_bgp();
        self.announce_interface();
        self.linger();
        if let Some(served) = self.served() {
            self.special_addresses(&served);
            self.usual_quorum(&served);
        }
        self.addresses_outside();
    }

    /// The virtual addresses, unless a mistake hides one.
    fn served(&self) -> Option<Served<'_>> {
        let (mut addresses, mut services) = (HashMap::new(), HashMap::new());
        for service in self.services.as_ref().ok()? {
            let name = service.keys.name.as_ref().ok()?.as_str();
            let address = service.keys.address.ok()?;
            let new = || (address.to_string(), Vec::new());
            addresses.entry(address).or_insert_with(new).1.push(name);
            services.entry(name).or_insert(address);
        }
        Some(Served { addresses, services })
    }

    /// Sections that nothing reads.
    fn useless_announcements(&self) {
        if self.announces {
            return;
        }
        let message = "has no effect: without a section [announce] no address is announced";
        for section in ["vip", "bgp"].into_iter().filter(|section| self.root.has(section)) {
            self.root.warn(section, message);
        }
    }

    /// A BIRD that the controller configures needs somebody to talk to and something to say.
    fn managed_bgp(&self) {
        const MODE: &str = "announce.bgp";
        if !self.announces || !matches!(self.announce.bgp, Ok(BgpMode::Managed)) {
            return;
        }
        let at = if self.root.has("bgp") { "bgp" } else { MODE };
        if self.bgp.peer.as_ref().is_ok_and(Vec::is_empty) {
            let message = format!("is missing, and {MODE} is \"managed\"; add a [[bgp.peer]]");
            self.root.mistake_at(at, "bgp.peer", message);
        }
        if self.bgp.allowed.as_ref().is_ok_and(Vec::is_empty) {
            let message = format!(
                "has no prefix, so that no address could be announced, and {MODE} is \"managed\"; \
                 write for example allowed = [\"203.0.113.0/24\"]"
            );
            let at = if self.root.has("bgp.allowed") { "bgp.allowed" } else { at };
            self.root.mistake_at(at, "bgp.allowed", message);
        }
    }

    /// The kernel has one device of a name.
    fn announce_interface(&self) {
        let Ok(name) = &self.announce.interface else { return };
        if !self.announces {
            return;
        }
        let Some(port) = self.port_with_interface(name) else { return };
        let line = self.root.line(&format!("port[{port}]"));
        let message = format!(
            "is {}, the interface of the port on line {line}; the forwarder makes a device of its \
             own",
            excerpt(name)
        );
        self.root.mistake("announce.interface", message);
    }

    /// A stop withdraws first, and goes on for as long as routers may still send.
    fn linger(&self) {
        const KEY: &str = "announce.linger";
        let Ok(linger) = self.announce.linger else { return };
        if !self.announces {
            return;
        }
        if linger.is_zero() {
            let message = "is 0: a forwarder that stops drops what routers send until they know \
                           that it is gone";
            self.root.warn(KEY, message);
        }
    }

    /// `[[vip]]` is about an address of services, and about services of that address.
    fn special_addresses(&self, served: &Served<'_>) {
        let mut texts: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for (index, vip) in self.vips.iter().flatten().enumerate() {
            let Some(address) = vip.address.ok().filter(|&address| seen.insert(address)) else {
                continue;
            };
            let Some((_, services)) = served.addresses.get(&address) else {
                if texts.is_empty() {
                    texts = served.addresses.values().map(|(text, _)| text.as_str()).collect();
                    texts.sort_unstable();
                }
                let nearest = self.root.findings.nearest(&address.to_string(), &texts);
                let nearest = nearest.map(|it| format!("; the nearest that has is {it}"));
                let message = format!("{address} has no service{}", nearest.unwrap_or_default());
                self.root.mistake(&format!("vip[{index}].address"), message);
                continue;
            };
            if let Ok(Some(AnnounceWhen::Services(names))) = &vip.announce_when {
                let path = format!("vip[{index}].announce_when");
                let there: HashSet<&str> = services.iter().copied().collect();
                self.names_of_services(&path, names, services, |name| {
                    let elsewhere = served.services.get(name)?;
                    (!there.contains(name))
                        .then(|| format!("is a service of {elsewhere}, not of {address}"))
                });
            }
        }
    }

    /// `announce.announce_when` has to say something of each address that has no `announce_when` of its own.
    fn usual_quorum(&self, served: &Served<'_>) {
        const KEY: &str = "announce.announce_when";
        let Ok(AnnounceWhen::Services(names)) = &self.announce.announce_when else { return };
        let Ok(vips) = &self.vips else { return };
        if !self.announces || vips.iter().any(|vip| vip.address.is_err()) {
            return;
        }
        let mut known: Vec<&str> = served.services.keys().copied().collect();
        known.sort_unstable();
        self.names_of_services(KEY, names, &known, |_| None);
        let names: HashSet<&str> = names.iter().map(String::as_str).collect();
        if !names.iter().all(|name| served.services.contains_key(name)) {
            return;
        }
        let special = vips.iter().filter(|vip| !matches!(vip.announce_when, Ok(None)));
        let special: HashSet<IpAddr> = special.filter_map(|vip| vip.address.ok()).collect();
        let is_without = |(address, (_, services)): &(&IpAddr, &(String, Vec<&str>))| {
            !special.contains(address) && !services.iter().any(|name| names.contains(name))
        };
        let without: Vec<&IpAddr> =
            served.addresses.iter().filter(is_without).map(|(address, _)| address).collect();
        if let Some(first) = without.iter().min() {
            let others = match without.len() {
                1 => String::new(),
                n => format!(" and of {} more addresses", n - 1),
            };
            let message = format!(
                "names no service of {first}{others}; name one, or write a [[vip]] with its own \
                 announce_when"
            );
            self.root.mistake(KEY, message);
        }
    }

    /// Reports names of a list that are doubled, or of no service, or not to be there by what `misplaced` says.
    fn names_of_services<'n>(
        &self,
        path: &str,
        names: &'n [String],
        candidates: &[&str],
        misplaced: impl Fn(&'n str) -> Option<String>,
    ) {
        let mut seen = HashSet::new();
        let known: HashSet<&str> = candidates.iter().copied().collect();
        for (index, name) in names.iter().enumerate() {
            let wrong = if !seen.insert(name) {
                format!("{} is listed twice; keep one", excerpt(name))
            } else if known.contains(name.as_str()) {
                continue;
            } else if let Some(why) = misplaced(name) {
                format!("{} {why}", excerpt(name))
            } else {
                let nearest = self.root.findings.nearest(name, candidates);
                let nearest = nearest.map(|it| format!("; the nearest is {}", excerpt(it)));
                format!("there is no service {}{}", excerpt(name), nearest.unwrap_or_default())
            };
            self.root.mistake(&format!("{path}[{index}]"), wrong);
        }
    }

    /// What is outside of `bgp.allowed` is never announced.
    fn addresses_outside(&self) {
        let Ok(allowed) = &self.bgp.allowed else { return };
        if !self.announces || allowed.is_empty() {
            return;
        }
        let mut seen = HashSet::new();
        for (path, address) in self.service_addresses() {
            let is_inside = allowed.iter().any(|prefix| prefix.contains(&address));
            if !is_inside && seen.insert(address) {
                let message =
                    format!("{address} is outside of bgp.allowed, so that it is never announced");
                self.root.warn(&path, message);
            }
        }
    }
}
