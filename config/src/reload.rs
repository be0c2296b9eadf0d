//! What only a restart can change: devices, threads and memory are set up once.

use super::model::Configuration;
use super::sections::port::Port;

impl Configuration {
    /// The differences of `new` that a reload cannot put in force, one phrase each. Each section
    /// compares the keys that it declares as `restart`.
    pub fn restart_only_differences(&self, new: &Configuration) -> Vec<String> {
        let of = |section: &'static str| move |key: &str| format!("{section}.{key}");
        let mut found = self.dpdk.differences(&new.dpdk, of("dpdk"));
        found.extend(self.hash.differences(&new.hash, of("hash")));
        found.extend(self.flow.differences(&new.flow, of("flow")));
        found.extend(self.icmp.differences(&new.icmp, of("icmp")));
        found.extend(self.punt.differences(&new.punt, of("punt")));
        found.extend(self.fragments.differences(&new.fragments, of("fragments")));
        found.extend(self.control.differences(&new.control, of("control")));
        found.extend(self.metrics.differences(&new.metrics, of("metrics")));
        found.extend(self.log.differences(&new.log, of("log")));
        found.extend(self.tunnel.differences(&new.tunnel, of("tunnel")));
        found.extend(self.probe.differences(&new.probe, of("probe")));
        match (&self.announce, &new.announce) {
            (Some(old), Some(new)) => found.extend(old.differences(new, of("announce"))),
            (None, Some(_)) => found.push("[announce] is new".to_owned()),
            (Some(_), None) => found.push("[announce] would be removed".to_owned()),
            (None, None) => {}
        }
        ports(&mut found, &self.ports, &new.ports);
        found
    }
}

fn ports(found: &mut Vec<String>, old: &[Port], new: &[Port]) {
    let has = |ports: &[Port], port: &Port| ports.iter().any(|other| other.name == port.name);
    let added: Vec<&Port> = new.iter().filter(|port| !has(old, port)).collect();
    let removed: Vec<&Port> = old.iter().filter(|port| !has(new, port)).collect();
    found.extend(added.iter().map(|port| format!("port {:?} is new", port.name)));
    found.extend(removed.iter().map(|port| format!("port {:?} would be removed", port.name)));
    if added.is_empty() && removed.is_empty() && old.iter().zip(new).any(|(a, b)| a.name != b.name)
    {
        // Ports are numbered in the file's order, and counters and next hops use the number.
        found.push("the ports are in another order".to_owned());
    }
    for old in old {
        let Some(new) = new.iter().find(|new| new.name == old.name) else { continue };
        found.extend(old.differences(new, |key| format!("{key} of port {:?}", old.name)));
    }
}
