//! What drivers do with numbers of queues and sizes of buffers, where no call of DPDK reports it.
//!
//! Each fact comes from the driver's source, DPDK 22.11 and 24.11, and names the function there. A
//! driver that is not listed accepts any numbers and uses all of a buffer, and its device sends
//! packets only to the receive queues that are set up.

/// The receive queues over which a device spreads packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpreadOver {
    /// Those that are set up.
    Receive,
    /// As many as the larger number of receive and transmit queues, unless the device spreads by
    /// RSS.
    Pairs,
    /// All that the device was made with.
    All,
}

/// The sizes of receive buffers that a device can use, in bytes. Drivers round down to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sizes {
    /// Any.
    Any,
    /// The multiples of a number.
    MultiplesOf(u16),
    /// These, in rising order.
    Only(&'static [u16]),
}

/// What a driver does with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The receive queues that get packets.
    pub spread_over: SpreadOver,
    /// The driver refuses unequal numbers of receive and transmit queues.
    pub equal: bool,
    /// Receive queues must be a power of two, or those beyond one get no packets.
    pub power_of_two: bool,
    /// Bytes beside the MTU that a buffer must have. Otherwise the driver refuses the buffer or
    /// uses several for a frame.
    pub overhead: u16,
    /// The sizes of buffers that the device can use.
    pub sizes: Sizes,
    /// The driver reports that it may use several buffers for a frame even if each frame fits one.
    pub says_scattered: bool,
    /// The device has ports of other drivers as members.
    pub has_members: bool,
    /// The driver claims to interrupt when the link changes, but tests saw no interrupt. DPDK would
    /// report the link's first state for ever.
    pub silent_link: bool,
    /// EAL logs errors at the start and at the close that have no consequences.
    pub false_errors: bool,
}

/// Ethernet header, two VLAN tags and frame check sequence.
const FRAME_OVERHEAD: u16 = 14 + 2 * 4 + 4;
/// The least bytes of a buffer, so that any frame of the standard MTU fits.
const LEAST_ROOM: u16 = 2048;

const USUAL: Facts = Facts {
    spread_over: SpreadOver::Receive,
    equal: false,
    power_of_two: false,
    overhead: FRAME_OVERHEAD,
    sizes: Sizes::Any,
    says_scattered: false,
    has_members: false,
    silent_link: false,
    false_errors: false,
};
const PAIRS: Facts = Facts { spread_over: SpreadOver::Pairs, ..USUAL };
const EQUAL: Facts = Facts { equal: true, ..USUAL };
const ALL: Facts = Facts { spread_over: SpreadOver::All, ..USUAL };
const POWER_OF_TWO: Facts = Facts { power_of_two: true, ..USUAL };
// SRRCTL.BSIZEPKT and similar fields count in KiB.
const KIB: Facts = Facts { sizes: Sizes::MultiplesOf(1024), ..USUAL };
// The field DBUFF of a queue's context counts in units of 128 bytes.
const DBUFF: Facts = Facts { sizes: Sizes::MultiplesOf(128), ..USUAL };

const DRIVERS: &[(&str, Facts)] = &[
    // virtio_dev_start sends VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET with max(rx, tx).
    // virtio_rx_check_scatter needs the MTU, a header with a tag and the virtio header, which
    // virtio_dev_configure adds up. At the start and at the close of a PCI device,
    // virtio_intr_disable switches off interrupts that are off already, which EAL logs as an error.
    ("net_virtio", Facts { overhead: 14 + 4 + 12, false_errors: true, ..PAIRS }),
    ("net_virtio_user", Facts { overhead: 14 + 4 + 12, ..PAIRS }),
    // The members, which may have any of these drivers, are set up with the bond's own numbers and
    // pool (slave_configure, fs_dev_configure).
    ("net_bonding", Facts { has_members: true, ..PAIRS }),
    ("net_failsafe", Facts { has_members: true, ..PAIRS }),
    // tap_dev_configure, eth_dev_configure and bnx2x_dev_configure refuse unequal numbers, or more
    // transmit than receive queues.
    ("net_tap", EQUAL),
    ("net_tun", EQUAL),
    ("net_bnx2x", EQUAL),
    ("net_bnx2xvf", EQUAL),
    // The kernel keeps packets of a queue without a socket. xdp_umem_configure makes a socket for
    // each queue that is set up.
    ("net_af_xdp", Facts { equal: true, ..ALL }),
    // mana_dev_configure.
    ("net_mana", Facts { power_of_two: true, ..EQUAL }),
    // rte_pmd_init_internals joins the sockets of all `qpairs` to one fanout group.
    ("net_af_packet", ALL),
    // The guest sends on any of the `queues` that it finds (eth_dev_info).
    ("net_vhost", ALL),
    // vmxnet3_dev_configure refuses other numbers below version 6 of the device, which only the
    // driver knows. In a virtual machine of qemu, on vfio-pci, no interrupt for an event came.
    ("net_vmxnet3", Facts { silent_link: true, ..POWER_OF_TWO }),
    // mlx4_flow_internal spreads over the next lower power of two.
    ("net_mlx4", POWER_OF_TWO),
    // em_rctl_bsize. eth_em_rx_init reports scattered for any MTU above 1500.
    (
        "net_e1000_em",
        Facts {
            sizes: Sizes::Only(&[256, 512, 1024, 2048, 4096, 8192, 16384]),
            says_scattered: true,
            ..USUAL
        },
    ),
    // eth_igb_rx_init, eth_igbvf_rx_init: E1000_ETH_OVERHEAD, which includes a tag, and two tags
    // more.
    ("net_e1000_igb", Facts { overhead: 14 + 4 + 4 + 2 * 4, ..KIB }),
    ("net_e1000_igb_vf", Facts { overhead: 14 + 4 + 4 + 2 * 4, ..KIB }),
    // igc_rx_init, ixgbe_dev_rx_init, ixgbevf_dev_rx_init, those of txgbe and ngbe, atl_rx_init.
    ("net_igc", KIB),
    ("net_ixgbe", KIB),
    ("net_ixgbe_vf", KIB),
    ("net_txgbe", KIB),
    ("net_txgbe_vf", KIB),
    ("net_ngbe", KIB),
    ("net_atlantic", KIB),
    // i40e_rx_queue_config, iavf_dev_rx_queue_setup, ice_program_hw_rx_queue, idpf_rx_queue_setup.
    ("net_i40e", DBUFF),
    ("net_iavf", DBUFF),
    ("net_ice", DBUFF),
    ("net_ice_dcf", DBUFF),
    ("net_idpf", DBUFF),
    ("net_cpfl", DBUFF),
    // fm10k_dev_rx_init subtracts 512 bytes for an alignment.
    ("net_fm10k", Facts { overhead: FRAME_OVERHEAD + 512, ..USUAL }),
    // hns3_rx_buf_len_calc.
    ("net_hns3", Facts { sizes: Sizes::Only(&[512, 1024, 2048, 4096]), ..USUAL }),
    ("net_hns3_vf", Facts { sizes: Sizes::Only(&[512, 1024, 2048, 4096]), ..USUAL }),
    // hinic_convert_rx_buf_size.
    (
        "net_hinic",
        Facts { sizes: Sizes::Only(&[1024, 1536, 2048, 3072, 4096, 8192, 16384]), ..USUAL },
    ),
    // gve_rx_queue_setup.
    ("net_gve", Facts { sizes: Sizes::Only(&[2048, 4096]), ..USUAL }),
    // axgbe_config_rx_buffer_size rounds up, beyond the buffer's end.
    ("net_axgbe", Facts { sizes: Sizes::MultiplesOf(64), ..USUAL }),
    // qede_rx_queue_setup: header and checksum, and QEDE_ETH_OVERHEAD.
    ("net_qede", Facts { overhead: 14 + 4 + 18, sizes: Sizes::MultiplesOf(64), ..USUAL }),
    ("net_qede_vf", Facts { overhead: 14 + 4 + 18, sizes: Sizes::MultiplesOf(64), ..USUAL }),
    // sfc_rx_qinit: EFX_MAC_PDU, a prefix, and up to 256 bytes of alignment at both ends
    // (sfc_rx_mb_pool_buf_size).
    ("net_sfc_efx", Facts { overhead: 38 + 8 + 22 + 256, sizes: Sizes::MultiplesOf(256), ..USUAL }),
    // nicvf_dev_start: NIC_HW_L2_OVERHEAD and two tags.
    ("net_thunderx", Facts { overhead: 26 + 2 * 4, ..USUAL }),
    // ena_dev_configure reports it always; ionic_rx_qcq_alloc for any MTU, by the largest that the
    // device has.
    ("net_ena", Facts { says_scattered: true, ..USUAL }),
    ("net_ionic_pci", Facts { says_scattered: true, ..USUAL }),
];

impl Facts {
    /// The facts about a driver.
    pub fn of(driver: &str) -> Facts {
        DRIVERS.iter().find(|(name, _)| *name == driver).map_or(USUAL, |(_, facts)| *facts)
    }

    /// The facts about a driver with a member whose facts are `member`: the stricter of both.
    pub(super) fn with(self, member: Facts) -> Facts {
        Facts {
            spread_over: self.spread_over.max(member.spread_over),
            equal: self.equal || member.equal,
            power_of_two: self.power_of_two || member.power_of_two,
            overhead: self.overhead.max(member.overhead),
            // The rarer sizes are among the others, above 1 KiB.
            sizes: self.sizes.max(member.sizes),
            says_scattered: self.says_scattered || member.says_scattered,
            has_members: self.has_members,
            silent_link: self.silent_link,
            false_errors: self.false_errors,
        }
    }

    /// Whether data can be kept off one more receive queue than data needs: a device that spreads by its own rules
    /// would fill it too.
    pub fn keeps_queues_apart(self) -> bool {
        self.spread_over == SpreadOver::Receive
            && !(self.equal || self.power_of_two || self.has_members)
    }

    /// Bytes of a buffer that holds any frame of a port with this MTU.
    pub fn room(self, mtu: u16) -> u16 {
        let needed = mtu.saturating_add(self.overhead).max(LEAST_ROOM);
        match self.sizes {
            Sizes::Any => needed,
            Sizes::MultiplesOf(step) => needed.checked_next_multiple_of(step).unwrap_or(u16::MAX),
            Sizes::Only(sizes) => {
                sizes.iter().copied().find(|&size| size >= needed).unwrap_or(needed)
            }
        }
    }

    /// Bytes that the device uses of a buffer of `room` bytes.
    pub(super) fn usable(self, room: u16) -> u16 {
        match self.sizes {
            Sizes::Any => room,
            Sizes::MultiplesOf(step) => room / step * step,
            Sizes::Only(sizes) => {
                sizes.iter().copied().filter(|&size| size <= room).max().unwrap_or(0)
            }
        }
    }

    /// The number of receive queues, at most `wanted`, that the driver can use.
    pub fn useful(self, wanted: u16) -> u16 {
        if self.power_of_two && wanted > 0 { 1 << wanted.ilog2() } else { wanted }
    }

    /// How many (receive, transmit) queues to set up so that no packet arrives in a queue that is
    /// not set up. `wanted` is the request and `most` the device's maximum, both as (receive,
    /// transmit).
    pub fn queues(self, wanted: (u16, u16), most: (u16, u16)) -> (u16, u16) {
        let receive = match self.spread_over {
            SpreadOver::Receive => wanted.0,
            SpreadOver::Pairs => wanted.0.max(wanted.1),
            SpreadOver::All => most.0,
        };
        if self.equal || self.spread_over == SpreadOver::Pairs {
            let pairs = self.useful(receive.max(wanted.1).min(most.0).min(most.1));
            return (pairs, pairs);
        }
        (receive, wanted.1)
    }

    /// The number of receive queues that get packets, if a device has `rx` receive queues of at
    /// most `most`, and `tx` transmit queues. `by_hash` is whether it spreads by RSS.
    pub(super) fn fed(self, rx: u16, tx: u16, most: u16, by_hash: bool) -> u16 {
        match self.spread_over {
            SpreadOver::Pairs if !by_hash => rx.max(tx),
            SpreadOver::All => rx.max(most),
            SpreadOver::Receive | SpreadOver::Pairs => rx,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_sends_packets_to_no_queue_that_is_not_set_up() {
        for (driver, facts) in DRIVERS.iter().copied().chain([("net_other", USUAL)]) {
            assert_eq!(Facts::of(driver), facts, "each driver is listed once");
            for rx in 1..=8 {
                for tx in 1..=8 {
                    for most in 1..=8 {
                        let (r, t) = facts.queues((rx.min(most), tx.min(most)), (most, most));
                        assert!(r >= 1 && t >= 1 && r <= most && t <= most, "{driver} {r} {t}");
                        for by_hash in [false, true] {
                            assert_eq!(facts.fed(r, t, most, by_hash), r, "{driver} {rx} {tx}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn unequal_numbers_of_queues_are_adjusted() {
        let queues = |driver, wanted, most| Facts::of(driver).queues(wanted, (most, most));
        assert_eq!(queues("net_e1000_igb", (1, 3), 8), (1, 3));
        assert_eq!(queues("net_virtio", (1, 3), 8), (3, 3));
        assert_eq!(queues("net_virtio", (1, 2), 2), (2, 2));
        assert_eq!(queues("net_virtio", (1, 1), 4), (1, 1));
        assert_eq!(queues("net_af_packet", (1, 2), 4), (4, 2));
        assert_eq!(queues("net_mana", (1, 3), 8), (2, 2));
        assert_eq!(queues("net_tap", (1, 3), 16), (3, 3));
        assert_eq!(queues("net_af_xdp", (1, 2), 4), (4, 4));
        // Without the rule, half of a virtio device's packets would be lost, and 3 of 4 queues of
        // af_packet.
        assert_eq!(Facts::of("net_virtio").fed(1, 2, 2, false), 2);
        assert_eq!(Facts::of("net_virtio").fed(1, 2, 2, true), 1);
        assert_eq!(Facts::of("net_af_packet").fed(1, 1, 4, false), 4);
    }

    #[test]
    fn a_buffer_holds_any_frame_that_the_mtu_allows() {
        for (driver, facts) in DRIVERS.iter().copied().chain([("net_other", USUAL)]) {
            let largest = if let Sizes::Only(sizes) = facts.sizes {
                assert!(sizes.is_sorted());
                sizes.last().copied().unwrap() - facts.overhead
            } else {
                9216
            };
            for mtu in 68..=9216 {
                let (room, needed) = (facts.room(mtu), mtu + facts.overhead);
                assert_eq!(facts.usable(room) >= needed, mtu <= largest, "{driver} {mtu}");
                // Another port may need larger buffers, which never make it worse.
                for more in [1, 63, 511, 1000, 5000] {
                    assert!(facts.usable(room + more) >= facts.usable(room), "{driver} {mtu}");
                }
            }
        }
    }

    #[test]
    fn the_room_that_known_drivers_need() {
        let room = |driver, mtu| Facts::of(driver).room(mtu);
        assert_eq!([1500, 4000, 9000].map(|mtu| room("net_null", mtu)), [2048, 4026, 9026]);
        // net_virtio itself logs "RxQ mbuf pool object size is too small" for less.
        assert_eq!([1500, 4000, 9000].map(|mtu| room("net_virtio", mtu)), [2048, 4030, 9030]);
        assert_eq!(
            [1500, 2018, 2019, 9000].map(|mtu| room("net_e1000_igb", mtu)),
            [2048, 2048, 3072, 9216]
        );
        assert_eq!(
            [1500, 2022, 2023, 9000].map(|mtu| room("net_e1000_em", mtu)),
            [2048, 2048, 4096, 16384]
        );
        assert_eq!([1500, 9000].map(|mtu| room("net_ice", mtu)), [2048, 9088]);
        // The sizes that these drivers round to without the rule.
        assert_eq!(Facts::of("net_e1000_igb").usable(9026), 8192);
        assert_eq!(Facts::of("net_e1000_em").usable(9026), 8192);
        // The driver has no larger size: the port is refused, and the message names this size.
        assert_eq!(Facts::of("net_hns3").usable(room("net_hns3", 9000)), 4096);
    }

    #[test]
    fn a_bond_needs_what_any_of_its_members_needs() {
        let bond = Facts::of("net_bonding");
        assert!(bond.has_members);
        let igb = bond.with(Facts::of("net_e1000_igb"));
        let both = igb.with(Facts::of("net_virtio"));
        assert_eq!(
            (both.spread_over, both.room(9000), both.room(2019)),
            (SpreadOver::Pairs, 9216, 3072)
        );
        assert_eq!(both.with(Facts::of("net_e1000_em")).room(9000), 16384);
        assert_eq!(bond.with(Facts::of("net_af_packet")).spread_over, SpreadOver::All);
    }

    #[test]
    fn queues_that_a_driver_has_no_use_for_are_left_out() {
        let useful = |driver, wanted| Facts::of(driver).useful(wanted);
        assert_eq!([0, 1, 2, 3, 4, 7].map(|n| useful("net_vmxnet3", n)), [0, 1, 2, 2, 4, 4]);
        assert_eq!([0, 1, 3].map(|n| useful("net_e1000_igb", n)), [0, 1, 3]);
    }
}
