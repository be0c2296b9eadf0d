//! Receive-side scaling: the hash functions, the key, and the queue for each hash value.
//!
//! Of [`FUNCTIONS`], a device is configured with all that it offers: flows by their addresses and
//! ports, other IP packets, including fragments, by their addresses. The key is random, so that no
//! outsider can direct packets at one queue.

use dpdk_sys as sys;
use rustix::rand::{GetRandomFlags, getrandom};

use super::settings::Settings;
use crate::dpdk::device::Device;
use crate::dpdk::error::Result;

/// The hash functions, with the names that the operator reads.
const FUNCTIONS: [(&str, u64); 10] = [
    ("TCP/IPv4", sys::GUIDEWAY_RSS_TCP4),
    ("UDP/IPv4", sys::GUIDEWAY_RSS_UDP4),
    ("SCTP/IPv4", sys::GUIDEWAY_RSS_SCTP4),
    ("IPv4 fragments", sys::GUIDEWAY_RSS_FRAGMENT4),
    ("IPv4", sys::GUIDEWAY_RSS_IPV4),
    ("TCP/IPv6", sys::GUIDEWAY_RSS_TCP6),
    ("UDP/IPv6", sys::GUIDEWAY_RSS_UDP6),
    ("SCTP/IPv6", sys::GUIDEWAY_RSS_SCTP6),
    ("IPv6 fragments", sys::GUIDEWAY_RSS_FRAGMENT6),
    ("IPv6", sys::GUIDEWAY_RSS_IPV6),
];
/// The functions that distinguish the flows of one client. Packets over IPv6 with extension headers
/// are not counted.
const BY_PORTS: [(&str, u64); 4] = [FUNCTIONS[0], FUNCTIONS[1], FUNCTIONS[5], FUNCTIONS[6]];
/// The least bytes of a key's memory: some drivers copy their own key length whatever length is
/// configured.
const KEY_MEMORY: usize = 64;

/// The functions of [`FUNCTIONS`] that a device offers.
pub(super) fn wanted(info: &sys::rte_eth_dev_info) -> u64 {
    info.flow_type_rss_offloads & FUNCTIONS.iter().fold(0, |all, (_, types)| all | types)
}

/// The functions to spread by, or 0 to spread nothing.
pub(super) fn types(
    info: &sys::rte_eth_dev_info,
    settings: &Settings,
    rx_queues: u16,
    driver: &str,
    notes: &mut Vec<String>,
) -> u64 {
    if !settings.rss || settings.rx_queues < 2 {
        return 0;
    }
    let types = wanted(info);
    if types == 0 {
        notes.push(format!(
            "the driver {driver} offers no RSS over IP: the device spreads packets over the \
             receive queues by its own method"
        ));
        return 0;
    }
    let lacking: Vec<&str> = BY_PORTS
        .iter()
        .filter(|(_, function)| types & function == 0)
        .map(|(name, _)| *name)
        .collect();
    if !lacking.is_empty() {
        notes.push(format!(
            "the driver {driver} does not offer RSS by the ports of {}: such flows between the same two \
             addresses may all come to one receive queue",
            lacking.join(", ")
        ));
    }
    if rx_queues < 2 { 0 } else { types }
}

/// The names of functions.
pub(super) fn names(types: u64) -> String {
    let named = FUNCTIONS.iter().filter(|(_, function)| types & function != 0);
    named.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// A random key of `length` bytes. `None` for a device without a key.
pub(super) fn key(length: u8) -> Option<Box<[u8]>> {
    if length == 0 {
        return None;
    }
    let mut key = vec![0; KEY_MEMORY.max(length.into())];
    // The kernel returns up to 256 bytes at once. If it returns none, the device keeps its own key.
    let given = getrandom(&mut key, GetRandomFlags::empty()).ok()?;
    (given == key.len()).then(|| key.into_boxed_slice())
}

/// Fills a started device's table from hash to queue with all queues in turn, if the device has a
/// table. Before the start, drivers refuse the table or overwrite it later.
pub(super) fn spread(
    device: &Device,
    size: u16,
    queues: u16,
    notes: &mut Vec<String>,
) -> Result<()> {
    if size == 0 {
        notes.push(
            "the device has no RSS table to set: it spreads flows by its own method".to_owned(),
        );
        return Ok(());
    }
    if size < queues {
        notes.push(format!(
            "the device's RSS table has {size} slots: no more queues than that get flows"
        ));
    }
    let mut table = table(size, queues);
    // SAFETY: `device` owns the port, configured for RSS; the table has `size` slots, and is copied.
    let result = unsafe { sys::rte_eth_dev_rss_reta_update(device.id(), table.as_mut_ptr(), size) };
    let instead = "it spreads flows by its own method";
    device.unless_lacking("set its RSS table", result, instead, notes)
}

fn table(size: u16, queues: u16) -> Vec<sys::rte_eth_rss_reta_entry64> {
    let group = sys::GUIDEWAY_RETA_GROUP_SIZE as usize;
    let groups = usize::from(size).div_ceil(group);
    let mut table = vec![sys::rte_eth_rss_reta_entry64::default(); groups];
    for slot in 0..size {
        let (entry, bit) = (usize::from(slot) / group, usize::from(slot) % group);
        table[entry].mask |= 1 << bit;
        table[entry].reta[bit] = slot % queues;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::settings;

    fn offered(types: u64) -> sys::rte_eth_dev_info {
        sys::rte_eth_dev_info { flow_type_rss_offloads: types, ..Default::default() }
    }

    #[test]
    fn rss_uses_the_functions_that_are_offered() {
        let types = |types_offered, wanted: &Settings, queues| {
            let mut notes = Vec::new();
            let types = types(&offered(types_offered), wanted, queues, "net_some", &mut notes);
            (types, notes.concat())
        };
        let settings = Settings { rss: true, rx_queues: 4, ..settings() };
        let all = wanted(&offered(u64::MAX));
        assert_eq!(types(u64::MAX, &settings, 4), (all, String::new()));
        let (none, note) = types(!all, &settings, 4);
        assert_eq!(none, 0);
        assert!(note.contains("net_some offers no RSS"), "{note}");
        let addresses = sys::GUIDEWAY_RSS_IPV4 | sys::GUIDEWAY_RSS_IPV6;
        let (some, note) = types(addresses, &settings, 4);
        assert_eq!(some, addresses);
        assert!(note.contains("by the ports of TCP/IPv4, UDP/IPv4, TCP/IPv6, UDP/IPv6:"), "{note}");
        let (_, note) = types(all & !sys::GUIDEWAY_RSS_UDP6, &settings, 4);
        assert!(note.contains("by the ports of UDP/IPv6:"), "{note}");
        // Few drivers offer SCTP, which is not balanced, or fragments apart.
        let few = all & !sys::GUIDEWAY_RSS_SCTP4 & !sys::GUIDEWAY_RSS_FRAGMENT4;
        assert_eq!(types(few, &settings, 4), (few, String::new()));

        assert_eq!(types(u64::MAX, &settings, 1), (0, String::new()), "nothing to spread over");
        let single = Settings { rx_queues: 1, ..settings.clone() };
        assert_eq!(types(0, &single, 1), (0, String::new()), "nothing was wanted");
        let unwanted = Settings { rss: false, ..settings };
        assert_eq!(types(u64::MAX, &unwanted, 4), (0, String::new()));
    }

    #[test]
    fn each_hash_function_has_one_name() {
        let mut all = 0;
        for (name, types) in FUNCTIONS {
            assert!(types != 0 && all & types == 0, "{name}");
            all |= types;
            assert_eq!(names(types), name);
        }
        assert_eq!(names(sys::GUIDEWAY_RSS_TCP4 | sys::GUIDEWAY_RSS_IPV6), "TCP/IPv4, IPv6");
    }

    #[test]
    fn a_key_has_the_length_of_the_device_and_is_never_the_same() {
        assert!(key(0).is_none());
        for length in [40, 52, 255] {
            let (one, other) = (key(length).unwrap(), key(length).unwrap());
            assert!(one.len() >= usize::from(length) && one.len() >= KEY_MEMORY);
            assert_ne!(one[..usize::from(length)], other[..usize::from(length)]);
            // A key of 40 equal bytes, or of a short pattern, would put all ports on few queues.
            let bits: u32 = one[..40].iter().map(|byte| byte.count_ones()).sum();
            assert!((80..240).contains(&bits), "{bits} of 320 bits");
        }
    }

    #[test]
    fn the_table_has_all_queues_in_turn() {
        let table = table(130, 3);
        let slot = |slot: usize| {
            (table[slot / 64].mask >> (slot % 64) & 1, table[slot / 64].reta[slot % 64])
        };
        assert_eq!(table.len(), 3);
        for (i, queue) in [0, 1, 2].iter().cycle().take(130).enumerate() {
            assert_eq!(slot(i), (1, *queue), "slot {i}");
        }
        assert_eq!(table[2].mask, 0b11, "no slot behind the last");
    }

    #[test]
    fn no_queue_has_two_slots_more_than_another() {
        for (size, queues) in [(128, 2), (128, 3), (64, 5), (512, 7), (4, 4), (2048, 12)] {
            let mut slots = vec![0; queues];
            for entry in &table(size, u16::try_from(queues).unwrap()) {
                let set = (0..64).filter(|bit| entry.mask >> bit & 1 == 1);
                set.for_each(|bit| slots[usize::from(entry.reta[bit])] += 1);
            }
            let (least, most) = (slots.iter().min().unwrap(), slots.iter().max().unwrap());
            assert!(most - least <= 1, "{size} {queues}: {slots:?}");
        }
    }
}
