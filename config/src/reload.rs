//! What only a restart can change: devices, threads and memory are set up once.

use std::fmt::Debug;

use super::model::{Configuration, Port};

impl Configuration {
    /// The differences of `new` that a reload cannot put in force, one phrase each.
    pub fn restart_only_differences(&self, new: &Configuration) -> Vec<String> {
        let mut found = Vec::new();
        differ(&mut found, "dpdk.workers", &self.dpdk.workers, &new.dpdk.workers);
        differ(&mut found, "dpdk.hugepages", self.dpdk.hugepages, new.dpdk.hugepages);
        differ(&mut found, "dpdk.memory", self.dpdk.memory_mib, new.dpdk.memory_mib);
        differ(&mut found, "dpdk.buffers", self.dpdk.buffers, new.dpdk.buffers);
        differ(&mut found, "dpdk.idle", self.dpdk.idle, new.dpdk.idle);
        differ(&mut found, "dpdk.eal_args", &self.dpdk.eal_args, &new.dpdk.eal_args);
        differ(&mut found, "flow.entries", self.flow.entries, new.flow.entries);
        let (old, fresh) = (&self.fragments, &new.fragments);
        differ(&mut found, "fragments.contexts", old.contexts, fresh.contexts);
        differ(&mut found, "fragments.packets", old.packets, fresh.packets);
        differ(&mut found, "fragments.bytes", old.bytes, fresh.bytes);
        differ(&mut found, "fragments.timeout", old.timeout, fresh.timeout);
        differ(&mut found, "control.socket", &self.control.socket, &new.control.socket);
        let group = |of: &Configuration| of.control.group.clone().unwrap_or_default();
        differ(&mut found, "control.group", group(self), group(new));
        ports(&mut found, &self.ports, &new.ports);
        found
    }
}

fn differ<T: PartialEq + Debug>(found: &mut Vec<String>, key: &str, old: T, new: T) {
    if old != new {
        found.push(format!("{key} is {old:?} and would be {new:?}"));
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
        let key = |key: &str| format!("{key} of port {:?}", old.name);
        differ(found, &key("device"), &old.device, &new.device);
        differ(found, &key("mtu"), old.mtu, new.mtu);
        differ(found, &key("steering"), old.steering, new.steering);
        differ(found, &key("rx_descriptors"), old.rx_descriptors, new.rx_descriptors);
        differ(found, &key("tx_descriptors"), old.tx_descriptors, new.tx_descriptors);
    }
}
