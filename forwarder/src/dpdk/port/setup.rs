//! Sets a device up as near to its settings as the device allows.
//!
//! Each difference becomes a note. So does a call that the device lacks (ENOTSUP: most virtual
//! devices lack several). A call that the device has and that fails is an error.

use std::ffi::CStr;

use dpdk_sys as sys;

use super::control;
use super::driver::Facts;
use super::rss;
use super::settings::{Capabilities, Settings};
use super::umem::Umem;
use crate::dpdk::device::Device;
use crate::dpdk::error::{Errno, Error, Result};
use crate::dpdk::mempool::Mempool;

/// The bytes of a frame besides the IP packet that DPDK assumes where the device does not report
/// them: Ethernet header and checksum.
const DEFAULT_OVERHEAD: u32 = 14 + 4;

/// The settings of a configured device.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) driver: String,
    pub(super) rx_queues: u16,
    pub(super) tx_queues: u16,
    /// The last receive queue is for ARP and routing sessions alone.
    pub(super) has_control_queue: bool,
    /// The RSS hash functions, or 0 without RSS.
    hash: u64,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u16,
    /// The only pool whose packets may be sent, where the device frees without looking; otherwise
    /// null. The pool lives as long as the device, which holds it.
    pub(super) fast_free_pool: *const sys::rte_mempool,
}

// SAFETY: `fast_free_pool` is compared, never followed.
unsafe impl Send for Ready {}

impl Ready {
    /// The receive queues that data comes to.
    pub(super) fn data_queues(&self) -> u16 {
        self.rx_queues - u16::from(self.has_control_queue)
    }
}

/// What `device` offers.
pub(super) fn capabilities(device: &Device) -> Result<Capabilities> {
    let info = info(device)?;
    let driver = driver(&info);
    Ok(Capabilities {
        umem: Umem::of(&driver),
        facts: facts(device, &driver)?,
        driver,
        max_rx_queues: info.max_rx_queues,
        max_tx_queues: info.max_tx_queues,
        rss: info.max_rx_queues > 1 && rss::wanted(&info) != 0,
        mac: mac(device)?,
        socket: socket(device),
        interface: (info.if_index != 0).then_some(info.if_index),
        max_mtu: max_mtu(&info),
    })
}

/// Whether EAL logs errors about `device` that have no consequences.
pub(super) fn has_false_errors(device: &Device) -> bool {
    info(device).is_ok_and(|info| Facts::of(&driver(&info)).false_errors)
}

/// Sets `device` up as near to `settings` as possible. Also returns notes about the differences.
pub(super) fn configure(
    device: &mut Device,
    settings: &Settings,
    pool: &Mempool,
) -> Result<(Ready, Vec<String>)> {
    let info = info(device)?;
    let driver = driver(&info);
    let mut notes = Vec::new();

    let rx_queues = at_most(settings.rx_queues, info.max_rx_queues, "receive", &mut notes);
    let tx_queues = at_most(settings.tx_queues, info.max_tx_queues, "transmit", &mut notes);
    if rx_queues == 0 && tx_queues == 0 {
        // DPDK would make queues itself, which nobody polls.
        device.check("be a port without queues", -Errno::EINVAL)?;
    }
    let mtu = mtu(&info, settings.mtu, &mut notes);
    let room = room(&driver, pool)?;
    let facts = facts(device, &driver)?;
    let (needed, usable) = (u32::from(mtu) + u32::from(facts.overhead), facts.usable(room));
    if needed > usable.into() {
        let device = device.name().to_owned();
        return Err(Error::DataRoom { device, driver, mtu, needed, usable });
    }

    let hash = rss::types(&info, settings, rx_queues, &driver, &mut notes);
    let conf = eth_conf(device, &info, facts, settings, mtu, hash);
    let previous_mtu = device_mtu(device);
    let has_control_queue = settings.control_queue
        && may_have_control_queue(&info, facts, rx_queues, hash)
        && reserve(device, (rx_queues + 1, tx_queues), &conf).is_ok()
        && control::is_possible(device, rx_queues);
    let rx_queues = rx_queues + u16::from(has_control_queue);
    if !has_control_queue {
        reserve(device, (rx_queues, tx_queues), &conf)?;
    }
    // From here on the device may hold mbufs of the pool.
    device.pool = Some(pool.clone());
    device.shares = Umem::of(&driver).is_some();

    set_up_queues(device, settings, pool, rx_queues, tx_queues)?;
    if previous_mtu.is_some_and(|previous| previous < mtu) {
        raise_mtu(device, mtu, &mut notes)?;
    }
    set_filters(device, settings, &mut notes)?;

    let mac = settings.mac.map_or_else(|| mac(device), Ok)?;
    let fast_free = conf.txmode.offloads != 0;
    let fast_free_pool = if fast_free { pool.raw().cast_const() } else { std::ptr::null() };
    let ready =
        Ready { driver, rx_queues, tx_queues, has_control_queue, hash, mac, mtu, fast_free_pool };
    Ok((ready, notes))
}

/// Configures a stopped device with these numbers of receive and transmit queues. This may be repeated.
fn reserve(device: &Device, (rx, tx): (u16, u16), conf: &sys::rte_eth_conf) -> Result<()> {
    // SAFETY: `device` owns the port and has not started it; the configuration is copied.
    let result = unsafe { sys::rte_eth_dev_configure(device.id(), rx, tx, conf) };
    device.check(format!("configure {rx} receive and {tx} transmit queues"), result)?;
    Ok(())
}

/// Whether data can be kept off one more receive queue than `rx_queues`: by the table of RSS, or because without
/// RSS all data comes to the first.
fn may_have_control_queue(
    info: &sys::rte_eth_dev_info,
    facts: Facts,
    rx_queues: u16,
    hash: u64,
) -> bool {
    let keeps_off = if hash == 0 { rx_queues == 1 } else { info.reta_size > 0 };
    keeps_off && rx_queues < info.max_rx_queues && facts.keeps_queues_apart()
}

/// Does what is possible only after the start: spreads flows evenly, and checks that no received
/// packet is lost. Returns notes about what the device cannot do.
pub(super) fn finish(device: &Device, ready: &Ready) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if ready.hash != 0 {
        // Some drivers know the size of the table only after the start.
        rss::spread(device, info(device)?.reta_size, ready.data_queues(), &mut notes)?;
        notes.push(format!("flows are spread by RSS over {}", rss::names(ready.hash)));
    }
    if ready.has_control_queue {
        notes.push(control::install(device, ready.data_queues()));
    }
    check_started(device, ready)?;
    Ok(notes)
}

/// Refuses a started device that sends packets to receive queues that nobody polls, or uses several
/// buffers for a frame. Checks its members too, whose queues are all polled through it.
fn check_started(device: &Device, ready: &Ready) -> Result<()> {
    check_port(device, device.id(), Some(ready.rx_queues), ready)?;
    if Facts::of(&ready.driver).has_members {
        device.unclaimed().into_iter().try_for_each(|id| check_port(device, id, None, ready))?;
    }
    Ok(())
}

/// Checks a port of DPDK: `device` or one of its members. `polled` receive queues are polled; all
/// of them if `None`.
fn check_port(device: &Device, id: u16, polled: Option<u16>, ready: &Ready) -> Result<()> {
    let info = info_of(device, id)?;
    let (driver, rx, tx) = (driver(&info), info.nb_rx_queues, info.nb_tx_queues);
    let (facts, polled) = (Facts::of(&driver), polled.unwrap_or(rx));
    let name = device.name().to_owned();
    let fed = facts.fed(rx, tx, info.max_rx_queues, ready.hash != 0);
    if fed > polled {
        return Err(Error::Unpolled { device: name, driver, fed, polled });
    }
    if queue_info(id).is_some_and(|queue| scatters(facts, &queue, ready.mtu)) {
        let room = device.pool.as_ref().map_or(0, Mempool::data_room);
        return Err(Error::SeveralBuffers { device: name, driver, mtu: ready.mtu, room });
    }
    Ok(())
}

/// Whether a queue uses several buffers for a frame that the MTU allows.
fn scatters(facts: Facts, queue: &sys::rte_eth_rxq_info, mtu: u16) -> bool {
    // The size is 0 if the driver does not report it.
    let holds = queue.rx_buf_size >= mtu.saturating_add(facts.overhead);
    queue.scattered_rx != 0 && !facts.says_scattered && !holds
}

/// The first receive queue of a port. `None` if there is no queue, or its driver reports nothing.
fn queue_info(id: u16) -> Option<sys::rte_eth_rxq_info> {
    let mut queue = sys::rte_eth_rxq_info::default();
    // SAFETY: takes any port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_rx_queue_info_get(id, 0, &raw mut queue) };
    (result == 0).then_some(queue)
}

/// The facts about the driver of `device`, and about its members' drivers.
fn facts(device: &Device, driver: &str) -> Result<Facts> {
    let facts = Facts::of(driver);
    if !facts.has_members {
        return Ok(facts);
    }
    device.unclaimed().into_iter().try_fold(facts, |facts, id| {
        let member = info_of(device, id)?;
        Ok(facts.with(Facts::of(&self::driver(&member))))
    })
}

fn at_most(wanted: u16, offered: u16, kind: &str, notes: &mut Vec<String>) -> u16 {
    if wanted > offered {
        notes.push(format!(
            "the device has at most {offered} {kind} queues: {offered} are set up instead of {wanted}"
        ));
    }
    wanted.min(offered)
}

fn mtu(info: &sys::rte_eth_dev_info, wanted: u16, notes: &mut Vec<String>) -> u16 {
    let (least, most) = (info.min_mtu, max_mtu(info));
    let mtu = wanted.max(least).min(most);
    if mtu != wanted {
        notes.push(format!(
            "the device takes an MTU from {least} to {most}: it is set to {mtu} instead of {wanted}"
        ));
    }
    mtu
}

/// Bytes of each of the pool's buffers that a device of this driver can use.
fn room(driver: &str, pool: &Mempool) -> Result<u16> {
    let Some(umem) = Umem::of(driver) else { return Ok(pool.data_room()) };
    let outside = pool.outside();
    if outside > 0 {
        let (name, mbufs) = (pool.name().to_owned(), pool.capacity());
        return Err(Error::Scattered { name, mbufs, outside });
    }
    Ok(pool.data_room().saturating_sub(umem.headroom))
}

/// The settings in DPDK's form. `hash` are the RSS hash functions, or 0 without RSS.
fn eth_conf(
    device: &mut Device,
    info: &sys::rte_eth_dev_info,
    facts: Facts,
    settings: &Settings,
    mtu: u16,
    hash: u64,
) -> sys::rte_eth_conf {
    let mut conf = sys::rte_eth_conf::default();
    conf.rxmode.mtu = mtu.into();
    if hash != 0 {
        conf.rxmode.mq_mode = sys::GUIDEWAY_MQ_RX_RSS;
        conf.rxmode.offloads = info.rx_offload_capa & sys::GUIDEWAY_RX_OFFLOAD_RSS_HASH;
        let rss = &mut conf.rx_adv_conf.rss_conf;
        rss.rss_hf = hash;
        rss.rss_key_len = info.hash_key_size;
        // With null, the device uses its own key.
        rss.rss_key = match rss::key(info.hash_key_size) {
            // Drivers read the key when they start, and DPDK keeps the pointer.
            Some(key) => device.rss_key.insert(key).as_mut_ptr(),
            None => std::ptr::null_mut(),
        };
    }
    conf.intr_conf.set_rxq(settings.interrupts.into());
    // Several drivers have only one kind of interrupt at a time, and with receive interrupts would
    // miss changes of the link.
    if !settings.interrupts && !facts.silent_link && device.watch_link() {
        conf.intr_conf.set_lsc(1);
    }
    if settings.fast_free {
        conf.txmode.offloads = info.tx_offload_capa & sys::GUIDEWAY_TX_OFFLOAD_MBUF_FAST_FREE;
    }
    conf
}

/// Raises the MTU of a configured device. It is never lowered: a device that shares its interface
/// with the kernel would lower that interface's MTU too, which may be needed for encapsulated
/// packets.
fn raise_mtu(device: &Device, mtu: u16, notes: &mut Vec<String>) -> Result<()> {
    // SAFETY: `device` owns the port.
    let result = unsafe { sys::rte_eth_dev_set_mtu(device.id(), mtu) };
    let instead = "it keeps the MTU that its interface has";
    device.unless_lacking(format!("set the MTU to {mtu}"), result, instead, notes)?;
    Ok(())
}

fn set_up_queues(
    device: &Device,
    settings: &Settings,
    pool: &Mempool,
    rx_queues: u16,
    tx_queues: u16,
) -> Result<()> {
    let (mut rx, mut tx) = (settings.rx_descriptors, settings.tx_descriptors);
    // SAFETY: `device` owns the port; the result pointers are valid.
    let result =
        unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(device.id(), &raw mut rx, &raw mut tx) };
    device.check("adjust the sizes of its queues", result)?;

    // An unknown node is passed as -1 in an unsigned type: `SOCKET_ID_ANY`.
    let socket = socket(device).unwrap_or(u32::MAX);
    for queue in 0..rx_queues {
        // SAFETY: `device` owns the port, which is configured with this queue and not started. With
        // null, the device uses its own queue settings. The pool lives as long as the device, which
        // holds it.
        let result = unsafe {
            sys::rte_eth_rx_queue_setup(
                device.id(),
                queue,
                rx,
                socket,
                std::ptr::null(),
                pool.raw(),
            )
        };
        device.check(format!("set up receive queue {queue} of {rx} packets"), result)?;
    }
    for queue in 0..tx_queues {
        // SAFETY: `device` owns the port, which is configured with this queue and not started. With
        // null, the device uses its own queue settings.
        let result = unsafe {
            sys::rte_eth_tx_queue_setup(device.id(), queue, tx, socket, std::ptr::null())
        };
        device.check(format!("set up transmit queue {queue} of {tx} packets"), result)?;
    }
    Ok(())
}

/// Makes the device accept frames to the port's address, which may not be settable, and multicast,
/// which neighbour discovery needs. Promiscuous mode accepts both.
fn set_filters(device: &mut Device, settings: &Settings, notes: &mut Vec<String>) -> Result<()> {
    let result = device.set_promiscuous();
    let lets_in_all = result >= 0;
    let instead = "it may let in only frames to its own address";
    device.unless_lacking("set promiscuous mode", result, instead, notes)?;

    // SAFETY: `device` owns the port.
    let result = unsafe { sys::rte_eth_allmulticast_enable(device.id()) };
    if !lets_in_all || result != -Errno::ENOTSUP.0 {
        let instead = "it may let in no multicast";
        device.unless_lacking("receive all multicast", result, instead, notes)?;
    }
    if let Some(mac) = settings.mac {
        let mut address = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: `device` owns the port; the address is copied.
        let result =
            unsafe { sys::rte_eth_dev_default_mac_addr_set(device.id(), &raw mut address) };
        let instead = if lets_in_all {
            "it keeps its own, and lets in the port's in promiscuous mode"
        } else {
            "it keeps its own, and may not let in the port's"
        };
        device.unless_lacking("set its MAC address", result, instead, notes)?;
    }
    Ok(())
}

fn info(device: &Device) -> Result<sys::rte_eth_dev_info> {
    info_of(device, device.id())
}

/// Information about a port of DPDK: `device` or one of its members.
fn info_of(device: &Device, id: u16) -> Result<sys::rte_eth_dev_info> {
    let mut info = sys::rte_eth_dev_info::default();
    // SAFETY: takes any port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_dev_info_get(id, &raw mut info) };
    device.check("report what it can do", result)?;
    Ok(info)
}

fn driver(info: &sys::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return "unknown".to_owned();
    }
    // SAFETY: a constant string of the driver.
    unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
}

/// The largest MTU that `rte_eth_dev_configure` accepts. DPDK checks the MTU against both of the
/// device's limits. Where both are given, their difference is the link layer's overhead.
fn max_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    let by_mtu = info.max_mtu;
    let both = by_mtu != u16::MAX && info.max_rx_pktlen > by_mtu.into();
    let overhead = if both { info.max_rx_pktlen - u32::from(by_mtu) } else { DEFAULT_OVERHEAD };
    let by_frame = info.max_rx_pktlen.saturating_sub(overhead);
    u16::try_from(by_frame).unwrap_or(u16::MAX).min(by_mtu)
}

fn mac(device: &Device) -> Result<[u8; 6]> {
    let mut address = sys::rte_ether_addr::default();
    // SAFETY: `device` owns the port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_macaddr_get(device.id(), &raw mut address) };
    device.check("report its MAC address", result)?;
    Ok(address.addr_bytes)
}

fn socket(device: &Device) -> Option<u32> {
    // SAFETY: `device` owns the port.
    u32::try_from(unsafe { sys::rte_eth_dev_socket_id(device.id()) }).ok()
}

fn device_mtu(device: &Device) -> Option<u16> {
    let mut mtu = 0;
    // SAFETY: `device` owns the port; the result pointer is valid.
    let result = unsafe { sys::rte_eth_dev_get_mtu(device.id(), &raw mut mtu) };
    (result == 0).then_some(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{device, pool, settings, unique};

    fn limits(min_mtu: u16, max_mtu: u16, max_rx_pktlen: u32) -> sys::rte_eth_dev_info {
        sys::rte_eth_dev_info { min_mtu, max_mtu, max_rx_pktlen, ..Default::default() }
    }

    #[test]
    fn an_mtu_is_checked_against_both_limits() {
        // Most virtual devices report no limit. af_packet reports only the length of a frame, from
        // which DPDK subtracts header and checksum. An X710 reports both, and so its own overhead:
        // 26 bytes.
        assert_eq!(max_mtu(&limits(68, u16::MAX, u32::MAX)), u16::MAX);
        assert_eq!(max_mtu(&limits(68, u16::MAX, 1518)), 1500);
        assert_eq!(max_mtu(&limits(68, 9702, 9728)), 9702);
        assert_eq!(max_mtu(&limits(68, 1500, 1000)), 982);

        let mut notes = Vec::new();
        assert_eq!(mtu(&limits(68, u16::MAX, 1518), 1500, &mut notes), 1500);
        assert!(notes.is_empty());
        assert_eq!(mtu(&limits(68, u16::MAX, 1518), 9000, &mut notes), 1500);
        assert!(notes[0].ends_with("set to 1500 instead of 9000"), "{notes:?}");
        assert_eq!(mtu(&limits(68, u16::MAX, 1518), 40, &mut notes), 68);
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn a_queue_of_several_buffers_differs_from_one_that_only_reports_them() {
        let queue = |scattered_rx, rx_buf_size| sys::rte_eth_rxq_info {
            scattered_rx,
            rx_buf_size,
            ..Default::default()
        };
        let igb = Facts::of("net_e1000_igb");
        assert!(scatters(igb, &queue(1, 0), 1500));
        assert!(!scatters(igb, &queue(0, 0), 1500));
        assert!(!scatters(Facts::of("net_e1000_em"), &queue(1, 0), 9000), "any jumbo frame");
        // net_hns3 reports the size.
        let hns3 = Facts::of("net_hns3");
        assert!(scatters(hns3, &queue(1, 2048), 2023) && !scatters(hns3, &queue(1, 2048), 2022));
        assert!(queue_info(u16::MAX).is_none());
    }

    #[test]
    fn an_mtu_is_raised_where_the_device_can_and_never_lowered() {
        let pool = Mempool::new(crate::dpdk::testing::eal(), &unique("pool"), 255, 9100, 0, None);
        let jumbo = Settings { mtu: 9000, ..settings() };
        let (port, notes) =
            device("net_null", "").configure(&jumbo, pool.as_ref().unwrap()).unwrap();
        assert!(!notes.concat().contains("MTU"), "{notes:?}");
        assert_eq!(port.start().unwrap().0.mtu(), 9000);
        let (_, notes) = device("net_ring", "").configure(&jumbo, pool.as_ref().unwrap()).unwrap();
        assert!(notes.concat().contains("cannot set the MTU to 9000"), "{notes:?}");
        // A call would be refused here too, and add a note.
        let low = Settings { mtu: 1000, ..settings() };
        let (_, notes) = device("net_ring", "").configure(&low, pool.as_ref().unwrap()).unwrap();
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn promiscuous_mode_is_enough_for_multicast() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("memif.sock");
        // A memif device is always promiscuous, and has no call for multicast.
        let options = format!(",role=server,socket-abstract=no,socket={}", socket.display());
        let wanted = Settings { mac: Some([2, 0, 0, 0, 0, 9]), ..settings() };
        let (_, notes) = device("net_memif", &options).configure(&wanted, &pool(255)).unwrap();
        assert!(!notes.concat().contains("multicast"), "{notes:#?}");
        assert!(notes.concat().contains("lets in the port's in promiscuous mode"), "{notes:#?}");
    }

    #[test]
    fn a_device_without_queues_is_an_error() {
        let none = Settings { rx_queues: 0, tx_queues: 0, ..settings() };
        let text = device("net_null", "").configure(&none, &pool(15)).unwrap_err().to_string();
        assert!(text.contains("a port without queues"), "{text}");
    }
}
