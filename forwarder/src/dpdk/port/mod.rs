//! Ports: found, configured, started, in that order. Each step is a type.
//!
//! A [`Port<Probed>`] reports what its device offers. A [`Port<Stopped>`] is configured. Starting
//! it gives a [`Port<Started>`] and its queues. The device runs for as long as any of those is
//! left. Then it is stopped and closed, which returns the mbufs of its queues.
//!
//! Devices differ, virtual ones most. A port must have queues. Anything else that it lacks becomes
//! a note for the operator, not an error (see `setup`).

mod control;
mod driver;
mod find;
mod report;
mod rss;
mod settings;
mod setup;
mod umem;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::device::Device;
use super::eal::Eal;
use super::error::Result;
use super::mempool::Mempool;
use super::queue::{Received, RxQueue, TxQueue};

pub use super::device::{Counters, Link};
pub use driver::{Facts, Sizes, SpreadOver};
pub use report::Functions;
pub use settings::{Capabilities, Settings};
use setup::Ready;
pub use umem::Umem;

/// A network device, found by name ([`Eal::port_by_name`]). `S` is the step of its setup.
#[derive(Debug)]
pub struct Port<S> {
    state: S,
}

/// The device is found, but not set up.
#[derive(Debug)]
pub struct Probed {
    device: Device,
}

/// The device is configured.
#[derive(Debug)]
pub struct Stopped {
    device: Device,
    ready: Ready,
}

/// The device runs.
#[derive(Debug)]
pub struct Started {
    device: Arc<Device>,
    driver: String,
    mac: [u8; 6],
    mtu: u16,
    notes: Vec<String>,
    has_control_queue: bool,
    /// The packet count of each receive queue for data.
    received: Vec<Received>,
}

impl Port<Probed> {
    /// The port `id`, which the caller has claimed for itself.
    pub(super) fn claimed(eal: Eal, id: u16, name: String) -> Self {
        let mut device = Device::new(eal, id, name);
        device.hide_errors = setup::has_false_errors(&device);
        Port { state: Probed { device } }
    }

    /// What the device offers.
    pub fn capabilities(&self) -> Result<Capabilities> {
        setup::capabilities(&self.state.device)
    }

    /// Sets the device up, receiving into mbufs of `pool`.
    ///
    /// Also returns notes for the operator, one sentence each: what the device cannot do, and what
    /// was done instead. The device may have fewer queues than `settings` ask for; [`Port::start`]
    /// returns all that it has. The device is closed if this fails.
    pub fn configure(
        self,
        settings: &Settings,
        pool: &Mempool,
    ) -> Result<(Port<Stopped>, Vec<String>)> {
        let mut device = self.state.device;
        let (ready, notes) = setup::configure(&mut device, settings, pool)?;
        Ok((Port { state: Stopped { device, ready } }, notes))
    }
}

impl Port<Stopped> {
    /// Starts the device, and returns its queues for the threads that poll them.
    ///
    /// # Errors
    /// The device does not start, sends packets to receive queues that are not among those
    /// returned, or uses several buffers for a frame that the MTU allows.
    pub fn start(self) -> Result<(Port<Started>, Vec<RxQueue>, Vec<TxQueue>)> {
        let Stopped { mut device, ready } = self.state;
        device.start(ready.rx_queues, ready.tx_queues)?;
        let notes = setup::finish(&device, &ready)?;
        let device = Arc::new(device);
        let rx: Vec<RxQueue> =
            (0..ready.rx_queues).map(|queue| RxQueue::new(&device, queue)).collect();
        let data = rx.iter().take(ready.data_queues().into());
        let received = data.map(RxQueue::received).collect();
        let tx = (0..ready.tx_queues)
            .map(|queue| TxQueue::new(&device, queue, ready.fast_free_pool))
            .collect();
        let Ready { driver, mac, mtu, has_control_queue, .. } = ready;
        let state = Started { device, driver, mac, mtu, notes, received, has_control_queue };
        Ok((Port { state }, rx, tx))
    }
}

impl Port<Started> {
    /// The device's name, such as `0000:3b:00.0` or `net_af_packet0`.
    pub fn name(&self) -> &str {
        self.state.device.name()
    }

    /// The driver's name, such as `net_af_packet`.
    pub fn driver(&self) -> &str {
        &self.state.driver
    }

    /// The port's address: the configured one, or else the device's own.
    pub fn mac(&self) -> [u8; 6] {
        self.state.mac
    }

    /// The largest IP packet for which the device was set up.
    pub fn mtu(&self) -> u16 {
        self.state.mtu
    }

    /// Notes about the start for the operator, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.state.notes
    }

    /// The link as the device last saw it, without waiting. Down if the device cannot report it.
    pub fn link(&self) -> Link {
        self.state.device.link()
    }

    /// Whether the last receive queue is for ARP and routing sessions alone.
    pub fn has_control_queue(&self) -> bool {
        self.state.has_control_queue
    }

    /// The number of packets that each receive queue for data has delivered.
    pub fn received(&self) -> Vec<u64> {
        self.state.received.iter().map(Received::read).collect()
    }

    /// Readable when the device has interrupted because its link changed. `None` if it does not
    /// interrupt.
    pub fn link_changes(&self) -> Option<BorrowedFd<'_>> {
        self.state.device.link_changes()
    }

    /// The device's counters. All 0 if it has none.
    pub fn counters(&self) -> Counters {
        self.state.device.counters()
    }

    /// All that the device counts, by its driver's names.
    pub fn extended_counters(&self) -> BTreeMap<String, u64> {
        report::extended(&self.state.device)
    }

    /// The functions that the driver chose for receiving and for sending.
    pub fn functions(&self) -> Functions {
        report::functions(&self.state.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpdk::testing::{capture, device, eal, packets, pool, settings, unique};
    use crate::dpdk::{BURST, Burst, Error, lcore};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    #[test]
    fn a_ring_device_returns_what_it_is_sent() {
        let pool = pool(511);
        let (port, notes) = device("net_ring", "").configure(&settings(), &pool).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let (port, mut rx, mut tx) = port.start().unwrap();
        let mut burst = packets(&pool, 32);
        assert_eq!(tx[0].send(&mut burst), BURST);
        assert!(burst.is_empty());
        assert_eq!(rx[0].receive(&mut burst), BURST);
        assert_eq!((port.counters().rx_packets, port.counters().tx_packets), (32, 32));
        assert_eq!(port.received(), [32]);
        drop(burst);
        drop((port, rx, tx));
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_device_reports_what_it_offers() {
        let null = device("net_null", "").capabilities().unwrap();
        assert_eq!(null.driver, "net_null");
        assert!(null.rss && null.max_rx_queues > 1 && null.max_tx_queues > 1);
        assert_eq!(null.max_mtu, u16::MAX);
        let ring = device("net_ring", "").capabilities().unwrap();
        assert_eq!((ring.driver.as_str(), ring.rss), ("net_ring", false));
    }

    #[test]
    fn rss_spreads_over_as_many_queues_as_are_wanted() {
        let pool = pool(1023);
        let wanted = Settings { rx_queues: 3, tx_queues: 2, rss: true, ..settings() };
        let (port, notes) = device("net_null", "").configure(&wanted, &pool).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let (port, rx, tx) = port.start().unwrap();
        assert_eq!(rx.iter().map(RxQueue::index).collect::<Vec<_>>(), [0, 1, 2]);
        let notes = port.notes().concat();
        assert!(
            notes.starts_with("flows are spread by RSS over TCP/IPv4, UDP/IPv4, SCTP/IPv4"),
            "{notes}"
        );
        assert_eq!(tx.iter().map(TxQueue::index).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_device_without_rules_gets_no_queue_for_control() {
        let pool = pool(511);
        let wanted = Settings { control_queue: true, ..settings() };
        let (port, notes) = device("net_null", "").configure(&wanted, &pool).unwrap();
        let (port, rx, _tx) = port.start().unwrap();
        assert_eq!((rx.len(), port.received().len(), port.has_control_queue()), (1, 1, false));
        assert!(!notes.concat().contains("alone"), "{notes:?}");
    }

    #[test]
    fn what_a_device_lacks_is_a_note_and_not_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let options = format!(
            ",rx_pcap={},tx_pcap={}",
            capture(directory.path(), &[(0, &[0; 60])]).display(),
            directory.path().join("out.pcap").display()
        );
        let wanted =
            Settings { rx_queues: 4, tx_queues: 3, mac: Some(MAC), rss: true, ..settings() };
        let pool = pool(63);
        let (port, notes) = device("net_pcap", &options).configure(&wanted, &pool).unwrap();
        for expected in [
            "1 receive queues: 1 are set up instead of 4",
            "1 transmit queues: 1 are set up instead of 3",
            "net_pcap offers no RSS",
            "cannot set its MAC address",
        ] {
            assert!(notes.iter().any(|note| note.contains(expected)), "{expected}: {notes:#?}");
        }
        let (port, mut rx, mut tx) = port.start().unwrap();
        assert_eq!((rx.len(), tx.len(), port.mac()), (1, 1, MAC));
        assert_eq!(port.driver(), "net_pcap");

        let mut burst = Burst::new();
        assert_eq!((rx[0].receive(&mut burst), tx[0].send(&mut burst)), (1, 1));
        let counters = port.counters();
        assert_eq!((counters.rx_packets, counters.rx_bytes), (1, 60));
        assert_eq!((counters.tx_packets, counters.tx_bytes), (1, 60));
        drop((port, rx, tx));
        let written = std::fs::read(directory.path().join("out.pcap")).unwrap();
        assert_eq!(written.len(), 24 + 16 + 60, "closing the device wrote the file");
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_port_has_its_own_address_unless_one_is_configured() {
        let pool = pool(255);
        let probed = device("net_null", "");
        let own = probed.capabilities().unwrap().mac;
        let (port, _, _) = probed.configure(&settings(), &pool).unwrap().0.start().unwrap();
        assert_eq!(port.mac(), own);
        let given = Settings { mac: Some(MAC), ..settings() };
        let (port, notes) = device("net_null", "").configure(&given, &pool).unwrap();
        assert!(!notes.concat().contains("MAC"), "{notes:#?}");
        assert_eq!(port.start().unwrap().0.mac(), MAC);
    }

    #[test]
    fn frames_must_fit_in_the_mbufs() {
        let pool = pool(255);
        // 2048 less an Ethernet header, two VLAN tags and the checksum.
        let fits = Settings { mtu: 2022, ..settings() };
        let (port, _) = device("net_null", "").configure(&fits, &pool).unwrap();
        assert_eq!(port.start().unwrap().0.mtu(), 2022);
        let exceeds = Settings { mtu: 2023, ..settings() };
        let error = device("net_null", "").configure(&exceeds, &pool).unwrap_err();
        assert!(matches!(error, Error::DataRoom { needed: 2049, usable: 2048, .. }), "{error}");
        assert!(error.to_string().contains("lower port.mtu to 2022 or less"), "{error}");
        assert_eq!(pool.in_use(), 0);
    }

    /// A guest would send on both of the device's queues.
    #[test]
    fn a_device_with_a_queue_that_nobody_polls_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let options = format!(",iface={},queues=2", directory.path().join("vhost").display());
        let pool = pool(1023);
        let (port, _) = device("net_vhost", &options).configure(&settings(), &pool).unwrap();
        let error = port.start().unwrap_err();
        assert!(matches!(error, Error::Unpolled { fed: 2, polled: 1, .. }), "{error}");
        assert!(error.to_string().contains("`queues` in port.device"), "{error}");
        let both = Settings { rx_queues: 2, ..settings() };
        let (port, _) = device("net_vhost", &options).configure(&both, &pool).unwrap();
        assert_eq!(port.start().unwrap().1.len(), 2);
    }

    #[test]
    fn a_port_may_be_dropped_at_any_step() {
        let pool = pool(255);
        let name = {
            let probed = device("net_ring", "");
            let name = probed.state.device.name().to_owned();
            let (stopped, _) = probed.configure(&settings(), &pool).unwrap();
            assert!(matches!(eal().port_by_name(&name), Err(Error::DeviceInUse { .. })));
            drop(stopped);
            name
        };
        assert!(matches!(eal().port_by_name(&name), Err(Error::NoDevice { .. })));
        drop(device("net_ring", ""));
        assert_eq!(pool.in_use(), 0);
    }

    /// Each lcore polls its own queue and sends through its own, after the port's handle is
    /// dropped. The device runs until the last of them is done.
    #[test]
    fn two_lcores_forward_through_one_port() {
        let pool = Mempool::new(eal(), &unique("pool"), 1023, 2048, 64, None).unwrap();
        let wanted = Settings { rx_queues: 2, tx_queues: 2, rss: true, ..settings() };
        let (port, _) = device("net_null", ",size=64").configure(&wanted, &pool).unwrap();
        let (port, rx, tx) = port.start().unwrap();
        let mut workers = Vec::new();
        for (mut rx, mut tx) in rx.into_iter().zip(tx) {
            let worker = lcore::spawn(eal(), "forward", None, move || {
                let (mut burst, mut out, mut forwarded) = (Burst::new(), Burst::new(), 0);
                for _ in 0..500 {
                    rx.receive(&mut burst);
                    for (i, mut held) in burst.drain().enumerate() {
                        assert_eq!(held.push_front(24).unwrap().len(), 88);
                        // Drop every third packet.
                        assert!(i % 3 == 2 || out.push(held).is_ok());
                    }
                    while !out.is_empty() {
                        forwarded += tx.send(&mut out);
                    }
                }
                forwarded
            });
            workers.push(worker.unwrap());
        }
        drop(port);
        for worker in workers {
            assert_eq!(worker.join().unwrap(), 500 * (BURST - BURST / 3));
        }
        assert_eq!(pool.in_use(), 0);
    }
}
