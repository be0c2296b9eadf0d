//! What a started device reports under names that its driver chose: the functions that receive and
//! send, and counters beyond [`Counters`](super::Counters).

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};

use dpdk_sys as sys;

use crate::dpdk::device::Device;

/// Attempts to read the names of counters, each after their number has grown.
const ATTEMPTS: usize = 4;

/// The functions that a driver chose for receiving and for sending, such as `Vector AVX2`. `None`
/// if the driver does not report them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// For receiving.
    pub rx: Option<String>,
    /// For sending.
    pub tx: Option<String>,
}

/// The functions of the first receive queue and of the first transmit queue.
pub(super) fn functions(device: &Device) -> Functions {
    let _one_at_a_time = device.control();
    let mut mode = sys::rte_eth_burst_mode::default();
    // SAFETY: `device` owns the port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_rx_burst_mode_get(device.id(), 0, &raw mut mode) };
    let rx = (result == 0).then(|| text(&mode.info)).flatten();
    let mut mode = sys::rte_eth_burst_mode::default();
    // SAFETY: `device` owns the port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_tx_burst_mode_get(device.id(), 0, &raw mut mode) };
    let tx = (result == 0).then(|| text(&mode.info)).flatten();
    Functions { rx, tx }
}

/// All that the device counts, by name. Empty if it counts nothing.
pub(super) fn extended(device: &Device) -> BTreeMap<String, u64> {
    let _one_at_a_time = device.control();
    let mut slots = 0;
    for _ in 0..ATTEMPTS {
        let mut names = vec![sys::rte_eth_xstat_name::default(); slots];
        let mut values = vec![sys::rte_eth_xstat::default(); slots];
        let size = u32::try_from(slots).unwrap_or(0);
        // SAFETY: `device` owns the port; there are `size` slots.
        let named = unsafe { sys::rte_eth_xstats_get_names(device.id(), names.as_mut_ptr(), size) };
        // SAFETY: `device` owns the port; there are `size` slots.
        let counted = unsafe { sys::rte_eth_xstats_get(device.id(), values.as_mut_ptr(), size) };
        let (Ok(named), Ok(counted)) = (usize::try_from(named), usize::try_from(counted)) else {
            break;
        };
        if named.max(counted) <= slots {
            names.truncate(named);
            values.truncate(counted);
            return joined(&names, &values);
        }
        slots = named.max(counted);
    }
    BTreeMap::new()
}

/// Combines values with the names of their numbers.
fn joined(
    names: &[sys::rte_eth_xstat_name],
    values: &[sys::rte_eth_xstat],
) -> BTreeMap<String, u64> {
    let by_name = |value: &sys::rte_eth_xstat| {
        let name = names.get(usize::try_from(value.id).ok()?)?;
        Some((text(&name.name)?, value.value))
    };
    values.iter().filter_map(by_name).collect()
}

/// A C string in a field of fixed size. `None` if the string is empty.
fn text(field: &[c_char]) -> Option<String> {
    let bytes: Vec<u8> = field.iter().map(|&c| c.cast_unsigned()).collect();
    let text = CStr::from_bytes_until_nul(&bytes).ok()?.to_string_lossy().into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{device, packets, pool, settings};

    /// `N` characters: the text and zeros.
    fn field<const N: usize>(text: &str) -> [c_char; N] {
        let mut field = [0; N];
        for (slot, byte) in field.iter_mut().zip(text.bytes()) {
            *slot = byte.cast_signed();
        }
        field
    }

    #[test]
    fn the_text_of_a_driver_ends_in_its_field() {
        assert_eq!(text(&field::<64>("Vector AVX2")).unwrap(), "Vector AVX2");
        assert_eq!(text(&field::<64>("")), None);
        assert_eq!(text(&field::<4>("long")), None, "no end");
        assert_eq!(text(&field::<8>("caf\u{e9}")).unwrap(), "caf\u{e9}");
    }

    #[test]
    fn values_are_matched_with_their_names_in_any_order() {
        let name = |text| sys::rte_eth_xstat_name { name: field(text) };
        let value = |id, value| sys::rte_eth_xstat { id, value };
        let names = [name("rx_good_packets"), name("rx_missed"), name("")];
        let values = [value(1, 7), value(0, 9), value(2, 1), value(3, 1), value(u64::MAX, 1)];
        let expected = [("rx_good_packets".to_owned(), 9), ("rx_missed".to_owned(), 7)];
        assert_eq!(joined(&names, &values), expected.into());
        assert_eq!(joined(&[], &values), BTreeMap::new());
    }

    #[test]
    fn a_device_reports_what_it_counts() {
        let pool = pool(511);
        let (port, _) = device("net_ring", "").configure(&settings(), &pool).unwrap();
        let (port, mut rx, mut tx) = port.start().unwrap();
        let mut burst = packets(&pool, 5);
        assert_eq!((tx[0].send(&mut burst), rx[0].receive(&mut burst)), (5, 5));
        let extended = port.extended_counters();
        assert_eq!((extended["rx_good_packets"], extended["tx_good_packets"]), (5, 5));
        assert_eq!(extended["rx_missed_errors"], 0);
        assert_eq!(port.functions(), Functions::default(), "net_ring does not report them");
    }
}
