//! NUMA placement: the nodes of CPUs and devices, and where the kernel put a table.
//!
//! All facts come from the kernel's text files. The functions take the text or its path, so that a
//! machine with one node can test several.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use crate::dpdk::memory;
use guideway_config::Configuration;

/// The kernel's directory of CPUs.
const CPUS: &str = "/sys/devices/system/cpu";
/// The kernel's setting of transparent huge pages: always, on request or never.
const TRANSPARENT: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The CPU of a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) number: u16,
    /// The NUMA node. `None` if the kernel knows no nodes.
    pub(super) node: Option<u32>,
}

impl Cpu {
    /// The CPU of this number, with its node.
    pub(super) fn of(number: u16) -> Cpu {
        Cpu { number, node: node_of(Path::new(CPUS), number) }
    }
}

/// The NUMA node of a CPU. `None` if the kernel knows no nodes.
fn node_of(cpus: &Path, cpu: u16) -> Option<u32> {
    let entries = fs::read_dir(cpus.join(format!("cpu{cpu}"))).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.strip_prefix("node")?.parse().ok()).next()
}

/// Lets large tables from now on take the reserved huge pages that DPDK has left, where the kernel
/// gives no other huge pages.
pub(super) fn allow_reserved_pages(configuration: &Configuration, live: bool) {
    if live && configuration.dpdk.hugepages && transparent_pages_are_off() {
        memory::use_reserved();
    }
}

/// Whether the kernel refuses transparent huge pages.
fn transparent_pages_are_off() -> bool {
    // A kernel without the file has no transparent huge pages.
    fs::read_to_string(TRANSPARENT).map_or(true, |mode| mode.contains("[never]"))
}

/// The node of each packet pool, and the pool of each port and worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MempoolPlacement {
    /// The node of each pool. `None` where it does not matter.
    pub(super) nodes: Vec<Option<u32>>,
    /// The pool that each port receives into, as an index of `nodes`.
    pub(super) of_port: Vec<usize>,
    /// The pool that each worker allocates packets from.
    pub(super) of_worker: Vec<usize>,
}

impl MempoolPlacement {
    /// Places a pool on each node that has a port or a worker. A device of an unknown node uses the
    /// pool of the worker that polls its first queue: the worker of the port's number.
    ///
    /// Without huge pages DPDK's memory has no nodes. Then `nodes_count` is false, and there is one
    /// pool wherever DPDK puts it.
    pub(super) fn new(
        ports: &[Option<u32>],
        workers: &[Option<u32>],
        nodes_count: bool,
    ) -> MempoolPlacement {
        let nodes_count = nodes_count && workers.iter().all(Option::is_some);
        let node_of_worker = |index: usize| workers[index % workers.len()];
        let ports: Vec<Option<u32>> = (0..)
            .zip(ports)
            .map(|(index, node)| node.or(node_of_worker(index)).filter(|_| nodes_count))
            .collect();
        let workers: Vec<Option<u32>> =
            workers.iter().map(|node| node.filter(|_| nodes_count)).collect();
        let nodes: BTreeSet<Option<u32>> = ports.iter().chain(&workers).copied().collect();
        let nodes: Vec<Option<u32>> = nodes.into_iter().collect();
        let index = |node: &Option<u32>| nodes.iter().position(|n| n == node).unwrap_or(0);
        let of_port = ports.iter().map(index).collect();
        let of_worker = workers.iter().map(index).collect();
        MempoolPlacement { nodes, of_port, of_worker }
    }
}

/// A warning for the operator about a worker that polls a device on another node. `None` if it is
/// the same node, or a node is unknown.
pub(super) fn distance(port: &str, device: Option<u32>, worker: usize, cpu: Cpu) -> Option<String> {
    let (device, node, cpu) = (device?, cpu.node?, cpu.number);
    (device != node).then(|| {
        format!(
            "port \"{port}\": its device is on NUMA node {device}, and worker {worker}, which polls \
             it, on node {node} (CPU {cpu}): every packet crosses between them; name CPUs of node \
             {device} in dpdk.workers"
        )
    })
}

/// Where the kernel put a mapping.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryPlacement {
    /// Bytes that are present.
    present: u64,
    /// Bytes on huge pages.
    huge: u64,
    /// Bytes on each NUMA node. Empty if the kernel knows no nodes.
    nodes: BTreeMap<u32, u64>,
}

impl MemoryPlacement {
    /// Where the mapping lies that begins at `address`, by the kernel's files about this process.
    pub(super) fn of(address: usize) -> MemoryPlacement {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        MemoryPlacement::read(address, &read("/proc/self/smaps"), &read("/proc/self/numa_maps"))
    }

    fn read(address: usize, smaps: &str, numa_maps: &str) -> MemoryPlacement {
        let mut placement = MemoryPlacement::default();
        let start = format!("{address:08x}-");
        let of_it = smaps.lines().skip_while(|line| !line.starts_with(&start)).skip(1);
        // Each line is `Key:  n kB`, until the first line of the next mapping, which begins with
        // addresses.
        for line in
            of_it.take_while(|line| line.split(' ').next().is_some_and(|w| w.ends_with(':')))
        {
            let Some((key, value)) = line.split_once(':') else { continue };
            let kib = value.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
            match key {
                "Rss" => placement.present += kib << 10,
                "AnonHugePages" => placement.huge += kib << 10,
                // These pages are not part of `Rss`.
                "Private_Hugetlb" => {
                    placement.present += kib << 10;
                    placement.huge += kib << 10;
                }
                _ => {}
            }
        }
        let start = format!("{address:08x} ");
        let Some(line) = numa_maps.lines().find(|line| line.starts_with(&start)) else {
            return placement;
        };
        let number = |key: &str| {
            let value = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.and_then(|value| value.parse::<u64>().ok())
        };
        let page = number("kernelpagesize_kB").unwrap_or(4) << 10;
        for word in line.split(' ') {
            let node = word.strip_prefix('N').and_then(|word| word.split_once('='));
            if let Some((node, pages)) = node
                && let (Ok(node), Ok(pages)) = (node.parse(), pages.parse::<u64>())
            {
                placement.nodes.insert(node, pages * page);
            }
        }
        placement
    }
}

impl fmt::Display for MemoryPlacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.present == 0 {
            return f.write_str("less than a huge page");
        }
        write!(f, "{} MiB, {} MiB of it on huge pages", self.present >> 20, self.huge >> 20)?;
        for (node, bytes) in &self.nodes {
            write!(f, ", {} MiB on node {node}", bytes >> 20)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pool_where_nodes_do_not_matter_or_there_is_one() {
        let one =
            MempoolPlacement { nodes: vec![None], of_port: vec![0, 0], of_worker: vec![0, 0] };
        assert_eq!(MempoolPlacement::new(&[Some(0), Some(1)], &[Some(0), Some(1)], false), one);
        assert_eq!(MempoolPlacement::new(&[None, Some(1)], &[None, Some(1)], true), one);
        let at_one = MempoolPlacement { nodes: vec![Some(1)], ..one };
        assert_eq!(MempoolPlacement::new(&[Some(1), None], &[Some(1), Some(1)], true), at_one);
    }

    #[test]
    fn a_pool_for_each_node_that_has_a_port_or_a_worker() {
        let pools = MempoolPlacement::new(&[Some(3), None, None], &[Some(1), Some(0)], true);
        assert_eq!(pools.nodes, [Some(0), Some(1), Some(3)]);
        // A device of unknown node is on the node of the worker that polls it.
        assert_eq!(pools.of_port, [2, 0, 1]);
        assert_eq!(pools.of_worker, [1, 0]);
    }

    #[test]
    fn a_worker_far_from_its_device_is_reported() {
        let cpu = |node| Cpu { number: 9, node };
        let warning = distance("edge0", Some(0), 2, cpu(Some(1))).unwrap();
        assert!(warning.contains("\"edge0\"") && warning.contains("worker 2"), "{warning}");
        assert!(
            warning.contains("on node 1 (CPU 9)") && warning.contains("of node 0"),
            "{warning}"
        );
        for (device, node) in [(None, Some(1)), (Some(0), None), (Some(1), Some(1))] {
            assert_eq!(distance("edge0", device, 2, cpu(node)), None);
        }
    }

    #[test]
    fn the_node_of_a_cpu_is_the_link_beside_it() {
        let cpus = tempfile::tempdir().unwrap();
        for (cpu, entry) in [(0, "node0"), (13, "node1"), (14, "nodes"), (15, "topology")] {
            fs::create_dir_all(cpus.path().join(format!("cpu{cpu}")).join(entry)).unwrap();
        }
        let node = |cpu| node_of(cpus.path(), cpu);
        assert_eq!([0, 13, 14, 15, 16].map(node), [Some(0), Some(1), None, None, None]);
    }

    /// The texts follow the kernel's documentation of proc and of numa_memory_policy, shortened.
    #[test]
    fn the_placement_of_a_mapping_is_read_from_proc() {
        let smaps = "7f0000000000-7f0010000000 rw-p 00000000 00:00 0 \n\
            Size:             262144 kB\nRss:              262144 kB\n\
            AnonHugePages:    260096 kB\nPrivate_Hugetlb:       0 kB\nVmFlags: rd wr mr hg\n\
            7f0010000000-7f0010010000 ---p 00000000 00:00 0 \n\
            Size:                 64 kB\nAnonHugePages:         8 kB\n\
            7f0020000000-7f0020800000 rw-p 00000000 00:0f 9 /anon_hugepage (deleted)\n\
            Rss:                   0 kB\nPrivate_Hugetlb:    8192 kB\n";
        let numa = "7f0000000000 default anon=65536 dirty=65536 N0=512 N1=65024 kernelpagesize_kB=4\n\
            7f0020000000 default file=/anon_hugepage huge anon=4 dirty=4 N1=4 kernelpagesize_kB=2048\n";
        let read = |address| MemoryPlacement::read(address, smaps, numa).to_string();
        assert_eq!(
            read(0x7f00_0000_0000),
            "256 MiB, 254 MiB of it on huge pages, 2 MiB on node 0, 254 MiB on node 1"
        );
        assert_eq!(read(0x7f00_2000_0000), "8 MiB, 8 MiB of it on huge pages, 8 MiB on node 1");
        assert_eq!(MemoryPlacement::read(0x1000, smaps, numa), MemoryPlacement::default());
        assert_eq!(MemoryPlacement::read(0x7f00_0000_0000, "", ""), MemoryPlacement::default());
    }

    #[test]
    fn a_table_of_this_process_is_found() {
        let table = vec![0_u64; 1 << 19];
        let placement = MemoryPlacement::of(table.as_ptr().addr());
        assert_eq!(placement.present, 4 << 20, "{placement}");
        let placed: u64 = placement.nodes.values().sum();
        assert!(placed == 4 << 20 || placement.nodes.is_empty(), "{placement}");
    }
}
